import { Client, type PoolConfig } from 'pg'

/*
 * What the store relies on of `pg`, whatever the application has set globally (`pg.types.setTypeParser`,
 * `pg.defaults`), or for a pool that it gave: its rows would come in other types, and none of them could be read.
 */

type Parse = (text: string) => unknown

/** Types of the columns that statements select. Every other value stays the text that the server sent. */
const PARSERS: Readonly<Record<number, Parse>> = {
  16: (text) => text === 't', // bool
  20: Number, // int8: instants and counts are far below 2^53
  21: Number, // int2
  23: Number, // int4
  26: Number, // oid
  114: (text) => JSON.parse(text) as unknown, // json
  700: Number, // float4
  701: Number, // float8
  1700: Number, // numeric
  3802: (text) => JSON.parse(text) as unknown, // jsonb
}

/** A connection whose rows come as text, also where `pg.defaults.binary` or the pool's options say otherwise. */
class DriverClient extends Client {
  readonly binary = false // the driver's own property, which its types do not have
}

/** The options with which every connection of the store is made. */
export function driverConfig(config: PoolConfig): PoolConfig {
  const own = {
    Client: DriverClient,
    types: { getTypeParser: (oid: number): Parse => PARSERS[oid] ?? ((text) => text) },
    // What the driver takes the server's bytes for.
    client_encoding: 'utf8',
  }
  return { ...config, ...own }
}

/** A server says goodbye within milliseconds; one that is lost never does, and its connections would hold the process. */
export const GOODBYE_MS = 2_000

/** A connection by itself, of no lane. */
export function makeClient(config: PoolConfig): Client {
  return new DriverClient(driverConfig(config))
}

/** Closes a connection, whether it was ever made or not. Never rejects. */
export async function quit(client: Client): Promise<void> {
  const timer = setTimeout(() => streamOf(client).destroy(), GOODBYE_MS)
  await client.end().catch(() => {}) // it never connected
  clearTimeout(timer)
}

export function streamOf(client: Pick<Client, 'query'>): { destroy(): void } {
  // Not in the driver's types; it is what the driver itself destroys when a connection times out.
  return (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream
}
