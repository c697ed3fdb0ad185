import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/*
 * Two servers and a worker on one database. Ctrl-C closes them as a deploy does; `kill -9` one of them, and see the
 * others go on with what it had.
 */

const roles = ['server', 'server', 'worker'] as const
const children: ChildProcess[] = roles.map((role) =>
  spawn(process.execPath, [join(import.meta.dirname, `${role}.ts`)], {
    env: { ...process.env, ROLE: role },
    stdio: ['ignore', 'inherit', 'inherit'],
  }),
)
console.log(`Send this to either server, with its port:

  curl localhost:PORT/graphql -H 'content-type: application/json' \\
    -d '{ "query": "mutation { renderReport(title: \\"Sales\\") }" }'
`)

// Ctrl-C reaches all of them by itself.
process.once('SIGINT', () => {})
process.once('SIGTERM', () => {
  for (const child of children) child.kill('SIGTERM')
})
await Promise.all(children.map((child) => once(child, 'exit')))
