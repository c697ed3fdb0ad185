import { randomBytes } from 'node:crypto'

/** What clients' cursors are sealed with. */
export const SECRET_NAME = 'cursors'

export function newSecret(): string {
  return randomBytes(32).toString('base64url')
}
