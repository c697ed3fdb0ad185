/*
 * What can tell the items of a list apart, as a text: different for different values, also of different types, and the
 * same whenever the value comes again, in this process or in another. Texts stand for themselves; everything else
 * begins with `=` and says what it is, and so does a text that would.
 */

/** Null for what is no identity: nothing at all, and what has no text of its own. */
export function identityText(value: unknown): string | null {
  switch (typeof value) {
    case 'string':
      return value.startsWith('=') ? `=${value}` : value
    case 'number':
      return Number.isFinite(value) ? `=${value}` : null
    case 'bigint':
      return `=${value}n`
    case 'object':
      return value === null ? null : textOfObject(value)
    default:
      return null
  }
}

/** As users wrote it. */
export function readableIdentity(text: string): string {
  return text.replace(/^=(-?\d+)n$/, '$1').replace(/^=[xod=]?/, (mark) => (mark === '==' ? '=' : ''))
}

/** Dates, bytes, and what has a `toHexString` or a `toString` of its own: an ObjectId, a Decimal, a Long. */
function textOfObject(value: object): string | null {
  try {
    if (value instanceof Date) return `=d${value.toISOString()}`
    if (ArrayBuffer.isView(value)) return `=x${hexOf(value.buffer, value.byteOffset, value.byteLength)}`
    if (value instanceof ArrayBuffer) return `=x${hexOf(value)}`
    const own: unknown = 'toHexString' in value ? value.toHexString : value.toString
    if (typeof own !== 'function' || WITHOUT_MEANING.has(own)) return null
    const text: unknown = own.call(value)
    return typeof text === 'string' && text !== '' && !text.startsWith('[object ') ? `=o${text}` : null
  } catch {
    return null // it cannot be read
  }
}

/** Lists as well: of what they hold their text tells too little. */
const WITHOUT_MEANING: ReadonlySet<unknown> = new Set([Object.prototype.toString, Array.prototype.toString])

function hexOf(...bytes: [buffer: ArrayBufferLike, offset?: number, length?: number]): string {
  return Buffer.from(...(bytes as [ArrayBuffer])).toString('hex') // shared memory has bytes, too
}

/** As runs have it that were begun when texts and numbers were not told apart, and all else had no identity. */
export function undistinguishedText(value: unknown): string | null {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : null
}
