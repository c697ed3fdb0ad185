import type { Socket } from 'node:net'

/** Calls back with each whole line. A process that is killed while it writes leaves half of one, which is dropped. */
export function onLine(socket: Socket, take: (line: string) => void): void {
  let rest = ''
  socket.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
  })
  socket.on('error', () => {}) // the other end was killed
}
