import { GraphQLError } from 'graphql'
import type { StepAttempt } from 'graphql-durable'
import type { Work } from './payments.ts'

/** What a step hands on to whatever it calls: the same key for each attempt, and the signal that ends an attempt. */
type Attempt = Pick<StepAttempt, 'idempotencyKey' | 'signal'>

export interface PaymentClient {
  authorize(order: { id: string; total: number }, attempt: Attempt): Promise<{ id: string }>
  screen(order: { id: string }, attempt: Attempt): Promise<{ id: string }>
  capture(authorization: { id: string }, attempt: Attempt): Promise<{ id: string }>
  void(authorization: { id: string }, attempt: Attempt): Promise<{ id: string }>
}

export function createPaymentClient(url: string): PaymentClient {
  const post = async (work: Work, body: object, { idempotencyKey, signal }: Attempt): Promise<{ id: string }> => {
    const response = await fetch(`${url}/${work}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
      body: JSON.stringify(body),
      signal,
    })
    const answer = (await response.json()) as { id: string; message?: string }
    if (response.ok) return answer
    // A GraphQLError is meant for the client: trying again would not change it, and so the step fails at once.
    if (response.status === 402) throw new GraphQLError('The card was declined.', { extensions: { code: 'DECLINED' } })
    // Anything else is worth another attempt.
    throw new Error(`The payment service answered ${response.status}: ${answer.message ?? 'no reason given'}`)
  }
  return {
    authorize: ({ id, total }, attempt) => post('authorizations', { order: id, amount: total }, attempt),
    screen: ({ id }, attempt) => post('screenings', { order: id }, attempt),
    capture: ({ id }, attempt) => post('captures', { authorization: id }, attempt),
    void: ({ id }, attempt) => post('voids', { authorization: id }, attempt),
  }
}
