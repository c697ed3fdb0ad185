import { GraphQLError, locatedError } from 'graphql'
import type { ExecutionResult } from 'graphql'
import { describe, expect, it } from 'vitest'
import { decodeResponse, encodeResponse } from '../../src/engine/field-response.ts'

const again = (result: ExecutionResult): ExecutionResult =>
  decodeResponse({ ...encodeResponse(result) } as Parameters<typeof decodeResponse>[0])

describe("a root field's response that comes back from the journal", () => {
  it('has its errors as the executor made them', () => {
    const thrown = new GraphQLError('No tea', { extensions: { code: 'NO_TEA' } })
    const error = locatedError(thrown, undefined, ['a', 0])
    const copy = again({ data: { a: null }, errors: [error] }).errors?.[0]
    expect(copy).toBeInstanceOf(GraphQLError)
    expect(copy?.toJSON()).toEqual(error.toJSON())
    expect(copy?.originalError).toBeInstanceOf(GraphQLError)
  })

  it('has errors that were data as data', () => {
    const errors = [{ message: 'remote', path: ['a'], extensions: { code: 'X' } }] as unknown as GraphQLError[]
    const copy = again({ data: { a: null }, errors, extensions: { cost: 1 } })
    expect(copy).toEqual({ data: { a: null }, errors, extensions: { cost: 1 } })
    expect(copy.errors?.[0]).not.toBeInstanceOf(Error)
  })

  it('has nothing of an object that was thrown and that its executor looked into', () => {
    const error = locatedError({ headers: { authorization: 'tok-en-123' } }, undefined, ['a'])
    const { body } = encodeResponse({ data: { a: null }, errors: [error] })
    expect(error.message).toContain('tok-en-123')
    expect(body).not.toContain('tok-en-123')
    expect(again({ data: { a: null }, errors: [error] }).errors?.[0]).toMatchObject({
      message: 'Unexpected error value: an object that is no error.',
      path: ['a'],
      originalError: { name: 'NonErrorThrown' },
    })
  })
})
