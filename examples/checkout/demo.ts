import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual, styleText } from 'node:util'
import { startPaymentService } from './payments.ts'
import type { LogEntry, PaymentService } from './payments.ts'
import { startShop } from './shop-process.ts'
import type { Shop } from './shop-process.ts'

/*
 * A mutation that survives `kill -9`, played through for real: the shop's server is a process of its own, the payment
 * service is in this one, and its log is the witness. Exits with 1 if anything is not as it should be.
 */

interface Run {
  readonly status: string
  readonly waitingOn: readonly { readonly step: string; readonly kind: string }[]
  readonly steps: readonly { readonly step: string; readonly status: string; readonly attempts: number }[]
  readonly result: unknown
}

const CHECKOUT = `mutation Checkout {
  checkout(cart: "42", items: [{ sku: "tea", quantity: 2 }, { sku: "cup", quantity: 1 }]) { order total approvedBy tracking }
}`
const RUN = `query Run($id: ID!, $wait: Int) {
  durableRun(id: $id, wait: $wait) { status waitingOn { step kind } steps { step status attempts } result }
}`
const APPROVE = `mutation Approve { sendDurableEvent(name: "order/approved", data: { orderId: "order-42", by: "Grace" }) }`
const EXPECTED = {
  data: { checkout: { order: 'order-42', total: 32, approvedBy: 'Grace', tracking: 'parcel of order-42' } },
}
/** Everything must have happened by then. */
const GIVE_UP_MS = 18_000

const problems: string[] = []

async function play(directory: string, payments: PaymentService): Promise<void> {
  const open = (): Promise<Shop> =>
    startShop({ directory, paymentsUrl: payments.url, coolingOff: '2s', onLine: (line) => say('shop', line) })

  tell('A shop opens, and Ada checks out: one mutation over HTTP.')
  say('curl', CHECKOUT)
  let shop = await open()
  try {
    const { status, body } = await shop.post('ada', CHECKOUT)
    tell('The payment service takes its time, so she is not kept waiting: her answer has the id of a run.')
    say('answer', `HTTP ${status}`)
    for (const [key, value] of Object.entries(body)) say('answer', `${key}: ${JSON.stringify(value)}`)
    const runId = String(body.extensions?.['runId'])
    check(status === 202 && runId.startsWith('run_'), 'The mutation was answered with 202 and the id of a run')

    await until(() => happened(payments, 'received', 'screenings') === 1, 'The screening is under way')
    check(happened(payments, 'done', 'screenings') === 0, 'The screening is not done yet')
    tell('In the middle of the step "screen for fraud": kill -9.')
    await shop.kill()
    const before = payments.entries()

    tell('The shop opens again. It goes on by itself, where it was: nobody has asked it to.')
    shop = await open()
    await until(async () => {
      const run = await look(shop, runId)
      return run.status === 'SUSPENDED' && run.waitingOn[0]?.step === 'approval'
    }, 'The run waits for its approval')
    say('run', describe(await look(shop, runId)))

    tell('Grace approves the order. Then the shop sleeps for two seconds, in case that Ada thinks better of it.')
    await shop.post('grace', APPROVE)
    const run = await look(shop, runId, 10)
    say('run', describe(run))
    say('result', JSON.stringify(run.result))
    check(run.status === 'COMPLETED', 'The run is completed')
    check(isDeepStrictEqual(run.result, EXPECTED), 'Its result is the response of the mutation')

    tell('And what did the payment service see?')
    judge(payments.entries(), before.length)
    check(isDeepStrictEqual(shopLines, EXPECTED_LINES), 'The shop created, reserved and shipped each thing once')
    check((await shop.close()) === 0, 'The shop closed cleanly')
  } finally {
    await shop.kill()
  }
}

/** The witness: what was committed before the kill was not asked for again, and nothing was done twice. */
function judge(log: readonly LogEntry[], killedAt: number): void {
  for (const [index, { what, work, key }] of log.entries()) {
    if (index === killedAt) say('log', '— the server was killed here —')
    say('log', `${what.padEnd(8)} ${work.padEnd(14)} key …${key.slice(-6)}`)
  }
  const after = log.slice(killedAt)
  check(!after.some(({ work }) => work === 'authorizations'), 'The authorization, committed before, never ran again')
  for (const work of ['authorizations', 'screenings', 'captures'] as const) {
    const own = log.filter((entry) => entry.work === work)
    check(new Set(own.map(({ key }) => key)).size === 1, `Each attempt at the ${work} had the same idempotency key`)
    check(own.filter(({ what }) => what === 'done').length === 1, `The work of the ${work} was done once`)
  }
  const again = after.some(({ what, work }) => what === 'received' && work === 'screenings')
  check(again, 'The screening, in flight at the kill, was asked for again')
}

const shopLines: string[] = []
const EXPECTED_LINES = [
  'shop: created order-42 for ada',
  'shop: reserved 2 × tea for order-42',
  'shop: reserved 1 × cup for order-42',
  'shop: shipped order-42 to ada',
]

function happened(payments: PaymentService, what: LogEntry['what'], work: LogEntry['work']): number {
  return payments.entries().filter((entry) => entry.what === what && entry.work === work).length
}

async function look(shop: Shop, id: string, wait = 0): Promise<Run> {
  const { body } = await shop.post('ada', RUN, { id, wait })
  const run = body.data?.['durableRun']
  if (run === null || run === undefined) throw new Error(`The run ${id} is not there: ${JSON.stringify(body)}`)
  return run as Run // the query selects these fields
}

function describe({ status, waitingOn, steps }: Run): string {
  const waits = waitingOn.map(({ step, kind }) => `, waiting for ${kind} "${step}"`).join('')
  const done = steps.map(
    ({ step, status: of, attempts }) => `${step}: ${of}${attempts > 1 ? ` (attempt ${attempts})` : ''}`,
  )
  return [`${status}${waits}`, ...done].join('\n')
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  while (!(await condition())) {
    if (performance.now() > GIVE_UP_MS) throw new Error(`Not in time: ${what}.`)
    await sleep(50)
  }
  check(true, what)
}

function check(holds: boolean, what: string): void {
  if (!holds) problems.push(what)
  console.log(holds ? styleText('green', `  ✓ ${what}`) : styleText('red', `  ✗ ${what}`))
}

function tell(text: string): void {
  console.log(`\n${styleText('bold', text)}`)
}

function say(who: string, text: string): void {
  if (text.startsWith('shop: ')) shopLines.push(text)
  for (const line of text.split('\n')) console.log(styleText('dim', `  ${who.padEnd(8)} ${line}`))
}

const directory = mkdtempSync(join(tmpdir(), 'checkout-demo-'))
const payments = await startPaymentService({ logFile: join(directory, 'payments.log') })
try {
  await play(directory, payments)
} catch (error) {
  check(false, error instanceof Error ? error.message : String(error))
} finally {
  await payments.close()
  rmSync(directory, { recursive: true, force: true })
}
const seconds = (performance.now() / 1000).toFixed(1)
tell(problems.length === 0 ? `All of it held, in ${seconds} s.` : `${problems.length} of it did not hold.`)
process.exitCode = problems.length === 0 ? 0 : 1
