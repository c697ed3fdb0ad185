import type { Plugin } from 'graphql-yoga'

type ParseHook = NonNullable<Plugin['onRequestParse']>

/** Where an operation of a batch stands in it. Copies that other plugins make of the parameters take it along. */
const POSITION = Symbol('graphql-durable.position')

/** What a request came to is noted before any plugin sees the operations: some replace their parameters. */
export const NOTE_POSITIONS: Exclude<Awaited<ReturnType<ParseHook>>, void> = {
  onRequestParseDone({ requestParserResult }) {
    if (!Array.isArray(requestParserResult)) return
    for (const [position, params] of requestParserResult.entries()) {
      note(params, position)
      // Persisted operations keep this one, and make the rest anew.
      note((params as { extensions?: unknown } | null)?.extensions, position)
    }
  },
}

function note(target: unknown, position: number): void {
  if (typeof target === 'object' && target !== null && Object.isExtensible(target)) {
    Object.assign(target, { [POSITION]: position })
  }
}

/** From 0; 0 where there is no batch. */
export function positionInBatch(context: unknown): number {
  const { params } = context as { params?: { extensions?: unknown } } // Yoga's context is an object
  return positionOf(params) ?? positionOf(params?.extensions) ?? 0
}

function positionOf(target: unknown): number | undefined {
  return typeof target === 'object' && target !== null ? (target as { [POSITION]?: number })[POSITION] : undefined
}
