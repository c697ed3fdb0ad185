import { createApp } from './app.ts'

/*
 * A worker: the same schema, and no HTTP. Start as many as there is work for, on as many hosts as you like.
 */

const { durable } = createApp({ concurrency: 16 })
// Waits until the database can be reached.
await durable.start()
console.log(`worker ${process.pid}: at work`)

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void durable.close({ timeout: '10s' }))
