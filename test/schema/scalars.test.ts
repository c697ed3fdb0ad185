import { parseValue } from 'graphql'
import { describe, expect, it } from 'vitest'
import { createNames } from '../../schema/names.ts'
import { createScalars } from '../../schema/scalars.ts'

const [json, dateTime] = createScalars(createNames()) as [any, any]
const BAD_INPUT = expect.objectContaining({ extensions: { code: 'BAD_USER_INPUT' } })

describe('DurableDateTime', () => {
  it.each(['2026-11-25T09:00:00Z', '2026-11-25T09:00:00.000Z', '2026-11-25T10:00:00+01:00', '2026-11-25t09:00:00z'])(
    'takes an instant of RFC 3339: %s',
    (text) => {
      expect(dateTime.parseValue(text)).toEqual(new Date('2026-11-25T09:00:00Z'))
      expect(dateTime.parseLiteral(parseValue(JSON.stringify(text)))).toEqual(new Date('2026-11-25T09:00:00Z'))
    },
  )

  it.each(['', '1', 'tomorrow', '2026', '2026-11-25', '2026-13-01T00:00:00Z', '2026-11-25T09:00:00', 7, null, {}, []])(
    'refuses %j as bad input, and says what it expects',
    (value) => {
      expect(() => dateTime.parseValue(value)).toThrow(BAD_INPUT)
      expect(() => dateTime.parseValue(value)).toThrow('Expected DurableDateTime to be an instant such as "2026-')
    },
  )
})

describe('DurableJSON', () => {
  it.each(['{ a: [RED] }', '1e999'])('refuses %s in a query as bad input', (literal) => {
    expect(() => json.parseLiteral(parseValue(literal))).toThrow(BAD_INPUT)
  })

  it('takes a key __proto__ as a key', () => {
    const value = json.parseLiteral(parseValue('{ __proto__: { a: 1 } }'))
    expect(Object.keys(value)).toEqual(['__proto__'])
    expect(value.a).toBeUndefined()
  })
})
