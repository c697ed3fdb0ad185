import { createSchema, createYoga } from 'graphql-yoga'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, DurableContext } from '../../src/index.ts'
import { postgresStore } from '../../src/postgres.ts'

export interface Answer {
  readonly data?: { readonly order?: string | null; readonly durableRun?: { readonly status: string } | null } | null
  readonly errors?: readonly { readonly extensions?: { readonly code?: string } }[]
  readonly extensions?: { readonly runId?: string }
}

export interface Response {
  readonly status: number
  readonly body: Answer
}

/** A server that takes orders, each in three steps and under an idempotency key of its own. */
export interface OrderServer {
  readonly durable: Durable
  order(n: number): Promise<Response>
  /** What a client that polls is told of a run. */
  follow(runId: string): Promise<Response>
}

const STEPS = ['reserve', 'charge', 'ship'] as const

export function serve(
  connectionString: string,
  work: (call: string) => Promise<void>,
  onReleased: (call: string) => void = () => {},
): OrderServer {
  const durable = createDurable({
    store: postgresStore({ connectionString }),
    deferAfter: '1s',
    worker: { pollInterval: '200ms', lease: '5s' },
    onWarning: () => {},
  })
  const schema = createSchema<DurableContext>({
    typeDefs: [durableTypeDefs, 'type Query { ok: Boolean } type Mutation { order(n: Int!): String }'],
    resolvers: {
      Mutation: {
        order: async (_root, { n }: { n: number }, { step }) => {
          for (const name of STEPS) {
            await step.run(name, () => work(`${n} ${name}`))
            onReleased(`${n} ${name}`)
          }
          return `order ${n}`
        },
      },
    },
  })
  const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false })

  async function ask(request: object, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const response = await yoga.fetch('http://localhost/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(request),
    })
    return { status: response.status, body: (await response.json()) as Answer }
  }

  return {
    durable,
    order: (n) =>
      ask(
        { query: 'mutation Order($n: Int!) { order(n: $n) }', variables: { n } },
        { 'idempotency-key': `order-${n}` },
      ),
    follow: (runId) =>
      ask({ query: 'query Follow($id: ID!) { durableRun(id: $id) { status } }', variables: { id: runId } }),
  }
}
