import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createApp } from './app.ts'

/*
 * A server: takes requests, and leaves what waits to the workers. Environment: PORT (any free one), and those of app.ts.
 */

const { durable, yoga } = createApp(false)
const server = createServer(yoga)
server.listen(Number(process.env['PORT'] ?? 0))
await once(server, 'listening')
const { port } = server.address() as AddressInfo // it listens on a port, not on a pipe
console.log(`server ${process.pid}: http://localhost:${port}${yoga.graphqlEndpoint}`)

// A rolling deploy: no new requests, steps that run may end, leases go back at once.
function close(): void {
  server.close()
  void durable.close({ timeout: '10s' }).then(() => server.closeAllConnections())
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, close)
