import { GraphQLError } from 'graphql'
import { isForClients } from '../core/codec.ts'
import { visibleExtensions } from '../core/extensions.ts'
import type { StepSnapshot } from '../types.ts'

/** A server's masking of errors. */
export interface Masking {
  /** What clients see of an error that a resolver threw. */
  mask(error: GraphQLError): unknown
}

type VisibleError = NonNullable<StepSnapshot['error']>

const HIDDEN: VisibleError = { message: 'Unexpected error.' }

/** By what the journal has. Maskings log what they hide: a client that polls must not make an entry of each look. */
const known = new WeakMap<Masking, Map<string, VisibleError>>()
const MAX_KNOWN = 1000
const MAX_LENGTH = 4000

/**
 * What readers of a run see of an error that a step threw. That may be internal: only what was made for clients is shown,
 * and as the server's masking shows it where a resolver throws it. Without a server nothing is.
 */
export function visibleError(error: unknown, body: string, host: Masking | null): VisibleError {
  if (!host || !isForClients(error)) return HIDDEN
  let ofHost = known.get(host)
  if (!ofHost) known.set(host, (ofHost = new Map()))
  let visible = ofHost.get(body)
  if (visible) return visible
  visible = masked(error, host)
  if (ofHost.size >= MAX_KNOWN) ofHost.clear()
  if (body.length <= MAX_LENGTH) ofHost.set(body, visible)
  return visible
}

function masked(error: GraphQLError, host: Masking): VisibleError {
  try {
    const shown = host.mask(new GraphQLError(error.message, { originalError: error }))
    if (!(shown instanceof Error)) return HIDDEN
    const extensions = visibleExtensions((shown as Partial<GraphQLError>).extensions)
    return { message: shown.message, ...(Object.keys(extensions).length > 0 && { extensions }) }
  } catch {
    return HIDDEN
  }
}
