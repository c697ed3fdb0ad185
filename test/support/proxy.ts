import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface Proxy {
  readonly port: number
  /** How long what the client sends is on its way. */
  delayMs: number
  /** Cuts every connection and lets none in, until it is set back. */
  setDown(down: boolean): void
  /** Lets nothing through and refuses nothing, as a network that is parted, until it is set back. */
  setSilent(silent: boolean): void
  close(): Promise<void>
}

export interface ProxyOptions {
  /** As a pooler in transaction mode does. */
  readonly swallowsNotifications?: boolean
}

/** Something that stands between a client and a PostgreSQL server. */
export async function startProxy(
  serverUrl: string,
  { swallowsNotifications = false }: ProxyOptions = {},
): Promise<Proxy> {
  const { hostname, port } = new URL(serverUrl)
  const sockets = new Set<Socket>()
  let isDown = false
  let isSilent = false
  const server = createServer((client) => {
    if (isDown) {
      client.destroy()
      return
    }
    const upstream = connect(Number(port), hostname)
    if (isSilent) for (const socket of [client, upstream]) socket.pause()
    const filter = swallowsNotifications ? notificationFilter() : (data: Buffer) => data
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', (data) => {
      if (proxy.delayMs === 0) upstream.write(data)
      else setTimeout(() => upstream.write(data), proxy.delayMs)
    })
    upstream.on('data', (data) => client.write(filter(data)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('Expected a TCP address.')
  const proxy: Proxy = {
    port: address.port,
    delayMs: 0,
    setDown(down) {
      isDown = down
      if (down) for (const socket of sockets) socket.destroy()
    },
    setSilent(silent) {
      isSilent = silent
      for (const socket of sockets) socket[silent ? 'pause' : 'resume']()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return proxy
}

const NOTIFICATION = 'A'.charCodeAt(0)
const HEADER = 5

/** Messages are a letter, a length that counts itself, and so many bytes. */
function notificationFilter(): (data: Buffer) => Buffer {
  let rest = Buffer.alloc(0)
  return (data) => {
    rest = Buffer.concat([rest, data])
    const kept: Buffer[] = []
    while (rest.length >= HEADER) {
      const end = 1 + rest.readInt32BE(1)
      if (rest.length < end) break
      if (rest[0] !== NOTIFICATION) kept.push(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
    return Buffer.concat(kept)
  }
}
