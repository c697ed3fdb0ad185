import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createYoga } from 'graphql-yoga'
import { useDurable } from '../plugins/yoga.ts'
import type { Clock } from '../src/core/clock.ts'
import { systemClock } from '../src/core/system-clock.ts'
import { createDurable } from '../src/durable.ts'
import { createRandom } from './random.ts'
import { createTortureSchema } from './schema.ts'
import { openStore } from './stores.ts'
import type { StoreAddress } from './stores.ts'
import { watchedStore } from './watched-store.ts'
import { connectWitness } from './witness-client.ts'

/*
 * One process of the campaign: a server, or a worker, which is the same schema without HTTP. Its orders come as JSON in
 * its only argument; it answers its parent when it is ready, and closes itself on SIGTERM.
 */

export interface ChildOrders {
  readonly life: string
  readonly role: 'server' | 'worker'
  readonly store: StoreAddress
  readonly witness: string
  readonly seed: string
  /** How far its clock is off. */
  readonly skewMs: number
  readonly trouble: number
  readonly leaseMs: number
}

export interface ChildIsReady {
  readonly url: string | null
}

// A campaign that was killed leaves nobody behind.
const orphaned = (): never => process.exit(3)
process.once('disconnect', orphaned)

const orders = JSON.parse(process.argv[2] ?? '') as ChildOrders
const { life, role, skewMs, leaseMs, trouble } = orders
const random = createRandom(`${orders.seed}/${life}`)
const clock: Clock = { ...systemClock, now: () => systemClock.now() + skewMs, random: random.fork('clock').next }
const witness = await connectWitness(orders.witness)
const store = watchedStore(await openStore(orders.store), { life, witness, random: random.fork('store'), trouble })

const durable = createDurable({
  store,
  clock,
  hold: '300ms',
  deferAfter: '1200ms',
  hot: { ttl: '4s' },
  worker: { lease: leaseMs, pollInterval: '250ms', concurrency: 24 },
  context: { capture: () => ({ by: 'a client' }) },
  authorize: () => true,
  onWarning: (message, details) => console.warn(new Date().toISOString(), message, JSON.stringify(details)),
})
const yoga = createYoga({
  schema: createTortureSchema({ life, witness, random: random.fork('schema') }),
  plugins: [useDurable(durable)],
  logging: false,
})

const server = role === 'server' ? createServer(yoga) : null
// Before it says that it is ready: it may be told to close at once.
process.once('SIGTERM', () => void close())
if (server) {
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo // it listens on a port, not on a pipe
    ready(`http://127.0.0.1:${port}${yoga.graphqlEndpoint}`)
  })
} else {
  // The database may be just restarting; a supervisor would start the process again.
  while (
    !(await durable.start().then(
      () => true,
      () => false,
    ))
  ) {
    await sleep(200)
  }
  ready(null)
}

function ready(url: string | null): void {
  process.send?.({ url } satisfies ChildIsReady)
}

async function close(): Promise<void> {
  server?.close()
  await durable.close({ timeout: '3s' })
  server?.closeAllConnections()
  witness.close()
  process.off('disconnect', orphaned)
  process.disconnect()
}
