import { graphql } from 'graphql'
import type { ExecutionResult, GraphQLSchema } from 'graphql'
import { extendSchema } from '../../schema/extend.ts'
import { createCursorSeal } from '../../src/engine/cursor-seal.ts'
import { createResolvers } from '../../schema/resolvers.ts'
import type { ResolversConfig } from '../../schema/resolvers.ts'
import type { Durable, EventInput, ListFilter, RunPage, RunSnapshot } from '../../src/types.ts'

export const START = new Date('2026-01-01T00:00:00.000Z')

export function runId(digit: string): string {
  return `run_${digit.repeat(32)}`
}

export function aRun(digit: string, overrides: Partial<RunSnapshot> = {}): RunSnapshot {
  return {
    id: runId(digit),
    status: 'SUSPENDED',
    operationName: 'Checkout',
    owner: null,
    version: null,
    result: null,
    waitingOn: [],
    steps: [],
    retryAfterMs: 1000,
    createdAt: START,
    updatedAt: START,
    endedAt: null,
    note: 'for operators only',
    ...overrides,
  }
}

export interface StubDurable extends Pick<Durable, 'runs' | 'send'> {
  /** What was asked of it, in order. */
  readonly calls: (readonly [method: string, ...args: unknown[]])[]
  readonly stored: RunSnapshot[]
}

/** Answers from an array of runs, newest first. */
export function stubDurable(stored: RunSnapshot[]): StubDurable {
  const calls: StubDurable['calls'] = []
  const find = (id: string): RunSnapshot | null => stored.find((run) => run.id === id) ?? null
  return {
    calls,
    stored,
    send: async (event) => {
      calls.push(['send', event])
      return { ids: [event].flat().map((one: EventInput) => one.id ?? 'evt_1') }
    },
    runs: {
      get: async (id) => {
        calls.push(['get', id])
        return find(id)
      },
      wait: async (id, options) => {
        calls.push(['wait', id, options])
        return find(id)
      },
      list: async (filter = {}) => {
        calls.push(['list', filter])
        return page(stored, filter)
      },
      cancel: async (id, reason) => {
        calls.push(['cancel', id, reason])
        return { ...find(id)!, status: 'CANCELLED' }
      },
      delete: async () => false,
    },
  }
}

function page(
  stored: readonly RunSnapshot[],
  { owner, status, operationName, first = 20, after }: ListFilter,
): RunPage {
  const fitting = stored.filter(
    (run) =>
      (owner === undefined || run.owner === owner) &&
      (status === undefined || run.status === status) &&
      (operationName === undefined || run.operationName === operationName),
  )
  const start = after === undefined ? 0 : fitting.findIndex((run) => cursorOf(run) === after) + 1
  const runs = fitting.slice(start, start + first)
  return { runs, endCursor: start + first < fitting.length ? cursorOf(runs.at(-1)!) : null }
}

export function cursorOf(run: RunSnapshot): string {
  return `after ${run.id}`
}

export const SEAL = createCursorSeal('secret')

export function stubResolvers(durable: StubDurable = stubDurable([]), options: ResolversConfig['options'] = {}) {
  return createResolvers({ durable, options, cursorOf, cursorSeal: async () => SEAL })
}

/** Runs one operation over a schema extended for the stub. */
export async function ask(
  schema: GraphQLSchema,
  durable: StubDurable,
  options: ResolversConfig['options'],
  source: string,
  { context = {}, variables = {} }: { context?: object; variables?: Record<string, unknown> } = {},
): Promise<ExecutionResult> {
  const extended = extendSchema(schema, { instance: 'one', resolvers: stubResolvers(durable, options) })
  const result = await graphql({ schema: extended, source, contextValue: context, variableValues: variables })
  return JSON.parse(JSON.stringify(result)) as ExecutionResult // as a client sees it
}
