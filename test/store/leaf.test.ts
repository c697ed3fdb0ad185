import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matches } from '../../src/core/match.ts'
import { leafOf, leavesOf, leavesOfPattern } from '../../src/store/leaf.ts'
import { fromText, toText } from '../../src/store/text.ts'

/** Of a part of a value, in which each property may be missing. */
function part(value: unknown, keeps: (key: string) => boolean): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const entries = Object.entries(value).filter(([key]) => keeps(key))
  return Object.fromEntries(entries.map(([key, child]) => [key, part(child, keeps)]))
}

describe('leaves', () => {
  it('of a pattern are all among those of whatever it matches', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.func(fc.boolean()), (json, keeps) => {
        const value: unknown = JSON.parse(JSON.stringify(json))
        const pattern = part(value, (key) => keeps(key))
        const leaves = leavesOf(value)
        expect(matches(pattern, value)).toBe(true)
        if (leaves) expect(leaves).toEqual(expect.arrayContaining(leavesOfPattern(pattern)))
      }),
    )
  })

  it('are those by which earlier versions have stored waits', () => {
    const digest = createHash('sha256').update('/"order"/"0"/"ü\\u0000"="\\ud800"').digest()
    expect(leafOf({ order: [{ 'ü\0': '\ud800' }] })).toBe(digest.readBigInt64BE().toString())
  })

  it('are hashed in a time that is linear in the data, and none are found where there are too many', () => {
    const nest = (depth: number, key: string): unknown => {
      let value: unknown = 1
      for (let level = 0; level < depth; level++) value = { [key]: value, n: level }
      return value
    }
    expect(leavesOf(nest(99, 'k'.repeat(20_000)))).toHaveLength(100)
    expect(leavesOf(nest(200, 'k'))).toBeNull()
    expect(leavesOf(nest(100_000, 'k'))).toBeNull()
    expect(leavesOf(Array.from({ length: 1_000_000 }, () => ({})))).toBeNull()
    expect(leavesOf(Array.from({ length: 1_001 }, (_, n) => n))).toBeNull()
    expect(leafOf(nest(100_000, 'k'))).toBeNull()
  })
})

describe('texts', () => {
  const unit = fc.constantFrom('a', '0', 'f', '\0', '\u001a', '\u001a0000', '\ud83d', '\ude00', '😀')

  it('come back as they were, and are written without NUL or halves of surrogate pairs', () => {
    fc.assert(
      fc.property(fc.array(unit), (units) => {
        const text = units.join('')
        const written = toText(text)
        expect(fromText(written)).toBe(text)
        expect(written.includes('\0')).toBe(false)
        expect(written.isWellFormed()).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })

  it('stay as they are where nothing needs another way of writing', () => {
    for (const text of ['', 'order 7', 'ü 😀', '\u001a', '\u001aabc', '\u001f0000']) expect(toText(text)).toBe(text)
  })
})
