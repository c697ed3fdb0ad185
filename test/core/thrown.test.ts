import { runInNewContext } from 'node:vm'
import { GraphQLError, locatedError } from 'graphql'
import { afterEach, describe, expect, it } from 'vitest'
import { decode, decodeBySight, encode, encodeThrown, isForClients, isGraphQLError } from '../../src/core/codec.ts'
import { nameErrorClasses } from '../../src/core/error-classes.ts'
import { DurableError, StepError } from '../../src/core/errors.ts'

const kept = (value: unknown): any => decode(encodeThrown(value))
const SECRET = 'Bearer tok-en-123'
const request = { headers: { authorization: SECRET } }

/** Of which clients get the code. */
class Details {
  readonly code = 'DECLINED'
  readonly response = 'tok-en-123'
  toJSON() {
    return { code: this.code }
  }
}

class OutOfStock extends GraphQLError {
  override readonly name = 'OutOfStock'
  readonly left = 3
}

/** As an error of a second copy of the graphql package is. */
class ForeignGraphQLError extends Error {
  readonly extensions: Record<string, unknown>
  readonly originalError: Error | undefined
  constructor(message: string, { extensions = {}, originalError }: { extensions?: any; originalError?: Error } = {}) {
    super(message)
    this.name = 'GraphQLError'
    this.extensions = extensions
    this.originalError = originalError
  }
  get [Symbol.toStringTag]() {
    return 'GraphQLError'
  }
}

/** What decides about an error where it is masked. */
const decisive = (error: any): unknown =>
  error instanceof Error
    ? {
        isGraphQLError: error instanceof GraphQLError,
        name: error.name,
        message: error.message,
        extensions: (error as any).extensions,
        path: (error as any).path,
        locations: (error as any).locations,
        original: decisive((error as any).originalError),
        isForClients: isForClients(error),
      }
    : (error ?? undefined)

describe('a GraphQLError that wraps what is no error', () => {
  it.each<[string, unknown]>([
    ['a text', 'dsn://secret'],
    ['an empty text', ''],
    ['a number', 0],
    ['false', false],
    ['an object', { message: 'dsn://secret' }],
    ['a list', []],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
  ])('is as internal as that: %s', (_what, originalError) => {
    const thrown = new GraphQLError('dsn://secret', { originalError: originalError as Error })
    expect(isForClients(thrown)).toBe(false)
    expect(isForClients(kept(thrown))).toBe(false)
    expect(kept(thrown).originalError).toBeInstanceOf(Error)
  })
})

describe('what decides about an error', () => {
  const field = { kind: 'Field', name: { kind: 'Name', value: 'a' } } as any
  const inner = new Error('dsn://secret')
  it.each<[string, unknown]>([
    ['a GraphQLError', new GraphQLError('a', { extensions: { code: 'A' } })],
    ['a subclass with a name of its own', new OutOfStock('a', { extensions: { code: 'STOCK' } })],
    ['one that wraps an internal error', new GraphQLError('dsn://secret', { originalError: inner })],
    ['one that wraps one that wraps', locatedError(new GraphQLError('a', { originalError: inner }), field, ['a'])],
    ['one that wraps a subclass', locatedError(new OutOfStock('a'), field, ['list', 0, 'a'])],
    ['one that wraps one of another copy', new GraphQLError('a', { originalError: new ForeignGraphQLError('a') })],
    ['one of another copy of graphql', new ForeignGraphQLError('a', { extensions: { code: 'B' } })],
    ['one of another copy that wraps', new ForeignGraphQLError('a', { originalError: inner })],
    ['an error that merely has the name', Object.assign(new Error('a'), { name: 'GraphQLError', extensions: {} })],
    [
      'one with places of its own',
      new GraphQLError('a', {
        path: ['x', 1],
        positions: [3, 9],
        source: { body: '{ a\n  b\n c }', name: 'q', locationOffset: { line: 1, column: 1 } } as any,
      }),
    ],
    ['an Error', inner],
    [
      'a class of its own',
      new (class Declined extends TypeError {
        override name = 'Declined'
      })('a'),
    ],
  ])('is the same of what comes back: %s', (_what, thrown) => {
    expect(decisive(kept(thrown))).toEqual(decisive(thrown))
    expect(decisive(kept(kept(thrown)))).toEqual(decisive(thrown))
  })

  it('is there where a chain is too long to be kept: what it ends in still masks it', () => {
    let error: Error = new Error('the end')
    for (let depth = 0; depth < 12; depth++) error = new GraphQLError('seen', { originalError: error })
    expect(isForClients(error)).toBe(false)
    expect(isForClients(kept(error))).toBe(false)
  })

  it('does not depend on loops', () => {
    const loop: any = new GraphQLError('loop')
    Object.defineProperty(loop, 'originalError', { value: loop })
    expect(isForClients(loop)).toBe(false)
    expect(isForClients(kept(loop))).toBe(false)
    const inExtensions = new GraphQLError('x', { extensions: { code: 'X' } })
    inExtensions.extensions['again'] = { error: inExtensions }
    expect(kept(inExtensions)).toMatchObject({ message: 'x', extensions: { code: 'X' } })
  })

  it('keeps of extensions what can be kept, and of the rest what clients get', () => {
    const extensions = {
      code: 'X',
      headers: new Headers({ a: 'b' }),
      later: Promise.resolve(),
      fn: () => 1,
      at: { toJSON: () => 'noon' },
      ...Object.defineProperty({}, 'trap', {
        enumerable: false,
        get() {
          throw new Error('trap')
        },
      }),
    }
    expect(kept(new GraphQLError('x', { extensions })).extensions).toEqual({
      code: 'X',
      headers: {},
      later: {},
      at: 'noon',
    })
  })

  it('keeps the status of its response', () => {
    const http = { status: 418, spec: true, headers: { 'Content-Language': 'de', 'Set-Cookie': 'a=b' } }
    expect(kept(new GraphQLError('x', { extensions: { code: 'X', http } })).extensions).toEqual({
      code: 'X',
      http: { status: 418, spec: true, headers: { 'content-language': 'de' } },
    })
  })

  it('keeps whether a DurableError can be tried again', () => {
    expect(kept(new DurableError('DURABLE_TOO_LARGE', 'x', { retryable: true })).retryable).toBe(true)
    expect(kept(new DurableError('DURABLE_TOO_LARGE', 'x')).retryable).toBe(false)
  })
})

