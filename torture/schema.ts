import { setTimeout as sleep } from 'node:timers/promises'
import { GraphQLError } from 'graphql'
import type { GraphQLSchema } from 'graphql'
import { createSchema } from 'graphql-yoga'
import { durableTypeDefs } from '../schema/index.ts'
import type { DurableContext, Step, StepAttempt } from '../src/index.ts'
import { amountOf, collectCount, deadlineMs, itemsOf, valueOf } from './operations.ts'
import type { Random } from './random.ts'
import type { WitnessClient } from './witness-client.ts'

export interface SchemaOptions {
  readonly life: string
  readonly witness: WitnessClient
  /** How long things take: that may differ from attempt to attempt. What they give may not. */
  readonly random: Random
}

const typeDefs = /* GraphQL */ `
  type Query {
    report(n: String!): Report @durable
  }
  type Mutation {
    order(n: String!): [String!] @durable
    approve(n: String!): String
    race(n: String!): String
    deadline(n: String!): String
    collect(n: String!): [Int!]
    relay(n: String!): String
    hear(n: String!): String
    note(n: String!, part: Int!): String @durable
    nap(n: String!): String @durable
    failing(n: String!): String
  }
  type Report {
    title: String!
    rows: [Row!]
  }
  type Row {
    id: ID!
    label: String
  }
`

type Named = { readonly n: string }
const QUICK = { initial: '20ms', max: '200ms' } as const

/** The operations of the campaign, with every tool there is. Each step's function tells the witness before and after. */
export function createTortureSchema({ life, witness, random }: SchemaOptions): GraphQLSchema {
  const takeTime = (): Promise<void> => sleep(random.chance(0.1) ? random.between(300, 1_000) : random.between(0, 40))

  /** A step's function: takes its time, gives its value. The first `failures` attempts fail. */
  function effect(n: string, name: string, failures = 0): (attempt: StepAttempt) => Promise<string> {
    return async ({ runId, attempt, idempotencyKey }) => {
      const effectOf = { life, runId, step: name, idempotencyKey, attempt, calledAt: Date.now() }
      await witness.tell({ kind: 'begin', ...effectOf })
      await takeTime()
      if (attempt <= failures) throw new Error(`Attempt ${attempt} of ${name} was to fail.`)
      await witness.tell({ kind: 'end', ...effectOf })
      return valueOf(n, name)
    }
  }

  /** The first attempt takes too long. */
  function tooSlowOnce(n: string, name: string): (attempt: StepAttempt) => Promise<string> {
    const act = effect(n, name)
    return async (attempt) => {
      if (attempt.attempt > 1) return act(attempt)
      const { runId, idempotencyKey, signal } = attempt
      await witness.tell({ kind: 'begin', life, runId, step: name, idempotencyKey, attempt: 1, calledAt: Date.now() })
      return sleep(60_000, '', { signal })
    }
  }

  async function order(n: string, step: Step): Promise<string[]> {
    const reserved = await Promise.all(
      itemsOf(n).map((item) => step.run(`reserve ${item}`, effect(n, `reserve ${item}`))),
    )
    await step.sleep('pause', amountOf(n, 'pause', 0, 900))
    const charged = await step.run('charge', effect(n, 'charge', 2), { retries: 10, backoff: QUICK })
    const screened = await step.run('screen', tooSlowOnce(n, 'screen'), { timeout: '1s', retries: 20, backoff: QUICK })
    // A date is met by the database's clock, which is right; the process's own may be minutes off.
    await step.sleepUntil('morning', new Date(Date.now() + amountOf(n, 'morning', 0, 300)))
    const kept = await step.run('types', () => ({ at: new Date(0), tags: new Set([1]), big: 7n }))
    return [...reserved, charged, screened, `${kept.at.getTime()} ${kept.tags.has(1)} ${kept.big}`]
  }

  return createSchema<DurableContext>({
    typeDefs: [durableTypeDefs, typeDefs],
    resolvers: {
      Query: {
        report: async (_root, { n }: Named, { step }) => ({ n, title: await step.run('title', effect(n, 'title')) }),
      },
      Report: {
        // In another order each time: an outcome belongs to the row, not to its place.
        rows: ({ n }: Named) =>
          itemsOf(n)
            .map((id) => ({ id: String(id), n }))
            .toSorted(() => random.next() - 0.5),
      },
      Row: {
        label: async ({ id, n }: Named & { id: string }, _args, { step }) => {
          if (Number(id) % 2 === 0) await step.sleep('wait for it', amountOf(n, id, 0, 600))
          return step.run('label', effect(n, `label ${id}`))
        },
      },
      Mutation: {
        order: (_root, { n }: Named, { step }) => order(n, step),

        async approve(_root, { n }: Named, { step }) {
          const asked = await step.run('ask', effect(n, 'ask'))
          const approval = await step.waitForEvent<{ by: string }>('approval', {
            event: 'approved',
            match: { n },
            timeout: '1h',
          })
          return `${asked} ${approval?.data.by} ${await step.run('act', effect(n, 'act'))}`
        },

        async race(_root, { n }: Named, { step }) {
          const first = await Promise.race([
            step.run('hare', effect(n, 'hare')),
            step.run('tortoise', effect(n, 'tortoise')),
            step.sleep('bell', amountOf(n, 'bell', 5, 700)).then(() => 'bell'),
          ])
          const second = await Promise.any([
            step.run('never', effect(n, 'never', 100), { retries: 0 }),
            step.run('once', effect(n, 'once')),
          ])
          return `${first} then ${second}`
        },

        async deadline(_root, { n }: Named, { step }) {
          const word = await step.waitForEvent('word', { event: 'word', match: { n }, timeout: deadlineMs(n) })
          return step.run('tell', async () => (word ? `heard ${word.id}` : 'nobody'))
        },

        async collect(_root, { n }: Named, { step }) {
          const next = async (at: number): Promise<number> => {
            const item = await step.waitForEvent<{ index: number }>(`item ${at}`, { event: 'item', match: { n } })
            return item?.data.index ?? -1
          }
          // Two at once, then one by one.
          const indexes = await Promise.all([next(0), next(1)])
          for (let at = 2; at < collectCount(n); at++) {
            await step.run(`between ${at}`, effect(n, `between ${at}`))
            indexes.push(await next(at))
          }
          return indexes
        },

        async relay(_root, { n }: Named, { step }) {
          const said = await step.run('think', effect(n, 'think'))
          const { ids } = await step.sendEvent('say', { name: 'said', data: { n, said } })
          return `${ids.length} ${said}`
        },

        async hear(_root, { n }: Named, { step }) {
          const from = n.replace(/-hears$/, '')
          const heard = await step.waitForEvent<{ said: string }>('listen', { event: 'said', match: { n: from } })
          return `${heard?.data.said} ${await step.run('nod', effect(n, 'nod'))}`
        },

        note: (_root, { n, part }: Named & { part: number }, { step }) => step.run('note', effect(n, `note ${part}`)),

        async nap(_root, { n }: Named, { step }) {
          await step.run('lie down', effect(n, 'lie down'))
          await step.sleep('nap', amountOf(n, 'nap', 100, 2_500))
          return step.run('get up', effect(n, 'get up'))
        },

        async failing(_root, { n }: Named, { step }) {
          try {
            await step.run('hopeless', effect(n, 'hopeless', 1_000), { retries: 1, backoff: QUICK })
          } catch {
            await step.run('make up for it', effect(n, 'make up for it'))
          }
          throw new GraphQLError(valueOf(n, 'refusal'), { extensions: { code: 'REFUSED' } })
        },
      },
    },
  })
}
