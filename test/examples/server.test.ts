import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createProject, hasCurl, ROOT } from './project.ts'
import type { Child, Project } from './project.ts'

const curl = await hasCurl()

describe('the checkout example', () => {
  let project: Project
  beforeAll(async () => {
    project = await createProject()
    cpSync(join(ROOT, 'examples'), join(project.directory, 'examples'), { recursive: true })
  }, 60_000)
  afterAll(() => project.remove())

  const start = (name: string): Child =>
    project.start('examples/checkout/server.ts', {
      PORT: '0',
      DURABLE_DB: `${name}.db`,
      PAYMENTS_LOG: `${name}.log`,
      COOLING_OFF: '200ms',
    })

  /** What it prints for its reader to paste: from the first comment on. */
  const linesIn = (output: string): string => output.slice(output.indexOf('\n# '), output.indexOf('/log; echo') + 10)

  it.skipIf(!curl)(
    'prints curl lines that work when they are pasted (skipped where there is no curl)',
    async () => {
      const server = start('pasted')
      const lines = linesIn(await server.printed('/log; echo'))
      const printed = await project.bash(lines)

      const [headers = '', ...answers] = printed.split(/\r?\n(?=[{[])/)
      expect(headers).toMatch(/^HTTP\/1.1 202 /)
      expect(headers).toMatch(/^location: \/graphql\/runs\/run_[0-9a-f]{32}\r?$/im)
      const [deferred, run, others, sent, response, report, wholeReport, log] = answers.map(
        (answer) => JSON.parse(answer) as Answer,
      )
      expect(deferred).toMatchObject({ data: { checkout: null }, errors: [{ path: ['checkout'] }] })
      expect(run?.data.durableRun.steps[0]).toEqual({ step: 'create order', status: 'COMPLETED', attempts: 1 })
      expect(others).toEqual({ errors: [{ message: 'There is no such run.' }] })
      expect(sent?.data.sendDurableEvent).toMatch(/^evt_/)
      expect(response).toEqual({
        data: { checkout: { order: 'order-42', total: 32, approvedBy: 'Grace', tracking: 'parcel of order-42' } },
      })
      expect(report?.data).toEqual({
        shop: { name: 'Tea & Co.' },
        report: { title: 'The last 7 days', revenue: null, bestsellers: null },
      })
      expect(report?.errors.map((error: { path: string[] }) => error.path.join('.'))).toEqual([
        'report.revenue',
        'report.bestsellers',
      ])
      expect(wholeReport).toEqual({
        data: {
          shop: { name: 'Tea & Co.' },
          report: { title: 'The last 7 days', revenue: 98_000, bestsellers: ['tea', 'cup', 'teapot'] },
        },
      })
      expect(log?.filter(({ what }: { what: string }) => what === 'done')).toHaveLength(3)
      expect(await server.stop('SIGTERM')).toBe(0)
    },
    60_000,
  )

  it('answers who waits and closes cleanly on SIGTERM, and its successor goes on (I4)', async () => {
    const server = start('closed')
    const url = addressIn(await server.printed('/log; echo'))
    const { extensions } = await post(url, CHECKOUT)
    const waiting = fetch(`${url}/runs/${extensions.runId}?wait=30`, { headers: ADA })
    const alsoWaiting = post(url, `{ durableRun(id: "${extensions.runId}", wait: 30) { status } }`)
    await project.bash('sleep 0.3') // until both are waiting: that cannot be seen from here
    const exitCode = server.stop('SIGTERM')

    const answer = await waiting
    expect(answer.status).toBe(202)
    expect(await answer.json()).toMatchObject({ extensions: { runId: extensions.runId } })
    expect((await alsoWaiting).data.durableRun.status).not.toBe('COMPLETED')
    expect(await exitCode).toBe(0)
    expect(readdirSync(project.directory).filter((name) => /^closed\.db-(process|wal|shm)/.test(name))).toEqual([])

    const successor = start('closed')
    const next = addressIn(await successor.printed('/log; echo'))
    const approve = `mutation { sendDurableEvent(name: "order/approved", data: { orderId: "order-1", by: "Grace" }) }`
    await post(next, approve, 'grace')
    const response = await fetch(`${next}/runs/${extensions.runId}?wait=30`, { headers: ADA })
    expect(await response.json()).toMatchObject({ data: { checkout: { order: 'order-1', approvedBy: 'Grace' } } })
    expect(await successor.stop('SIGTERM')).toBe(0)
    const done = readFileSync(join(project.directory, 'closed.log'), 'utf8').match(/"what":"done","work":"\w+"/g)
    expect(done).toHaveLength(3)
  }, 60_000)

  it('shows a declined card as the error that the step threw, without another attempt', async () => {
    const server = start('declined')
    const url = addressIn(await server.printed('/log; echo'))
    const answer = await post(url, CHECKOUT.replace('tea', 'silver spoon').replace('quantity: 1', 'quantity: 2'))
    expect(answer).toMatchObject({
      data: { checkout: null },
      errors: [{ message: 'The card was declined.', path: ['checkout'], extensions: { code: 'DECLINED' } }],
    })
    expect(answer).not.toHaveProperty('extensions')
    expect(await server.stop('SIGTERM')).toBe(0)
  }, 60_000)
})

const ADA = { 'x-user': 'ada' }
const CHECKOUT = `mutation { checkout(cart: "1", items: [{ sku: "tea", quantity: 1 }]) { order approvedBy } }`

type Answer = Record<string, any>

function addressIn(output: string): string {
  return /The shop is open: (\S+)/.exec(output)?.[1] ?? ''
}

async function post(url: string, query: string, user = 'ada'): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-user': user },
    body: JSON.stringify({ query }),
  })
  return (await response.json()) as Answer
}