describe('of what is thrown', () => {
  const aggregate = (errors: unknown[]): AggregateError => new AggregateError(errors, 'many')
  it.each<[string, unknown]>([
    ['a plain object', { status: 401, request }],
    ['a plain object with a message', { message: 'refused', request }],
    [
      'an instance of a class',
      new (class Reply {
        request = request
      })(),
    ],
    ['a Map', new Map([['request', request]])],
    ['a list', [request]],
    ['a URL', new URL('https://user:tok-en-123@host')],
    ['a cause', new Error('500', { cause: { request } })],
    ['a cause of a cause', new Error('500', { cause: new Error('x', { cause: request }) })],
    ['errors of an AggregateError', aggregate([{ request }, new Error('x', { cause: [request] })])],
    ['what a StepError wraps', new StepError('s', 1, { request })],
    ['the cause of a GraphQLError', new GraphQLError('x', { originalError: new Error('y', { cause: { request } }) })],
    ['an error in extensions', new GraphQLError('x', { extensions: { e: new Error('y', { cause: { request } }) } })],
    [
      'a cookie for its client',
      new GraphQLError('x', { extensions: { http: { status: 401, headers: { 'Set-Cookie': 'a=tok-en-123' } } } }),
    ],
    ['properties that are objects', Object.assign(new Error('x'), { config: request, headers: request.headers })],
    [
      'properties that are credentials',
      Object.assign(new Error('x'), { authorization: SECRET, accessToken: 'tok-en-123', set_cookie: 'tok-en-123' }),
    ],
    [
      'credentials under their short names',
      Object.assign(new Error('x'), {
        auth: SECRET,
        proxyAuth: SECRET,
        bearer: 'tok-en-123',
        jwt: 'tok-en-123',
        pwd: 'tok-en-123',
        sessionId: 'tok-en-123',
        accessKey: 'tok-en-123',
      }),
    ],
    ['what extensions keep to themselves', new GraphQLError('x', { extensions: new Details() as any })],
    [
      'what they do, with a status for the response',
      new GraphQLError('x', { extensions: Object.assign(new Details(), { http: { status: 400 } }) as any }),
    ],
    [
      'what they would say if they could',
      new GraphQLError('x', {
        extensions: {
          secret: 'tok-en-123',
          toJSON() {
            throw new Error('cannot')
          },
        },
      }),
    ],
    [
      'credentials in an address',
      Object.assign(new TypeError('Invalid URL'), {
        input: 'postgres://app:tok-en-123@db:x/',
        url: 'https://tok-en-123@h',
      }),
    ],
    [
      'properties of a cause',
      new Error('x', { cause: Object.assign(new Error('y'), { config: request, 'x-api-key': 'tok-en-123' }) }),
    ],
    [
      'an error of another realm',
      runInNewContext('Object.assign(new TypeError("x"), { config: s, cause: s })', { s: request }),
    ],
  ])('nothing is kept that nobody asked for: %s', (_what, thrown) => {
    const text = encodeThrown(thrown)
    expect(text).not.toContain('tok-en-123')
    expect(decode(text)).toBeInstanceOf(Error)
    expect(encode({ value: thrown instanceof Error ? thrown : null })).not.toContain('tok-en-123')
  })

  it('a message is kept, whatever it was', () => {
    expect(kept({ message: 'refused', request })).toEqual(new Error('refused'))
    expect(kept({ status: 1 }).message).toBe('A value that is no error was thrown: an object.')
    expect(kept(new Map()).message).toBe('A value that is no error was thrown: an instance of Map.')
    expect(kept(Symbol('x')).message).toBe('A value that is no error was thrown: a symbol.')
    expect(kept(new Error('a', { cause: { message: 'why', request } })).cause).toEqual(new Error('why'))
    expect([kept('text'), kept(7), kept(false), kept(null), kept(undefined)]).toEqual([
      'text',
      7,
      false,
      null,
      undefined,
    ])
  })

  it('an error of another realm stays one', () => {
    const foreign = runInNewContext(
      'Object.assign(new RangeError("far", { cause: new Error("why") }), { code: "E_FAR" })',
    )
    expect(foreign).not.toBeInstanceOf(Error)
    expect(kept(foreign)).toBeInstanceOf(RangeError)
    expect(kept(foreign)).toMatchObject({ message: 'far', code: 'E_FAR', cause: { message: 'why' } })
    expect(isGraphQLError(foreign)).toBe(false)
  })

  it('own scalars are kept that ask for no more, also where a class of ours has such names', () => {
    const thrown = Object.assign(new Error('gone'), { code: 'ENOENT', path: '/tmp/x', attempts: 3, at: new Date(1) })
    expect(kept(thrown)).toMatchObject({ code: 'ENOENT', path: '/tmp/x', attempts: 3, at: new Date(1) })
  })

  it('what is frozen, or throws when it is looked at, is kept as far as that goes', () => {
    expect(kept(Object.freeze(new OutOfStock('a')))).toMatchObject({ name: 'OutOfStock', left: 3 })
    const nasty = new Error('x')
    for (const key of ['message', 'name', 'cause', 'errors', 'code']) {
      Object.defineProperty(nasty, key, {
        enumerable: true,
        get() {
          throw new Error('trap')
        },
      })
    }
    expect(kept(nasty)).toBeInstanceOf(Error)
    expect(kept(Object.assign(new Error('x'), JSON.parse('{"__proto__": "y"}')))).toMatchObject({ message: 'x' })
  })

  it('many errors in one another come to an end', () => {
    const many: AggregateError = aggregate([])
    many.errors = Array.from({ length: 200 }, () => many)
    const text = encodeThrown(many)
    expect(text.length).toBeLessThan(50_000)
    expect(kept(many)).toBeInstanceOf(AggregateError)
  })
})

