import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from 'node:crypto'

/**
 * Makes cursors unreadable for those who are given them, and refuses what was not made here: a place in the list of all
 * runs is the id and the time of a run, which its reader may not be allowed to know of (I9). Every process of a store
 * has the same key, so a cursor is good for all of them. The same place is the same cursor.
 */
export interface CursorSeal {
  seal(place: string): string
  /** Null where it was not sealed with this key. */
  open(cursor: string): string | null
}

const IV_BYTES = 12
const TAG_BYTES = 16

export function createCursorSeal(secret: string): CursorSeal {
  const derive = (purpose: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', purpose, 32))
  const key = derive('graphql-durable cursors')
  const ivKey = derive('graphql-durable cursors: iv')
  return {
    seal(place) {
      // From what is sealed: no two places have one, and none is used for two.
      const iv = createHmac('sha256', ivKey).update(place).digest().subarray(0, IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, iv)
      const sealed = Buffer.concat([cipher.update(place, 'utf8'), cipher.final()])
      return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64url')
    },
    open(cursor) {
      const bytes = Buffer.from(cursor, 'base64url')
      // Base64 is read leniently: what was changed on the way is none of ours, though it says the same.
      if (bytes.length <= IV_BYTES + TAG_BYTES || bytes.toString('base64url') !== cursor) return null
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES))
        decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
        const sealed = bytes.subarray(IV_BYTES + TAG_BYTES)
        return Buffer.concat([decipher.update(sealed), decipher.final()]).toString('utf8')
      } catch {
        return null
      }
    },
  }
}
