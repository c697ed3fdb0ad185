import { expect, it } from 'vitest'
import { Timelines } from '../../../src/store/postgres/timelines.ts'

const PLACE = { cluster: '7', timeline: 3 }

function refusing(code: string): { query(): Promise<never> } {
  return { query: () => Promise.reject(Object.assign(new Error('refused'), { code })) }
}

const answering = { query: () => Promise.resolve({ rows: [{ place: PLACE }] }) }

it('A server that could not read its control file this once is asked with the next connection', async () => {
  const timelines = new Timelines()
  expect(await timelines.read(refusing('XX000'))).toBeNull()
  expect(timelines.isReadable).toBe(false)
  expect(await timelines.read(answering)).toEqual(PLACE)
  expect(timelines.isReadable).toBe(true)
})

it.each(['42501', '42883', '0A000'])('A server that refuses (%s) is not asked again', async (code) => {
  const timelines = new Timelines()
  expect(await timelines.read(refusing(code))).toBeNull()
  expect(await timelines.read(answering)).toBeNull()
  expect(timelines.isReadable).toBe(false)
})

it('A connection that is lost while it is asked counts as lost', async () => {
  const timelines = new Timelines()
  await expect(timelines.read(refusing('57P01'))).rejects.toThrow('refused')
  expect(timelines.isReadable).toBe(true)
})
