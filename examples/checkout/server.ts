import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDurable } from 'graphql-durable'
import { sqliteStore } from 'graphql-durable/sqlite'
import { useDurable } from 'graphql-durable/yoga'
import { createYoga } from 'graphql-yoga'
import { createPaymentClient } from './payment-client.ts'
import { startPaymentService } from './payments.ts'
import type { PaymentService } from './payments.ts'
import { createShopSchema } from './schema.ts'
import type { ShopContext } from './schema.ts'
import { linesToTry } from './try-it.ts'

/*
 * The shop's server. Environment: PORT (4000), DURABLE_DB (checkout.db), COOLING_OFF (5s), and PAYMENTS_URL, without
 * which it starts a payment service of its own, with its log at PAYMENTS_LOG (payments.log).
 */

const { PORT = '4000', DURABLE_DB = 'checkout.db', COOLING_OFF = '5s', PAYMENTS_URL } = process.env
const { PAYMENTS_LOG = 'payments.log' } = process.env

const ownPayments = PAYMENTS_URL === undefined ? await startOwnPayments() : null
const paymentsUrl = ownPayments?.url ?? PAYMENTS_URL ?? ''

const durable = createDurable<ShopContext, { user: string | null }>({
  store: sqliteStore(DURABLE_DB),
  // An answer within a second and a half, complete or not.
  deferAfter: '1.5s',
  // Whom a run belongs to: nobody else sees it. Events are sent by Grace alone.
  owner: ({ user }) => user,
  authorize: ({ action, context }) => action !== 'send' || context.user === 'grace',
  // The request is gone when a run goes on after a crash: this is what remains of it.
  context: { capture: ({ user }) => ({ user }), restore: ({ user }) => ({ user }) },
})

const yoga = createYoga({
  schema: createShopSchema({ payments: createPaymentClient(paymentsUrl), coolingOff: COOLING_OFF }),
  plugins: [useDurable(durable)],
  // In your application: whoever the session or the token says.
  context: ({ request }) => ({ user: request.headers.get('x-user') }),
  graphiql: {
    title: 'Checkout',
    headers: '{ "x-user": "ada" }',
    defaultQuery: '{ shop { name } report { title revenue } }',
  },
})

const server = createServer(yoga)
server.listen(Number(PORT))
try {
  await once(server, 'listening')
  const origin = `http://localhost:${(server.address() as AddressInfo).port}` // it listens on a port, not on a pipe
  const url = `${origin}${yoga.graphqlEndpoint}`
  console.log(`The shop is open: ${url} has GraphiQL. Runs are in ${DURABLE_DB}. Paste these into another terminal:\n`)
  console.log(linesToTry({ url, runs: `${url}/runs`, payments: paymentsUrl }))
} catch (error) {
  console.error('The shop cannot open. Is another server running on its port? PORT takes another one.', error)
  process.exitCode = 1
  await close()
}

/** Next to the shop's port if that is free, so that it is the same after a restart. */
function startOwnPayments(): Promise<PaymentService> {
  const options = { logFile: PAYMENTS_LOG }
  if (PORT === '0') return startPaymentService(options)
  return startPaymentService({ ...options, port: Number(PORT) + 1 }).catch(() => startPaymentService(options))
}

async function close(): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve))
  // Requests that wait are answered, steps that run may end, and the leases are given back.
  await durable.close()
  await Promise.race([closed, sleep(500, null, { ref: false })])
  server.closeAllConnections()
  await ownPayments?.close()
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void close())
