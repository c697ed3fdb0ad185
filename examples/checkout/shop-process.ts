import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface ShopProcessOptions {
  /** Where the shop keeps its runs. */
  readonly directory: string
  readonly paymentsUrl: string
  readonly coolingOff: string
  /** What the shop says, apart from its greeting. */
  readonly onLine: (line: string) => void
}

export interface Answer {
  readonly data?: Readonly<Record<string, unknown>> | null
  readonly errors?: readonly unknown[]
  readonly extensions?: Readonly<Record<string, unknown>>
}

/** The shop's server, as a process that can be killed. */
export interface Shop {
  post(
    user: string,
    query: string,
    variables?: Readonly<Record<string, unknown>>,
  ): Promise<{ readonly status: number; readonly body: Answer }>
  /** With SIGKILL: nothing of it gets to say goodbye. Does nothing where it has exited. */
  kill(): Promise<void>
  /** With SIGTERM. Answers the exit code. */
  close(): Promise<number | null>
}

export async function startShop({ directory, paymentsUrl, coolingOff, onLine }: ShopProcessOptions): Promise<Shop> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'server.ts')], {
    env: {
      ...process.env,
      PORT: '0',
      DURABLE_DB: join(directory, 'checkout.db'),
      PAYMENTS_URL: paymentsUrl,
      COOLING_OFF: coolingOff,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const address = /^The shop is open: (\S+)/.exec(line)?.[1]
      if (address) resolve(address)
      if (line.startsWith('shop: ')) onLine(line)
    })
    void exited.then(([code]) => reject(new Error(`The shop did not open: its process ended with ${String(code)}.`)))
  })

  const stop = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal)
      await exited
    }
    return child.exitCode
  }
  return {
    async post(user, query, variables = {}) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-user': user },
        body: JSON.stringify({ query, variables }),
        signal: AbortSignal.timeout(15_000),
      })
      return { status: response.status, body: (await response.json()) as Answer }
    },
    kill: async () => void (await stop('SIGKILL')),
    close: () => stop('SIGTERM'),
  }
}
