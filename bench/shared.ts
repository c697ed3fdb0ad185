import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The middle one; of an even number, the lower of the two in the middle. */
export function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor((values.length - 1) / 2)] ?? Number.NaN
}

/** Runs it with the path of a database that is deleted afterwards. */
export async function withDatabase<T>(run: (path: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'graphql-durable-bench-'))
  try {
    return await run(join(directory, 'runs.db'))
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** The numbers of the command line, or these. */
export function numbersFrom(args: readonly string[], fallback: readonly number[]): readonly number[] {
  const numbers = args.map(Number).filter((number) => number > 0)
  return numbers.length > 0 ? numbers : fallback
}
