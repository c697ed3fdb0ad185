import { setTimeout as sleep } from 'node:timers/promises'
import { createDurable } from 'graphql-durable'
import type { Durable, DurableContext, WorkerOptions } from 'graphql-durable'
import { postgresStore } from 'graphql-durable/postgres'
import { durableTypeDefs } from 'graphql-durable/schema'
import { sqliteStore } from 'graphql-durable/sqlite'
import { useDurable } from 'graphql-durable/yoga'
import { createSchema, createYoga } from 'graphql-yoga'

/*
 * What servers and workers share: one schema, one database, one plugin. Environment: DATABASE_URL names a PostgreSQL;
 * without it, the processes share the SQLite file at DURABLE_DB (workers.db).
 */

const { DATABASE_URL, DURABLE_DB = 'workers.db' } = process.env

/** A step says who does it, so that one can see the work move from process to process. */
function work(name: string): Promise<string> {
  const who = `${process.env['ROLE'] ?? 'process'} ${process.pid}`
  console.log(`${who}: ${name}`)
  return sleep(500, `${name} by ${who}`)
}

const schema = createSchema<DurableContext>({
  typeDefs: [
    durableTypeDefs,
    /* GraphQL */ `
      type Query {
        hello: String
      }
      type Mutation {
        renderReport(title: String!, pages: Int! = 5): [String!] @durable(retries: 5)
      }
    `,
  ],
  resolvers: {
    Query: { hello: () => 'Hello.' },
    Mutation: {
      async renderReport(_root, { title, pages }: { title: string; pages: number }, { step }) {
        const rendered: string[] = []
        for (let page = 1; page <= pages; page++) {
          rendered.push(await step.run(`render page ${page}`, () => work(`page ${page} of "${title}"`)))
          // Whoever is free goes on: a wait beyond `hold` gives the run back.
          await step.sleep(`after page ${page}`, '2s')
        }
        return rendered
      },
    },
  },
})

/**
 * With `worker: false` a process carries on what its own requests began, and what it is asked for by id. A worker is a
 * server that nobody listens to: the schema and the plugin are what it takes to resume a run.
 */
export function createApp(worker: false | WorkerOptions) {
  const durable: Durable = createDurable({
    store: DATABASE_URL === undefined ? sqliteStore(DURABLE_DB) : postgresStore({ connectionString: DATABASE_URL }),
    deferAfter: '1s',
    // Nothing of the request is needed to go on: this schema knows no users.
    context: {},
    worker,
  })
  return { durable, yoga: createYoga({ schema, plugins: [useDurable(durable)] }) }
}
