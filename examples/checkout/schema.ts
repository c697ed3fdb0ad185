import { GraphQLError } from 'graphql'
import type { GraphQLSchema } from 'graphql'
import type { Duration, DurableContext } from 'graphql-durable'
import { durableTypeDefs } from 'graphql-durable/schema'
import { createSchema } from 'graphql-yoga'
import type { PaymentClient } from './payment-client.ts'
import { bestsellersOf, createOrder, REGIONS, reserve, revenueOf, ship } from './shop.ts'
import type { Item } from './shop.ts'

/** Who is asking. `step` comes from the plugin, no context function has to supply it. */
export interface ShopContext extends DurableContext {
  readonly user: string | null
}

export interface ShopOptions {
  readonly payments: PaymentClient
  readonly coolingOff: Duration
}

const typeDefs = /* GraphQL */ `
  type Query {
    shop: Shop!
    report(days: Int! = 7): Report!
  }

  type Mutation {
    checkout(cart: ID!, items: [ItemInput!]!): Receipt @durable(retries: 5, timeout: "10s")
  }

  input ItemInput {
    sku: String!
    quantity: Int!
  }

  type Receipt {
    order: ID!
    total: Int!
    approvedBy: String!
    tracking: String!
  }

  type Shop {
    name: String!
  }

  type Report {
    title: String!
    revenue: Int
    bestsellers: [String!]
  }
`

const QUICK = { backoff: { initial: '200ms' } }

export function createShopSchema({ payments, coolingOff }: ShopOptions): GraphQLSchema {
  return createSchema<ShopContext>({
    // @durable has to be known before any plugin runs.
    typeDefs: [durableTypeDefs, typeDefs],
    resolvers: {
      Mutation: {
        async checkout(_root, { cart, items }: { cart: string; items: Item[] }, { step, user }) {
          // Before the first step the request may be used. After it, only what the run keeps: see server.ts.
          if (user === null) throw new GraphQLError('Sign in first: send your name in the header x-user.')

          const order = await step.run('create order', () => createOrder(cart, user, items))

          // Steps of a loop have the entity in their id, whatever order the items come in.
          await Promise.all(order.items.map((item) => step.run(`reserve ${item.sku}`, () => reserve(order, item))))

          const authorization = await step.run('authorize', (attempt) => payments.authorize(order, attempt), QUICK)
          await step.run('screen for fraud', (attempt) => payments.screen(order, attempt), QUICK)

          const approval = await step.waitForEvent<{ by: string }>('approval', {
            event: 'order/approved',
            match: { orderId: order.id },
            timeout: '3d',
          })
          if (approval === null) {
            await step.run('void', (attempt) => payments.void(authorization, attempt), QUICK)
            throw new GraphQLError('Nobody approved the order in time.')
          }

          await step.sleep('cooling-off', coolingOff)
          await step.run('capture', (attempt) => payments.capture(authorization, attempt), QUICK)
          const { tracking } = await step.run('ship', () => ship(order))
          return { order: order.id, total: order.total, approvedBy: approval.data.by, tracking }
        },
      },

      Query: {
        shop: () => ({ name: 'Tea & Co.' }),
        report: (_root, { days }: { days: number }) => ({ title: `The last ${days} days`, days }),
      },

      // The slow parts of a report. Steps work in any resolver that takes `{ step }` in its parameters.
      Report: {
        async revenue({ days }: { days: number }, _args, { step }) {
          const revenues = await Promise.all(
            REGIONS.map((region) => step.run(`revenue ${region}`, ({ signal }) => revenueOf(region, days, signal))),
          )
          return revenues.reduce((sum, revenue) => sum + revenue, 0)
        },
        bestsellers: ({ days }: { days: number }, _args, { step }) =>
          step.run('bestsellers', ({ signal }) => bestsellersOf(days, signal)),
      },
    },
  })
}
