import { Socket } from 'node:net'
import { Client, type PoolConfig } from 'pg'
import { READ_ROLE, type Role } from './sql/schema.ts'

/** An answer from one host; with several, a connection may take as many times as long. */
const ASK_TIMEOUT_MS = 1_500

interface Address {
  readonly host: string
  readonly port: number
}

/**
 * The driver's configuration for a connection string. One with several hosts, as libpq has them
 * (`postgres://user@a:5432,b:5432/db`), names a primary and its standbys: every new connection goes to the host that
 * takes writes, whichever that is by then. The driver itself knows one host only.
 */
export function configOf(connectionString: string): PoolConfig {
  const [, head, hosts = '', rest] = /^(\w+:\/\/(?:[^@/?#]*@)?)([^/?#]*)(.*)$/s.exec(connectionString) ?? []
  const addresses = hosts.split(',')
  const first = addresses[0]
  if (first === undefined || addresses.length === 1) return { connectionString }
  const config = { connectionString: `${head}${first}${rest}` }
  const primary = new Primary(config, addresses.map(parseAddress))
  return { ...config, stream: () => primary.socket() }
}

/** `host`, `host:port`, `[::1]:port` */
function parseAddress(address: string): Address {
  const [, host = '', port = '5432'] = /^(.*?)(?::(\d+))?$/.exec(address) ?? []
  return { host: decodeURIComponent(host.replace(/^\[(.*)\]$/, '$1')), port: Number(port) }
}

/** Looks for the host that takes writes. The one that did the last time is asked first. */
class Primary {
  readonly #config: PoolConfig
  #addresses: readonly Address[]

  constructor(config: PoolConfig, addresses: readonly Address[]) {
    this.#config = config
    this.#addresses = addresses
  }

  /** A socket that connects there, wherever the driver tells it to connect. */
  socket(): Socket {
    const socket = new Socket()
    const connect = socket.connect.bind(socket) as (port: number, host: string) => Socket
    const connectToPrimary = (): Socket => {
      this.#find().then(
        ({ host, port }) => {
          if (!socket.destroyed) connect(port, host)
        },
        (error: Error) => socket.destroy(error),
      )
      return socket
    }
    return Object.assign(socket, { connect: connectToPrimary })
  }

  async #find(): Promise<Address> {
    const refusals: string[] = []
    for (const address of this.#addresses) {
      const refusal = await this.#ask(address)
      if (refusal === null) {
        this.#addresses = [address, ...this.#addresses.filter((other) => other !== address)]
        return address
      }
      refusals.push(`${address.host}:${address.port}: ${refusal}`)
    }
    throw new Error(`no host takes writes (${refusals.join('; ')})`)
  }

  /** Why it is not this one; null: it is. */
  async #ask({ host, port }: Address): Promise<string | null> {
    const client = new Client({
      ...this.#config,
      // What the connection string says of the host would count.
      connectionString: withHost(this.#config.connectionString ?? '', host, port),
      application_name: 'graphql-durable probe',
      connectionTimeoutMillis: ASK_TIMEOUT_MS,
      query_timeout: ASK_TIMEOUT_MS,
    })
    client.on('error', () => {}) // what is under way rejects as well
    try {
      await client.connect()
      const { rows } = await client.query<Role>(READ_ROLE)
      return rows[0]?.readOnly === false ? null : 'read-only'
    } catch (error) {
      return error instanceof Error ? error.message || error.name : String(error)
    } finally {
      await client.end().catch(() => {}) // it never connected
    }
  }
}

function withHost(connectionString: string, host: string, port: number): string {
  const address = host.includes(':') ? `[${host}]` : encodeURIComponent(host)
  return connectionString.replace(/^(\w+:\/\/(?:[^@/?#]*@)?)[^/?#]*/, (_, head: string) => `${head}${address}:${port}`)
}
