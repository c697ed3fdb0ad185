import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { decode, encode, encodeThrown, isGraphQLError } from '../../src/core/codec.ts'
import { DurableError, NonRetriableError, RetryAfterError, StepError } from '../../src/core/errors.ts'

class Cart {
  readonly items = []
}
const roundTrip = <T>(value: T): T => decode(encode(value)) as T
const thrown = (value: unknown): unknown => decode(encodeThrown(value))

describe('encode and decode (I11)', () => {
  it.each<[string, unknown]>([
    ['primitives', [null, undefined, true, 'text', 1.5, Number.NaN, -0, -Infinity, 10n ** 30n]],
    ['dates, patterns and addresses', [new Date(0), /x/y, new URL('a:b')]],
    ['collections', new Map<unknown, unknown>([['a', new Set([new Map([[1, undefined]])])]])],
    ['views', [new Uint8Array([1]), new Uint16Array([2]), new Float32Array([0.5]), new BigUint64Array([3n])]],
    ['nested undefined', { a: undefined, b: [undefined] }],
  ])('bring back %s as they were', (_name, value) => {
    expect(roundTrip(value)).toStrictEqual(value)
  })

  it('keep the bytes of a Buffer, and of a view of a larger buffer, and nothing around them', () => {
    const pool = Buffer.from('secret-data-secret')
    const encoded = encode({ buffer: pool.subarray(7, 11), view: new Uint8Array(pool.buffer, pool.byteOffset + 7, 4) })
    expect(encoded).not.toContain(Buffer.from('secret').toString('base64').slice(0, 6))
    const { buffer, view } = decode(encoded) as { buffer: Buffer; view: Uint8Array }
    expect(buffer.toString()).toBe('data')
    expect(Buffer.isBuffer(buffer)).toBe(true)
    expect(view).toStrictEqual(new Uint8Array(Buffer.from('data')))
    expect(view.buffer.byteLength).toBe(4)
  })

  it('keep a DataView and a null prototype', () => {
    const bytes = new Uint8Array([9, 8, 7, 6])
    const view = roundTrip(new DataView(bytes.buffer, 1, 2))
    expect(view.byteLength).toBe(2)
    expect(view.getUint8(0)).toBe(8)
    expect(Object.getPrototypeOf(roundTrip(Object.create(null)))).toBeNull()
  })

  it('keep what is the same object the same, cycles included, within one value', () => {
    const inner = { n: 1 }
    const list: unknown[] = [inner, inner]
    list.push(list)
    const copy = roundTrip(list)
    expect(copy[0]).toBe(copy[1])
    expect(copy[2]).toBe(copy)
    expect(copy[0]).not.toBe(inner)
  })

  it('share nothing between two calls of decode', () => {
    const body = encode({ list: [1], date: new Date(0) })
    const [one, other] = [decode(body), decode(body)] as { list: number[]; date: Date }[]
    one?.list.push(2)
    one?.date.setTime(5)
    expect(other).toEqual({ list: [1], date: new Date(0) })
  })

  it.each<[string, unknown, string]>([
    ['a function', { a: [{ b: () => 1 }] }, '".a[0].b" it has a function'],
    ['a symbol', Symbol('x'), 'its root it has a symbol'],
    ['a class instance', { cart: new Cart() }, '".cart" it has an instance of Cart'],
    ['a promise', [Promise.resolve()], '"[0]" it has a promise'],
    ['a WeakMap', { w: new WeakMap() }, '".w" it has an instance of WeakMap'],
  ])('refuse %s, and say where and what', (_name, value, message) => {
    expect(() => encode(value, 'the answer')).toThrow(
      `Expected the answer to be data that can be stored, but at ${message}`,
    )
    expect(() => encode(value)).toThrow(expect.objectContaining({ code: 'DURABLE_NOT_SERIALIZABLE' }))
  })

  it('do not take an error that a getter throws for a value that cannot be kept', () => {
    const value = {
      get broken() {
        throw new RangeError('from the getter')
      },
    }
    expect(() => encode(value)).toThrow(RangeError)
  })
})

