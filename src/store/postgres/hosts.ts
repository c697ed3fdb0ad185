import { Socket } from 'node:net'
import type { PoolConfig } from 'pg'
import { makeClient, quit } from './driver.ts'
import { READ_ROLE, type Role } from './sql/schema.ts'
import type { Place } from './sql/timeline.ts'
import { Timelines } from './timelines.ts'

/** An answer from one host. */
const ASK_TIMEOUT_MS = 1_500
/** Once one has said that it takes writes, the others may still say that it is the old primary. */
const GRACE_MS = 250
/**
 * Where none takes writes, what they have said counts for so long, and twice as long each time: a standby that is about
 * to be promoted has other things to do than to answer every connection that anybody would like to have.
 */
const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 500

/** Where connections go, and what is known about who takes writes there. */
export interface Destination {
  readonly config: PoolConfig
  readonly timelines: Timelines
  /** Whatever was known of it may be over: the next connection asks all hosts at once. */
  doubt(): void
  /** Asks all hosts at once, now. What it learns is in `timelines`. */
  look(): Promise<void>
}

interface Address {
  readonly host: string
  readonly port: number
}

/**
 * The destination that a connection string names. One with several hosts, as libpq has them
 * (`postgres://user@a:5432,b:5432/db`), names a primary and its standbys: every new connection goes to the host that
 * takes writes, whichever that is by then. The driver itself knows one host only.
 */
export function destinationOf({ connectionString = '', ...options }: PoolConfig): Destination {
  const [, head, hosts = '', rest] = /^(\w+:\/\/(?:[^@/?#]*@)?)([^/?#]*)(.*)$/s.exec(connectionString) ?? []
  const addresses = hosts.split(',')
  const first = addresses[0]
  if (first === undefined || addresses.length === 1) return singleDestination({ ...options, connectionString })
  const config = { ...options, connectionString: `${head}${first}${rest}` }
  const timelines = new Timelines()
  const primary = new Primary(config, addresses.map(parseAddress), timelines)
  return {
    config: { ...config, stream: () => primary.socket() },
    timelines,
    doubt: () => primary.doubt(),
    look: () => primary.look(),
  }
}

/** One address: what it leads to is somebody else's business (a proxy, a virtual address, a name that follows the primary). */
export function singleDestination(config: PoolConfig): Destination {
  return { config, timelines: new Timelines(), doubt: () => {}, look: () => Promise.resolve() }
}

/** `host`, `host:port`, `[::1]:port` */
function parseAddress(address: string): Address {
  const [, host = '', port = '5432'] = /^(.*?)(?::(\d+))?$/.exec(address) ?? []
  return { host: decodeURIComponent(host.replace(/^\[(.*)\]$/, '$1')), port: Number(port) }
}

/** What a host says of itself. */
type Answer =
  | { readonly address: Address; readonly takesWrites: true; readonly place: Place | null }
  | { readonly address: Address; readonly takesWrites: false; readonly reason: string }

/**
 * Looks for the host that takes writes. The one that did the last time is asked first, and alone; where nothing is known,
 * or it is in doubt, all are asked at once. Two may say yes: an old primary that was not shut down, and the standby that
 * was promoted in its place. The later timeline is right.
 */
class Primary {
  readonly #config: PoolConfig
  readonly #addresses: readonly Address[]
  readonly #timelines: Timelines
  #known: Address | null = null
  #asking: Promise<readonly Answer[]> | null = null
  #pauseMs = FIRST_PAUSE_MS

  constructor(config: PoolConfig, addresses: readonly Address[], timelines: Timelines) {
    this.#config = config
    this.#addresses = addresses
    this.#timelines = timelines
  }

  doubt(): void {
    this.#known = null
  }

  async look(): Promise<void> {
    this.doubt()
    await this.#find()
  }

  /** A socket that connects there, wherever the driver tells it to connect. */
  socket(): Socket {
    const socket = new Socket()
    const connect = socket.connect.bind(socket) as (...where: [number, string] | [string]) => Socket
    const connectToPrimary = (): Socket => {
      this.#find().then(
        ({ host, port }) => {
          if (socket.destroyed) return
          // A directory, as libpq has it, of a socket on this machine.
          if (host.startsWith('/')) connect(`${host}/.s.PGSQL.${port}`)
          else connect(port, host)
        },
        (error: Error) => socket.destroy(error),
      )
      return socket
    }
    return Object.assign(socket, { connect: connectToPrimary })
  }

  async #find(): Promise<Address> {
    const known = this.#known
    if (known !== null) {
      const answer = await this.#ask(known)
      if (answer.takesWrites && !this.#timelines.isStale(answer.place)) return known
      this.#known = null
    }
    const answers = await (this.#asking ??= this.#askAllOnce())
    const found = answers.filter((answer) => answer.takesWrites).toSorted(byTimeline)[0]
    if (found === undefined) throw new Error(`no host takes writes (${answers.map(refusalOf).join('; ')})`)
    this.#timelines.admit(found.place)
    return (this.#known = found.address)
  }

  /** Whoever asks while they are being asked shares their answers. */
  async #askAllOnce(): Promise<readonly Answer[]> {
    const answers = await this.#askAll()
    if (answers.some((answer) => answer.takesWrites && !this.#timelines.isStale(answer.place))) {
      this.#asking = null
      this.#pauseMs = FIRST_PAUSE_MS
    } else {
      setTimeout(() => (this.#asking = null), this.#pauseMs).unref()
      this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2)
    }
    return answers
  }

  /** Those that answered, or failed to in time. One that takes writes waits for the others a little while only. */
  async #askAll(): Promise<readonly Answer[]> {
    const { promise: enough, resolve } = Promise.withResolvers<void>()
    let grace: ReturnType<typeof setTimeout> | undefined
    const answers: Answer[] = []
    const all = this.#addresses.map(async (address) => {
      const answer = await this.#ask(address)
      answers.push(answer)
      if (answer.takesWrites) grace ??= setTimeout(resolve, GRACE_MS)
    })
    await Promise.race([Promise.all(all), enough])
    clearTimeout(grace)
    return answers
  }

  async #ask(address: Address): Promise<Answer> {
    const { host, port } = address
    const client = makeClient({
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
      if (rows[0]?.readOnly !== false) return { address, takesWrites: false, reason: 'read-only' }
      return { address, takesWrites: true, place: await this.#timelines.read(client) }
    } catch (error) {
      const reason = error instanceof Error ? error.message || error.name : String(error)
      return { address, takesWrites: false, reason }
    } finally {
      void quit(client)
    }
  }
}

function byTimeline(a: Answer, b: Answer): number {
  return timelineOf(b) - timelineOf(a)
}

function timelineOf(answer: Answer): number {
  return answer.takesWrites ? (answer.place?.timeline ?? 0) : 0
}

function refusalOf(answer: Answer): string {
  const { host, port } = answer.address
  return `${host}:${port}: ${answer.takesWrites ? 'takes writes' : answer.reason}`
}

function withHost(connectionString: string, host: string, port: number): string {
  const address = host.includes(':') ? `[${host}]` : encodeURIComponent(host)
  return connectionString.replace(/^(\w+:\/\/(?:[^@/?#]*@)?)[^/?#]*/, (_, head: string) => `${head}${address}:${port}`)
}
