import { connect } from 'node:net'
import type { Fact } from './facts.ts'
import { onLine } from './lines.ts'

export interface WitnessClient {
  /** Resolves once the witness has it on its disk. */
  tell(fact: Fact): Promise<void>
  /** Sends it, in order with the others. */
  mention(fact: Fact): void
  close(): void
}

export async function connectWitness(path: string): Promise<WitnessClient> {
  const socket = connect(path)
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  const answers = new Map<number, () => void>()
  let lastId = 0
  onLine(socket, (line) => {
    answers.get(Number(line))?.()
    answers.delete(Number(line))
  })
  return {
    tell: (fact) =>
      new Promise((resolve) => {
        const id = ++lastId
        answers.set(id, resolve)
        socket.write(`${JSON.stringify([id, fact])}\n`)
      }),
    mention: (fact) => void socket.write(`${JSON.stringify([0, fact])}\n`),
    close: () => void socket.end(),
  }
}