describe('classes', () => {
  class Declined extends Error {
    override readonly name: string = 'Declined'
    readonly reason: string
    constructor(message: string, reason: string) {
      super(message)
      this.reason = reason
    }
    get isFinal(): boolean {
      return this.reason === 'fraud'
    }
  }
  class DeclinedAtNight extends Declined {}

  afterEach(() => nameErrorClasses([]))

  it('come back where they are named, subclasses as the nearest of these', () => {
    expect(kept(new Declined('no', 'fraud'))).not.toBeInstanceOf(Declined)
    nameErrorClasses([Declined, OutOfStock])
    for (const thrown of [new Declined('no', 'fraud'), new DeclinedAtNight('no', 'fraud')]) {
      const copy = kept(new StepError('s', 1, thrown)).cause
      expect(copy).toBeInstanceOf(Declined)
      expect(copy).toMatchObject({ name: 'Declined', message: 'no', reason: 'fraud', isFinal: true })
    }
    const graphql = kept(new OutOfStock('none', { extensions: { code: 'STOCK' } }))
    expect(graphql).toBeInstanceOf(OutOfStock)
    expect(graphql).toMatchObject({ left: 3, extensions: { code: 'STOCK' } })
  })

  it('that were seen come back for whoever masks, and for nobody else', () => {
    const Unnamed = class Unnamed extends Error {}
    const text = encodeThrown(locatedError(new Unnamed('x'), [], ['a']))
    expect((decodeBySight(text) as GraphQLError).originalError).toBeInstanceOf(Unnamed)
    expect((decode(text) as GraphQLError).originalError).not.toBeInstanceOf(Unnamed)
    const Other = { Unnamed: class Unnamed extends Error {} }.Unnamed
    encodeThrown(new Other('y'))
    expect((decodeBySight(text) as GraphQLError).originalError).not.toBeInstanceOf(Other)
  })

  it('never make a GraphQLError of what was none', () => {
    const Plain = { Twin: class Twin extends Error {} }.Twin
    const GraphQL = { Twin: class Twin extends GraphQLError {} }.Twin
    nameErrorClasses([Plain])
    const text = encodeThrown(new Plain('internal'))
    nameErrorClasses([GraphQL])
    expect(decode(text)).not.toBeInstanceOf(GraphQLError)
    expect(decode(text)).toMatchObject({ message: 'internal' })
  })

  it('are refused where they are none, or two have one name', () => {
    expect(() => nameErrorClasses([Map as any])).toThrow(/extend Error/)
    expect(() => nameErrorClasses([new Error('x') as any])).toThrow(/extend Error/)
    expect(() => nameErrorClasses([Declined, { Declined: class Declined extends Error {} }.Declined])).toThrow(
      /"Declined"/,
    )
  })
})
