import type { GraphQLResolveInfo } from 'graphql'

/** An abort signal in place of one that an executor gave. */
export interface Shadow {
  readonly given: AbortSignal
  readonly signal: AbortSignal
  readonly getSignal: () => AbortSignal
  readonly letGo: () => void
}

/**
 * The signals of a request, as resolvers get them: they follow those of the executors for as long as the operation has
 * used no step and is not answered, and no further. Nothing is left on a signal afterwards, which may be one for all
 * the requests of a server.
 */
export class SignalsUntilRun {
  readonly #shadows: Shadow[] = []
  /** Asked for by each resolver (I8). */
  #latest: Shadow | null = null
  #isLetGo = false

  of(given: AbortSignal): Shadow {
    if (this.#latest?.given === given) return this.#latest
    // An executor has one, and one within a resolver may have another.
    let shadow = this.#shadows.find((each) => each.given === given)
    if (!shadow) this.#shadows.push((shadow = this.#follow(given)))
    return (this.#latest = shadow)
  }

  letGo(): void {
    this.#isLetGo = true
    for (const { letGo } of this.#shadows) letGo()
  }

  #follow(given: AbortSignal): Shadow {
    const { signal, abort } = controllerOf(given)
    if (given.aborted) abort()
    else if (!this.#isLetGo) given.addEventListener('abort', abort, { once: true })
    return { given, signal, getSignal: () => signal, letGo: () => given.removeEventListener('abort', abort) }
  }
}

function controllerOf(given: AbortSignal): { readonly signal: AbortSignal; readonly abort: () => void } {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort(given.reason) }
}

/** What executors add to `info`: graphql-tools' both, of one signal or none, graphql 17 the function. */
interface SignalBearer {
  signal?: AbortSignal | null | undefined
  getAbortSignal?: () => AbortSignal | undefined
}

/**
 * The request's abort signal does not reach a run: `info` gets one that follows the request's for as long as the
 * operation has used no step, and no further. Resolvers take it before their first step, so a getter would be too late.
 * Written to `info` itself, which belongs to this call: an object that inherits from it costs more than most resolvers.
 */
export function shadowSignal(
  info: GraphQLResolveInfo,
  operation: { readonly signals: SignalsUntilRun },
): GraphQLResolveInfo {
  const bearer = info as SignalBearer
  const given = bearer.signal
  if (given) {
    const shadow = operation.signals.of(given)
    bearer.signal = shadow.signal
    if (bearer.getAbortSignal) bearer.getAbortSignal = shadow.getSignal
  } else if (!('signal' in info)) {
    const getGiven = bearer.getAbortSignal
    if (!getGiven) return info
    const value = (): AbortSignal | undefined => {
      const signal = getGiven.call(info)
      return signal && operation.signals.of(signal).signal
    }
    Object.defineProperty(info, 'getAbortSignal', { value, enumerable: true, configurable: true, writable: true })
  }
  return info
}
