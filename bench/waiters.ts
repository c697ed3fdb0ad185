/*
 * What clients that wait cost: `node bench/waiters.ts [waiters of one run] [long polls of different runs]`.
 *
 * First, requests of 1,000 aliases of `durableRun(wait:)` for one run that naps for 300 ms: how long after the nap the
 * last of them is answered. Then long polls, each of a run of its own that waits for an event: the processor's time
 * that they take while nothing happens, and while other runs come and go, and how long it takes to answer one of them.
 */
import { createSchema, createYoga } from 'graphql-yoga'
import { useDurable } from '../plugins/yoga.ts'
import { durableTypeDefs } from '../schema/index.ts'
import { createDurable } from '../src/index.ts'
import { sqliteStore } from '../src/sqlite.ts'
import type { DurableContext } from '../src/types.ts'
import { withDatabase } from './shared.ts'

const ALIASES = 1_000
const NAP_MS = 300
const IDLE_MS = 5_000
const OTHERS_A_SECOND = 20

const [waiters = 5_000, polls = 1_500] = process.argv.slice(2).map(Number)

const schema = createSchema<DurableContext>({
  typeDefs: [durableTypeDefs, 'type Query { nap: String waiting(n: Int!): String }'],
  resolvers: {
    Query: {
      nap: async (_root, _args, { step }) => {
        await step.sleep('nap', NAP_MS)
        return 'rested'
      },
      waiting: async (_root, { n }: { n: number }, { step }) => {
        await step.waitForEvent('event', { event: 'told', match: { n } })
        return 'told'
      },
    },
  },
})

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

await withDatabase(async (path) => {
  const durable = createDurable({ store: sqliteStore(path), hold: 0 })
  const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false })
  const send = async (
    query: string,
  ): Promise<{ data: Record<string, { status: string }>; extensions: { runId: string } }> => {
    const response = await yoga.fetch('http://test/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    })
    return (await response.json()) as never // the fields of the query
  }

  const begunAt = performance.now()
  const { extensions } = await send('{ nap }')
  const aliases = Array.from(
    { length: ALIASES },
    (_, n) => `w${n}: durableRun(id: "${extensions.runId}", wait: 60) { status }`,
  )
  const requests = Array.from({ length: Math.ceil(waiters / ALIASES) }, () => send(`{ ${aliases.join(' ')} }`))
  const answers = await Promise.all(requests)
  const lateMs = performance.now() - begunAt - NAP_MS
  if (answers.some(({ data }) => Object.values(data).some(({ status }) => status !== 'COMPLETED')))
    throw new Error('Not every waiter was answered with the end.')

  const runIds: string[] = []
  for (let n = 0; n < polls; n++) runIds.push((await send(`{ waiting(n: ${n}) }`)).extensions.runId)
  const abort = new AbortController()
  const polling = runIds.map((id) =>
    Promise.resolve(yoga.fetch(`http://test/graphql/runs/${id}?wait=60`, { signal: abort.signal })).catch(() => null),
  )
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const before = cpuMs()
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
  const idleMs = cpuMs() - before
  const others = setInterval(() => void send('{ nap }'), 1000 / OTHERS_A_SECOND)
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
  clearInterval(others)
  const busyMs = cpuMs() - before - idleMs
  const sentAt = performance.now()
  await durable.send({ name: 'told', data: { n: polls - 1 } })
  const status = (await polling.at(-1))?.status
  const answeredMs = performance.now() - sentAt
  console.table({
    [`${waiters} waiters of one run`]: { 'answered after its end, ms': Math.round(lateMs) },
    [`${polls} long polls`]: {
      'of a core while idle': `${((idleMs / IDLE_MS) * 100).toFixed(1)} %`,
      [`with ${OTHERS_A_SECOND} other runs a second`]: `${((busyMs / IDLE_MS) * 100).toFixed(1)} %`,
      'an end answered in ms': `${answeredMs.toFixed(1)} (${status})`,
    },
  })
  abort.abort()
  await durable.close()
  await Promise.all(polling)
})
