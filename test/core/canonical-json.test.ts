import { describe, expect, it } from 'vitest'
import { canonicalJson } from '../../src/core/canonical-json.ts'

const other = (value: unknown): string => `~${String(value)}`
const write = (value: unknown): string => canonicalJson(value, other)

describe('canonical JSON', () => {
  it('does not depend on the order of members, at any depth', () => {
    const one = { b: [{ y: 1, x: { d: 1, c: 2 } }], a: 1 }
    const two = { a: 1, b: [{ x: { c: 2, d: 1 }, y: 1 }] }
    expect(write(one)).toBe(write(two))
    expect(write(one)).toBe('{"a":1,"b":[{"x":{"c":2,"d":1},"y":1}]}')
  })

  it('keeps what tells values apart: the order of lists, types, null and what is not there', () => {
    const values = [
      [1, 2],
      [2, 1],
      ['1', 2],
      { a: null },
      {},
      { a: '' },
      { a: 0 },
      { a: false },
      [null],
      [],
      ['a\u0308'],
      ['\u00e4'],
    ]
    expect(new Set(values.map(write)).size).toBe(values.length)
  })

  it('writes numbers and texts as RFC 8785 has them', () => {
    expect(write(JSON.parse('[1.0, 1, 1e0, -0, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]'))).toBe(
      '[1,1,1,0,1e+30,4.5,0.002,1e-27]',
    )
    // The example of the RFC, 3.2.3.
    const names = JSON.parse(
      '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}',
    ) as object
    expect(Object.values(JSON.parse(`[${write(names)}]`)[0] as object)).toHaveLength(7)
    const order = [...write(names).matchAll(/"((?:[^"\\]|\\.)*)":/g)].map(
      ([, name]) => JSON.parse(`"${name}"`) as string,
    )
    expect(order).toEqual(['\r', '1', '\u0080', 'ö', '€', '😀', '\ufb33'])
  })

  it('has members whose names mean something to objects', () => {
    expect(write(JSON.parse('{"toString":1,"__proto__":{"b":1,"a":2},"constructor":2}'))).toBe(
      '{"__proto__":{"a":2,"b":1},"constructor":2,"toString":1}',
    )
    expect(write(Object.assign(Object.create(null), { a: 1 }))).toBe('{"a":1}')
  })

  it('leaves undefined out of objects, and what JSON does not have to others', () => {
    expect(write({ a: undefined, b: [undefined] })).toBe('{"b":[null]}')
    expect(write([1n, Number.NaN])).toBe('[~1,~NaN]')
    expect(write(new Map())).toBe('~[object Map]')
  })
})
