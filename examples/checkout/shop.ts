import { setTimeout as sleep } from 'node:timers/promises'
import { GraphQLError } from 'graphql'

/*
 * What the shop does by itself. It says on the console what it does, so that one can see how often it happens.
 */

const PRICES: Readonly<Record<string, number>> = { tea: 12, cup: 8, teapot: 45, 'silver spoon': 990 }

export interface Item {
  readonly sku: string
  readonly quantity: number
}

export interface Order {
  readonly id: string
  readonly customer: string
  readonly items: readonly Item[]
  readonly total: number
}

export function createOrder(cart: string, customer: string, items: readonly Item[]): Order {
  const unknown = items.find(({ sku }) => PRICES[sku] === undefined)
  if (unknown) throw new GraphQLError(`We do not sell "${unknown.sku}".`)
  const total = items.reduce((sum, { sku, quantity }) => sum + (PRICES[sku] ?? 0) * quantity, 0)
  // Named after its cart, and so creating it again would give the same order.
  const order = { id: `order-${cart}`, customer, items, total }
  console.log(`shop: created ${order.id} for ${customer}`)
  return order
}

export function reserve(order: Order, item: Item): void {
  console.log(`shop: reserved ${item.quantity} × ${item.sku} for ${order.id}`)
}

export function ship(order: Order): { tracking: string } {
  console.log(`shop: shipped ${order.id} to ${order.customer}`)
  return { tracking: `parcel of ${order.id}` }
}

export const REGIONS = ['north', 'south', 'west'] as const

/** A slow query. */
export async function revenueOf(region: string, days: number, signal: AbortSignal): Promise<number> {
  await sleep(2500, undefined, { signal })
  return region.length * 1000 * days
}

/** A slower one. */
export async function bestsellersOf(days: number, signal: AbortSignal): Promise<string[]> {
  await sleep(3500, undefined, { signal })
  return Object.keys(PRICES).slice(0, Math.min(3, days))
}
