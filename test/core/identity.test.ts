import { describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import { identityText } from '../../src/core/identity.ts'
import { itemByIdentity, joinScope, parseKey, stepKey } from '../../src/core/keys.ts'

class ObjectId {
  readonly #hex: string
  constructor(hex: string) {
    this.#hex = hex
  }
  toHexString(): string {
    return this.#hex
  }
}
class Decimal {
  toString(): string {
    return '1'
  }
}
const broken = {
  toHexString: () => {
    throw new Error('not connected')
  },
}

describe('identities of list items', () => {
  it('are different for values of different types that read alike', () => {
    const alike = [1, '1', 1n, '=1', '==1', '=1n', new Decimal(), new ObjectId('1'), '=o1', Buffer.from('1'), -1, '-1']
    const texts = alike.map(identityText)
    expect(texts).not.toContain(null)
    // The Decimal and the ObjectId are objects with the same text.
    expect(new Set(texts).size).toBe(alike.length - 1)
  })

  it('are the same for values that are the same', () => {
    const date = '2026-01-01T00:00:00.000Z'
    const twice = () => [7, 7n, '7', new Date(date), new ObjectId('a0'), Buffer.from('ab'), new Uint8Array([97, 98])]
    expect(twice().map(identityText)).toEqual(twice().map(identityText))
    expect(identityText(Buffer.from('ab'))).toBe(identityText(new Uint8Array([97, 98])))
  })

  it('are none where a value has no text of its own', () => {
    const none = [
      null,
      undefined,
      NaN,
      Infinity,
      true,
      Symbol('id'),
      () => 1,
      {},
      { id: 1 },
      [1],
      new Date(NaN),
      new Map(),
    ]
    for (const value of [...none, Promise.resolve(1), Object.create(null), broken])
      expect(identityText(value)).toBe(null)
  })

  it('are shown as they were written', () => {
    const shown = (value: unknown) =>
      parseKey(stepKey(joinScope(['list', itemByIdentity(identityText(value) ?? '', 1, 'Item')]), 'x', 1)).path[1]
    expect([7, -1.5, 12n, 'a', '=1', '==', new ObjectId('c0ffee'), Buffer.from([255])].map(shown)).toEqual([
      '7',
      '-1.5',
      '12',
      'a',
      '=1',
      '==',
      'c0ffee',
      'ff',
    ])
  })

  it('are different for different texts, whatever they hold', () => {
    const text = fc.string({ unit: fc.constantFrom('=', '1', 'n', 'o', 'x', 'd', '-'), maxLength: 4 })
    const value = fc.oneof(text, fc.integer({ min: -20, max: 20 }), fc.bigInt({ min: -20n, max: 20n }))
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(identityText(a) === identityText(b)).toBe(a === b)
      }),
      { numRuns: 3000, seed: 7 },
    )
  })
})