describe('errors as outcomes', () => {
  it.each([Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError])(
    '%o keeps its class',
    (Class) => {
      const copy = thrown(new Class('why', { cause: 'because' })) as Error
      expect(copy).toBeInstanceOf(Class)
      expect(copy).toMatchObject({ name: Class.name, message: 'why', cause: 'because' })
    },
  )

  it('keep the name and the properties of a class that is not known, on an Error', () => {
    class PaymentError extends Error {
      override readonly name = 'PaymentError'
      readonly status = 402
      readonly when = new Date(1)
      readonly send = () => 1
    }
    const copy = thrown(Object.assign(new PaymentError('declined'), { code: 'E_CARD' })) as PaymentError
    expect(copy).toBeInstanceOf(Error)
    expect(copy).toMatchObject({
      name: 'PaymentError',
      message: 'declined',
      status: 402,
      when: new Date(1),
      code: 'E_CARD',
    })
    expect(copy).not.toHaveProperty('send')
    expect(Object.keys(copy)).not.toContain('name')
  })

  it('carry no objects, which may be a request with its credentials', () => {
    const request = { headers: { authorization: 'Bearer secret' } }
    const encoded = encodeThrown(
      Object.assign(new Error('refused', { cause: Object.assign(new Error('inner'), { request }) }), {
        config: request,
      }),
    )
    expect(encoded).not.toContain('secret')
    expect(decode(encoded)).toMatchObject({ message: 'refused', cause: { message: 'inner' } })
  })

  it('do not carry a stack out of the process', () => {
    const encoded = encodeThrown(new Error('x', { cause: new Error('y') }))
    expect(encoded).not.toContain('codec.test')
    expect((decode(encoded) as Error).stack).toBe('Error: x')
  })

  it("keep this library's own classes, with what they hold", () => {
    const step = thrown(new StepError('charge', 3, new RangeError('far'), 'DURABLE_STEP_TIMEOUT')) as StepError
    expect(step).toBeInstanceOf(StepError)
    expect(step).toMatchObject({
      stepId: 'charge',
      attempts: 3,
      code: 'DURABLE_STEP_TIMEOUT',
      cause: { message: 'far' },
    })
    const durable = thrown(new DurableError('DURABLE_TOO_LARGE', 'big', { extensions: { bytes: 7 } })) as DurableError
    expect(durable).toBeInstanceOf(DurableError)
    expect(durable.extensions).toEqual({ bytes: 7, code: 'DURABLE_TOO_LARGE' })
    expect(thrown(new NonRetriableError('no'))).toBeInstanceOf(NonRetriableError)
    expect(thrown(new RetryAfterError('later', new Date(9)))).toMatchObject({ message: 'later', after: new Date(9) })
  })

  it('keep a GraphQLError and its extensions, also one of another copy of graphql', () => {
    const copy = thrown(new GraphQLError('seen', { extensions: { code: 'X', list: [1] } })) as GraphQLError
    expect(copy).toBeInstanceOf(GraphQLError)
    expect(copy.extensions).toEqual({ code: 'X', list: [1] })
    const foreign = Object.assign(new Error('other'), { name: 'GraphQLError', extensions: { code: 'Y' } })
    expect(isGraphQLError(foreign)).toBe(true)
    expect(thrown(foreign)).toMatchObject({ message: 'other', extensions: { code: 'Y' } })
  })

  it('keep AggregateErrors, and those of the platform', () => {
    const many = thrown(new AggregateError([new TypeError('a'), 'b'], 'many')) as AggregateError
    expect(many).toBeInstanceOf(AggregateError)
    expect(many.errors[0]).toBeInstanceOf(TypeError)
    expect(many.errors[1]).toBe('b')
    const abort = thrown(new DOMException('stopped', 'AbortError')) as DOMException
    expect(abort).toBeInstanceOf(DOMException)
    expect(abort.name).toBe('AbortError')
  })

  it('end chains of causes, loops included', () => {
    const loop = new Error('loop')
    loop.cause = loop
    let depth = 0
    for (let error: unknown = thrown(loop); error instanceof Error; error = error.cause) depth++
    expect(depth).toBe(6)
  })

  it('leave out what cannot be kept, and never throw', () => {
    const broken = Object.assign(new Error('x', { cause: () => 1 }), { fn: () => 1, ok: 1 })
    expect(thrown(broken)).toMatchObject({ message: 'x', ok: 1 })
    expect(thrown(broken)).not.toHaveProperty('cause')
    expect(thrown(broken)).not.toHaveProperty('fn')
    expect(thrown(() => 1)).toMatchObject({ message: expect.stringContaining('a function') })
    expect(thrown('text')).toBe('text')
    expect(thrown(undefined)).toBeUndefined()
  })

  it('never throw, whatever properties an error has', () => {
    const nasty = new Error('x')
    Object.defineProperty(nasty, 'trap', {
      enumerable: true,
      get() {
        throw new Error('from the getter')
      },
    })
    expect(thrown(nasty)).toBeInstanceOf(Error)
    const proxied = new Proxy(
      {},
      {
        get() {
          throw new Error('from the proxy')
        },
      },
    )
    expect(thrown(proxied)).toBeInstanceOf(Error)
  })
})
