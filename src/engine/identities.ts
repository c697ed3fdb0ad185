import type { DurableOptions } from '../types.ts'
import type { Identities } from './labels.ts'
import { guardedIdentify } from './user-functions.ts'
import type { Warn } from './user-functions.ts'

/** By the option `identify`, or by `source.id`. Of each type it is said once that its items have no usable identity. */
export function createIdentities(identify: DurableOptions['identify'], warn: Warn): Identities {
  const told = new Set<string>()
  return {
    identify: identify ? guardedIdentify(identify, warn) : idOf,
    onUnusable(identity, { parentType }) {
      if (told.has(parentType.name)) return
      told.add(parentType.name)
      warn(
        `Expected the id of ${parentType.name} to be a text, a number, a bigint, a Date, bytes, or an object with a toString of its own, but got ${kindOf(identity)}. Items of its lists are told apart by their places, so the lists must not change; or give the option identify.`,
        { type: parentType.name },
      )
    },
  }
}

function idOf(source: unknown): unknown {
  return typeof source === 'object' && source !== null && 'id' in source ? source.id : null
}

function kindOf(identity: unknown): string {
  return typeof identity === 'number' ? String(identity) : `a value of type ${typeof identity}`
}
