import type { Server } from 'node:http'
import type { Durable, DurableContext, Step } from 'graphql-durable'

/*
 * What stands around the snippets of the documents that are no modules: the arguments of their resolvers, and the
 * application that they call. Only its types are looked at.
 */

interface Order {
  readonly id: string
  readonly items: readonly { readonly sku: string }[]
}

interface Args {
  readonly cart: string
  readonly month: string
  readonly id: string
}

interface Context extends DurableContext {
  readonly users: { load(id: string): Promise<{ name: string }> }
}

export type Resolvers = Record<string, (root: unknown, args: Args, context: Context) => unknown>

export declare const step: Step
export declare const durable: Durable
export declare const server: Server

export declare const id: string
export declare const order: Order
export declare const { items }: Order
export declare const sku: string
export declare const amount: number
export declare const pages: number
export declare const receipt: string
export declare const currentTerms: string
export declare const users: readonly { readonly id: string }[]

export declare const orders: { create(cart: string): Promise<Order> }
export declare const payments: {
  charge(order: Order, options?: { idempotencyKey: string; signal: AbortSignal }): Promise<void>
}
export declare const warehouse: { ship(order: Order): Promise<string> }
export declare const stock: {
  reserve(item: string | { readonly sku: string }): Promise<void>
  release(order: Order): Promise<void>
}
export declare const prices: { current(sku: string): Promise<number> }
export declare const directory: { find(of: string | { readonly id: string }): Promise<{ address: string }> }
export declare const mail: { send(to: { address: string }): Promise<void> }
export declare const mailer: { send(receipt: string): Promise<void> }
export declare const sales: { of(month: string): Promise<number> }
export declare function fetchPage(number: number): Promise<void>
export declare function toCharge(response: Response): Promise<{ id: string }>
