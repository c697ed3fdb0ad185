import { describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import {
  fieldById,
  fieldKey,
  isNested,
  isNestedIn,
  isWithin,
  itemByIdentity,
  itemByIndex,
  joinScope,
  parseKey,
  stepKey,
} from '../../src/core/keys.ts'

const orders = (id: string | number, occurrence = 1) => joinScope(['orders', itemByIdentity(id, occurrence), 'ship'])

describe('journal keys', () => {
  it('read as what they name', () => {
    expect(stepKey(orders(7), 'label', 2)).toBe('orders.[:7].ship>label#2')
    expect(stepKey(joinScope(['orders', itemByIndex(0)]), 'label', 1)).toBe('orders.[0]>label')
    expect(fieldKey('checkout')).toBe('checkout>')
    expect(fieldById('a.b')).toBe('@a%2eb')
  })

  it('are shown with the path and the id as the user wrote them', () => {
    expect(parseKey(stepKey(orders('a/b.c>d'), 'a>b#2 100%', 3))).toEqual({
      path: ['orders', 'a/b.c>d', 'ship'],
      step: 'a>b#2 100%#3',
    })
    expect(parseKey(stepKey(joinScope([fieldById('my field')]), 'x', 1))).toEqual({ path: ['my field'], step: 'x' })
    expect(parseKey(stepKey(joinScope(['list', itemByIndex(3)]), 'x', 1)).path).toEqual(['list', '3'])
  })

  it('tell an identity from an index, and the same identity from its next occurrence', () => {
    const keys = [
      itemByIndex(1),
      itemByIdentity(1, 1),
      itemByIdentity(1, 2),
      itemByIdentity('1~2', 1),
      itemByIdentity('\ud800', 1),
    ]
    expect(new Set(keys).size).toBe(keys.length)
  })

  it('are different for different ids and occurrences, whatever the id holds', () => {
    const id = fc.string({ minLength: 1, unit: fc.constantFrom('#', '%', '>', '.', '2', '3', 'a') })
    const call = fc.record({ id, occurrence: fc.integer({ min: 1, max: 25 }) })
    fc.assert(
      fc.property(call, call, (one, other) => {
        const same = one.id === other.id && one.occurrence === other.occurrence
        expect(stepKey('f', one.id, one.occurrence) === stepKey('f', other.id, other.occurrence)).toBe(same)
        const { path, step } = parseKey(stepKey('f', one.id, one.occurrence))
        expect(path).toEqual(['f'])
        expect(step).toBe(one.occurrence > 1 ? `${one.id}#${one.occurrence}` : one.id)
      }),
      { numRuns: 2000, seed: 7 },
    )
  })

  it('are different for different identities, whatever they hold', () => {
    const identity = fc.string({ unit: fc.constantFrom('~', '2', ']', '[', '.', ':', '%', '>'), maxLength: 4 })
    fc.assert(
      fc.property(identity, identity, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), (a, b, m, n) => {
        expect(itemByIdentity(a, m) === itemByIdentity(b, n)).toBe(a === b && m === n)
      }),
      { numRuns: 2000, seed: 7 },
    )
  })

  it('tell an execution within a resolver from everything else, whatever identities hold', () => {
    expect(isNested(orders('a/b'))).toBe(false)
    expect(isNested('checkout/cart~2')).toBe(true)
    expect(isNestedIn('checkout/cart', 'checkout')).toBe(true)
    expect(isNestedIn('checkout2/cart', 'checkout')).toBe(false)
  })

  it('belong to a scope where they are in it or below it, and not where a name merely begins alike', () => {
    expect(isWithin('checkout>a', 'checkout')).toBe(true)
    expect(isWithin('checkout.lines.[0].ship>a', 'checkout')).toBe(true)
    expect(isWithin('checkout/nested>a', 'checkout')).toBe(true)
    expect(isWithin('checkout2>a', 'checkout')).toBe(false)
    expect(isWithin('check>a', 'checkout')).toBe(false)
  })
})
