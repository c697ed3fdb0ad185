import { buildSchema, GraphQLError, parseValue } from 'graphql'
import { describe, expect, it } from 'vitest'
import { literalToJson, toJson } from '../../schema/json.ts'
import { createNames } from '../../schema/names.ts'
import { createScalars } from '../../schema/scalars.ts'
import { ask, START, stubDurable } from './stub.ts'

const [json, dateTime] = createScalars(createNames())

describe('toJson', () => {
  const shared = { a: 1 }

  it.each([
    ['a date', START, '2026-01-01T00:00:00.000Z'],
    ['an invalid date', { at: new Date(Number.NaN) }, { at: null }],
    ['a big integer', { n: 12345678901234567890n }, { n: '12345678901234567890' }],
    ['a map', new Map([[{ key: 1 }, START]]), [[{ key: 1 }, '2026-01-01T00:00:00.000Z']]],
    ['a set', new Set([1n, 2]), ['1', 2]],
    ['bytes', new Uint8Array([1, 2, 3]).subarray(1), 'AgM='],
    ['a buffer', Buffer.from('hi'), 'aGk='],
    ['an array buffer', new Uint8Array([1]).buffer, 'AQ=='],
    ['a data view', new DataView(new ArrayBuffer(2), 1), 'AA=='],
    ['numbers', new Float64Array([0.5, Number.NaN]), [0.5, null]],
    ['big integers in an array', new BigInt64Array([1n]), ['1']],
    ['an error', new TypeError('no'), { name: 'TypeError', message: 'no' }],
    ['an error that knows better', new GraphQLError('no'), { message: 'no' }],
    ['a pattern', /a+/g, '/a+/g'],
    ['an address', new URL('https://example.com/a'), 'https://example.com/a'],
    ['what JSON leaves out', { a: undefined, b: () => 1, c: Symbol('c'), d: [undefined] }, { d: [null] }],
    ['infinity', [Number.POSITIVE_INFINITY], [null]],
    ['one object in two places', [shared, { shared }], [{ a: 1 }, { shared: { a: 1 } }]],
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  ])('%s', (_what, value, expected) => {
    expect(toJson(value)).toEqual(expected)
  })

  it('keeps __proto__ a property', () => {
    const value = JSON.parse('{"__proto__": {"admin": true}}') as unknown
    expect(JSON.stringify(toJson(value))).toBe('{"__proto__":{"admin":true}}')
  })

  it('refuses an object that contains itself', () => {
    const loop: Record<string, unknown> = {}
    loop['loop'] = [loop]
    expect(() => toJson(loop)).toThrow('an object contains itself')
  })
})

describe('literalToJson', () => {
  it('reads every literal, with variables at any depth', () => {
    const node = parseValue(
      '{ s: "a", i: 1, f: -1.5e3, t: true, n: null, l: [1, [$x, $none]], o: { y: $y, none: $none } }',
    )
    expect(literalToJson(node, { x: { deep: [1] }, y: null })).toEqual({
      s: 'a',
      i: 1,
      f: -1500,
      t: true,
      n: null,
      l: [1, [{ deep: [1] }, null]],
      o: { y: null },
    })
  })

  it('keeps __proto__ a property', () => {
    const value = literalToJson(parseValue('{ __proto__: { admin: true } }'), null)
    expect(JSON.stringify(value)).toBe('{"__proto__":{"admin":true}}')
  })

  it('refuses what is no JSON', () => {
    expect(() => literalToJson(parseValue('{ a: [RED] }'), null)).toThrow('but got the name RED. Write it as a text')
    expect(() => literalToJson(parseValue('1e999'), null)).toThrow('a number that JSON can hold, but got 1e999')
  })
})

describe('DurableDateTime', () => {
  it('is an ISO string outside, and a date inside', () => {
    expect(dateTime!.serialize(START)).toBe('2026-01-01T00:00:00.000Z')
    expect(dateTime!.parseValue('2026-01-01T01:00:00+01:00')).toEqual(START)
    expect(dateTime!.parseLiteral(parseValue('"2026-01-01T00:00:00Z"'), {})).toEqual(START)
  })

  it('refuses anything else', () => {
    for (const bad of ['soon', 5, null, new Date(Number.NaN)]) {
      expect(() => dateTime!.serialize(bad)).toThrow('Expected DurableDateTime to be an instant')
    }
    expect(() => dateTime!.parseLiteral(parseValue('5'), {})).toThrow('Expected DurableDateTime to be an instant')
  })
})

it('DurableJSON reaches a resolver from literals, variables, and variables within literals', async () => {
  expect(json!.parseValue({ a: 1 })).toEqual({ a: 1 })
  const durable = stubDurable([])
  const result = await ask(
    buildSchema('type Query { a: ID }'),
    durable,
    { authorize: () => true },
    `mutation ($all: DurableJSON, $id: ID, $none: Int) {
      literal: sendDurableEvent(name: "a", data: { list: [1, { id: $id }], none: $none })
      variable: sendDurableEvent(name: "b", data: $all, id: "evt_b")
      null: sendDurableEvent(name: "c", data: null)
      absent: sendDurableEvent(name: "d")
    }`,
    { variables: { all: [{ a: null }], id: '7' } },
  )
  expect(result).toEqual({ data: { literal: 'evt_1', variable: 'evt_b', null: 'evt_1', absent: 'evt_1' } })
  expect(durable.calls).toEqual([
    ['send', { name: 'a', data: { list: [1, { id: '7' }] } }],
    ['send', { name: 'b', data: [{ a: null }], id: 'evt_b' }],
    ['send', { name: 'c', data: null }],
    ['send', { name: 'd' }],
  ])
})
