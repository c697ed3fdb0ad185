import { describe, expect, it } from 'vitest'
import { decode, encode } from '../../src/core/codec.ts'

const rows = (extra: object = {}): object[] =>
  Array.from({ length: 1000 }, (_, id) => ({
    id,
    name: `item "${id}" é\u2028`,
    tags: ['a', null, true],
    price: id / 3,
    ...extra,
  }))

describe('a large value', () => {
  it('comes back as it was where it is nothing but JSON, written as such', () => {
    const value = { rows: rows(), empty: [{}, []] }
    expect(encode(value)).toBe(`j${JSON.stringify(value)}`)
    expect(decode(encode(value))).toEqual(value)
  })

  it('is written as JSON from a thousand values on', () => {
    expect(encode(Array.from({ length: 999 }, (_, n) => n)).startsWith('j')).toBe(false)
    expect(encode(Array.from({ length: 1000 }, (_, n) => n)).startsWith('j')).toBe(true)
    expect(encode('x'.repeat(100_000)).startsWith('j')).toBe(false)
  })

  const shared = { n: 1 }
  const inOneItem = (value: unknown): unknown => [...rows(), { odd: value }]
  it.each([
    ['a Date', new Date(0)],
    ['undefined', undefined],
    ['−0', -0],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['a bigint', 12n],
    ['a Map', new Map([[1, { a: 2 }]])],
    ['a Set', new Set([1])],
    ['an Error', new TypeError('no')],
    ['a Buffer', Buffer.from('abc')],
    ['an object without a prototype', Object.assign(Object.create(null) as object, { a: 1 })],
    ['an object that is there twice', [shared, shared]],
    ['an array with a hole', [1, undefined, 3].with(0, 2)],
  ])('keeps %s in it', (_, odd) => {
    const value = inOneItem(odd)
    const copy = decode(encode(value))
    expect(copy).toEqual(value)
    expect(Object.is((copy as { odd: unknown }[]).at(-1)?.odd, -0)).toBe(Object.is(odd, -0))
  })

  it('keeps cycles, holes, and that two places have one object', () => {
    const ring: { rows: object[]; self?: object } = { rows: rows() }
    ring.self = ring
    const copy = decode(encode(ring)) as typeof ring
    expect(copy.self).toBe(copy)
    const twice = decode(encode([...rows(), shared, shared])) as object[]
    expect(twice.at(-1)).toBe(twice.at(-2))
    const holey = decode(encode(Object.assign(rows(), { 2000: 1 }))) as object[]
    expect(1500 in holey).toBe(false)
  })

  it('is refused for the same reasons as a small one', () => {
    for (const odd of [() => 1, Symbol('s'), Promise.resolve()]) {
      const small = messageOf(() => encode([odd]))
      expect(small).toContain('that can be stored')
      expect(messageOf(() => encode([...rows(), odd])).replace('[1000]', '[0]')).toBe(small)
    }
  })
})

function messageOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return (error as Error).message
  }
  return 'nothing was thrown'
}
