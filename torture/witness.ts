import { closeSync, fdatasync, openSync, writeSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import type { Fact } from './facts.ts'
import { onLine } from './lines.ts'

/*
 * The witness: a process of its own, with a log of its own, that outlives whatever happens to the others. Lines of
 * `[id, fact]` come over a socket; each is stamped and written, and once the log is on the disk `id` is answered.
 *
 * node witness.ts <socket> <log>
 */

const [socketPath = '', logPath = ''] = process.argv.slice(2)
const log = openSync(logPath, 'a')
let seq = 0
let waiting: (() => void)[] = []
let syncing = false

function take(socket: Socket, line: string): void {
  const [id, fact] = JSON.parse(line) as [number, Fact]
  writeSync(log, `${JSON.stringify({ seq: ++seq, t: Date.now(), ...fact })}\n`)
  if (id > 0) waiting.push(() => socket.write(`${id}\n`))
  if (!syncing && waiting.length > 0) sync()
}

/** One sync answers all that was written before it began. */
function sync(): void {
  syncing = true
  const answered = waiting
  waiting = []
  fdatasync(log, (error) => {
    if (error) throw error
    for (const answer of answered) answer()
    syncing = false
    if (waiting.length > 0) sync()
  })
}

const server = createServer((socket) => onLine(socket, (line) => take(socket, line)))
server.listen(socketPath, () => process.send?.('listening'))
process.on('disconnect', () => {
  closeSync(log)
  process.exit()
})
