import { DurableError, messageOf } from '../src/core/errors.ts'
import { show } from '../src/core/refusals.ts'
import { isRunId } from '../src/core/run-id.ts'
import { aBoolean, asked, askedAsync, aText, createWarn } from '../src/engine/user-functions.ts'
import type { DurableAction, DurableOptions, ListFilter, RunSnapshot, Runs } from '../src/types.ts'

export { isRunId }

export type AccessOptions<Context> = Pick<DurableOptions<Context>, 'owner' | 'authorize' | 'onWarning'>

/**
 * Who may see and do what. What a caller may not see looks exactly like what does not exist (I9): the same answer,
 * after the same work.
 *
 * |           | neither option      | `owner`                       | `authorize`           |
 * |-----------|---------------------|-------------------------------|-----------------------|
 * | read      | whoever has the id  | its owner; anybody, if none   | as it decides         |
 * | list      | refused             | the caller's own              | as it decides, then read, run by run |
 * | cancel    | refused             | the caller's own              | if read, as it decides |
 * | send      | refused             | refused                       | as it decides         |
 *
 * With both, both must agree; only sending is for `authorize` alone, since an event has no owner.
 */
export interface Access<Context> {
  canRead(run: RunSnapshot, context: Context): Promise<boolean>
  /** The run of that id if the caller may see it. Costs one read and one decision, also where there is none. */
  findRun(runs: Pick<Runs, 'get'>, id: string, context: Context): Promise<RunSnapshot | null>
  /**
   * The run of that id if the caller may cancel it.
   *
   * @throws DurableError DURABLE_FORBIDDEN, the same whether the run is not there, not visible or not theirs.
   */
  findRunToCancel(runs: Pick<Runs, 'get'>, id: string, context: Context): Promise<RunSnapshot>
  /**
   * What a list has to be filtered by. Each of its runs is still subject to `canRead`.
   *
   * @throws DurableError DURABLE_FORBIDDEN
   */
  listScope(context: Context): Promise<Pick<ListFilter, 'owner'>>
  /** @throws DurableError DURABLE_FORBIDDEN */
  assertMaySend(context: Context): Promise<void>
}

export function createAccess<Context>(options: AccessOptions<Context>): Access<Context> {
  const { owner, authorize } = options
  const warn = createWarn(options.onWarning)

  /** Undefined where it cannot be told who that is, which is a refusal of whatever was asked. */
  function callerOf(context: Context): string | null | undefined {
    if (!owner) return null
    try {
      return asked('owner', () => owner(context), aText) ?? null
    } catch (error) {
      warn('It could not be told who asks for a run, which counts as a refusal.', { reason: messageOf(error) })
      return undefined
    }
  }

  /** One that throws, or says neither yes nor no, refuses: passed on, its error would tell that there is such a run. */
  async function allows(action: DurableAction, run: RunSnapshot | null, context: Context): Promise<boolean> {
    if (!authorize) return true
    try {
      return await askedAsync('authorize', () => authorize({ action, run, context }), aBoolean)
    } catch (error) {
      warn(`${messageOf(error)} (which counts as a refusal)`, { action, runId: run?.id ?? null, cause: causeOf(error) })
      return false
    }
  }

  async function canRead(run: RunSnapshot, context: Context): Promise<boolean> {
    // Both are asked, whatever the run and whatever the other says, or an error or the time would tell.
    const caller = callerOf(context)
    const isAuthorized = await allows('read', run, context)
    return isAuthorized && caller !== undefined && (owner === undefined || run.owner === null || run.owner === caller)
  }

  async function findRun(runs: Pick<Runs, 'get'>, id: string, context: Context): Promise<RunSnapshot | null> {
    if (!isRunId(id)) return null
    // A summary: reading what a run has done would take as long as there is of it, and tell that it is there.
    const run = await runs.get(id, { summary: true })
    const isVisible = await canRead(run ?? absentRun(id), context)
    return isVisible ? run : null
  }

  return {
    canRead,
    findRun,

    async findRunToCancel(runs, id, context) {
      if (owner === undefined && authorize === undefined) throw unconfigured('cancelling runs', 'owner or authorize')
      const run = await findRun(runs, id, context)
      const mayCancel =
        run !== null && (owner === undefined || isOwn(run, callerOf(context))) && (await allows('cancel', run, context))
      if (mayCancel) return run
      throw new DurableError('DURABLE_FORBIDDEN', `There is no run ${show(id)} that you may cancel.`)
    },

    async listScope(context) {
      if (owner === undefined && authorize === undefined) throw unconfigured('listing runs', 'owner or authorize')
      if (!(await allows('list', null, context))) {
        throw new DurableError('DURABLE_FORBIDDEN', 'You may not list runs: authorize refused it.')
      }
      if (owner === undefined) return {}
      const caller = callerOf(context)
      if (caller !== null && caller !== undefined) return { owner: caller }
      throw new DurableError(
        'DURABLE_FORBIDDEN',
        'Runs are listed for their owner, and this request has none. Sign in.',
      )
    },

    async assertMaySend(context) {
      if (authorize === undefined) throw unconfigured('sending events', 'authorize')
      if (await allows('send', null, context)) return
      throw new DurableError('DURABLE_FORBIDDEN', 'You may not send events: authorize refused it.')
    },
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined
}

function isOwn(run: RunSnapshot, caller: string | null | undefined): boolean {
  return run.owner !== null && run.owner === caller
}

function unconfigured(what: string, options: string): DurableError {
  return new DurableError(
    'DURABLE_FORBIDDEN',
    `Clients may not do this: ${what} needs ${options} in the options of createDurable.`,
  )
}

const EPOCH = new Date(0)

/**
 * What is decided upon where there is no run, so that a slow `authorize` takes its time in that case too. The decision
 * is thrown away.
 */
function absentRun(id: string): RunSnapshot {
  return {
    id,
    status: 'SUSPENDED',
    operationName: null,
    owner: null,
    version: null,
    result: null,
    waitingOn: [],
    steps: [],
    retryAfterMs: null,
    createdAt: EPOCH,
    updatedAt: EPOCH,
    endedAt: null,
    note: null,
  }
}
