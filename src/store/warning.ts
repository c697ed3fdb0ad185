import { messageOf } from '../core/errors.ts'
import { ignoreRejection } from '../core/rejections.ts'

/** A store's option. One that throws, or is asynchronous and rejects, keeps the store from nothing. */
export type OnWarning = (message: string) => void

const NAME = 'DurableWarning'

/** How a store tells its operators of something. Default: a process warning. */
export function createStoreWarn(onWarning: OnWarning | undefined): OnWarning {
  if (onWarning === undefined) return (message) => process.emitWarning(message, NAME)
  return (message) => {
    const onThrown = (error: unknown): void =>
      process.emitWarning(`${message} (The store's onWarning threw: ${messageOf(error)})`, NAME)
    try {
      ignoreRejection(onWarning(message) as unknown, onThrown)
    } catch (error) {
      onThrown(error)
    }
  }
}
