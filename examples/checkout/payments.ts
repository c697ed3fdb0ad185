import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/*
 * A payment service as there are many: somebody else's, slow now and then, down now and then. It is a real HTTP server
 * with a log of its own that nobody but it writes to, so the log is a witness of what the shop asked for, and how often.
 *
 * It honours Idempotency-Key: the first request of a key does the work, any other of that key gets the first one's
 * answer. Everything it knows is in the log, and so it may be killed like everybody else.
 */

const WORK = ['authorizations', 'screenings', 'captures', 'voids'] as const
export type Work = (typeof WORK)[number]

/** `received`: a request came. `refused`: it was answered with 503. `done`: the work, which happens once for a key. */
export interface LogEntry {
  readonly at: string
  readonly what: 'received' | 'refused' | 'done'
  readonly work: Work
  readonly key: string
  readonly body: Readonly<Record<string, unknown>>
}

export interface PaymentServiceOptions {
  /** The append-only log. What is in there already is known. */
  readonly logFile: string
  /** 3: the 1st, 4th, 7th … request is refused with 503. 0: none is. Default 3. */
  readonly refuseEvery?: number
  /** How long a screening takes. Default 3000. */
  readonly screeningMs?: number
  /** Default 0: any free port. */
  readonly port?: number
  /** Called with each entry once it is in the log. */
  readonly onEntry?: (entry: LogEntry) => void
}

export interface PaymentService {
  readonly url: string
  entries(): LogEntry[]
  close(): Promise<void>
}

export async function startPaymentService(options: PaymentServiceOptions): Promise<PaymentService> {
  const { logFile, refuseEvery = 3, screeningMs = 3000, port = 0, onEntry } = options
  const entries = (): LogEntry[] =>
    existsSync(logFile)
      ? readFileSync(logFile, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as LogEntry)
      : []
  const append = (entry: Omit<LogEntry, 'at'>): void => {
    const dated = { at: new Date().toISOString(), ...entry }
    appendFileSync(logFile, `${JSON.stringify(dated)}\n`)
    onEntry?.(dated)
  }

  /** By key: under way, or done. */
  const works = new Map<string, Promise<unknown>>()
  for (const { what, key, body } of entries()) if (what === 'done') works.set(key, Promise.resolve(body))
  let done = works.size

  const doWork = async (work: Work, key: string, body: LogEntry['body']): Promise<unknown> => {
    if (work === 'screenings') await sleep(screeningMs)
    done += 1
    const result = { ...body, id: `${work.slice(0, -1)}-${done}` }
    append({ what: 'done', work, key, body: result })
    return result
  }

  let requests = 0
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    const handle = async (): Promise<void> => {
      if (request.url === '/log') return answer(200, entries())
      const work = WORK.find((name) => request.url === `/${name}`)
      if (request.method !== 'POST' || !work) return answer(404, { message: 'There is nothing here.' })
      const key = request.headers['idempotency-key']
      if (typeof key !== 'string') return answer(400, { message: 'Expected an Idempotency-Key.' })
      const body = await readJson(request)
      append({ what: 'received', work, key, body })
      if (refuseEvery > 0 && requests++ % refuseEvery === 0) {
        append({ what: 'refused', work, key, body })
        return answer(503, { message: 'Too busy. Try again.' })
      }
      if (Number(body['amount'] ?? 0) > LIMIT) return answer(402, { message: 'The card was declined.' })
      const known = works.get(key)
      const working = known ?? doWork(work, key, body)
      works.set(key, working)
      answer(known ? 200 : 201, await working)
    }
    handle().catch((error: unknown) => answer(500, { message: String(error) }))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens on a port, not on a pipe
    entries,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Cards are good for that much. */
const LIMIT = 1000

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer) // no encoding is set
  return JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>
}
