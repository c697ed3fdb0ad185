import { makeExecutableSchema } from '@graphql-tools/schema'
import { parse } from 'graphql'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import type { DurableContext } from '../../src/types.ts'
import type { Pass } from './pass.ts'
import type { Branch } from './program.ts'

interface Context extends DurableContext {
  readonly pass: Pass
}

/** What the fields below a branch know of it. */
interface Source extends Branch {
  readonly scope: string
  /** What its own program gave, where that has run already. */
  readonly result: string | null
}

const typeDefs = /* GraphQL */ `
  type Query {
    first: Branch
    second: Branch
  }
  type Mutation {
    first: Branch
    second: Branch
    durable: Branch @durable
  }
  type Branch {
    before: String
    value: String
    children: [Branch]
  }
`

function root(name: string, part: 'first' | 'second') {
  return async (_root: unknown, _args: unknown, { step, pass }: Context): Promise<Source> => {
    const branch = pass.branches[part]
    return { ...branch, scope: name, result: await pass.run(name, branch.before, step) }
  }
}

const resolvers = {
  Query: { first: root('first', 'first'), second: root('second', 'second') },
  Mutation: { first: root('first', 'first'), second: root('second', 'second'), durable: root('durable', 'first') },
  Branch: {
    before: (source: Source, _args: unknown, { step, pass }: Context) =>
      source.result ?? pass.run(`${source.scope}.before`, source.before, step),
    value: (source: Source, _args: unknown, { step, pass }: Context) =>
      source.value && pass.run(`${source.scope}.value`, source.value, step),
    children: ({ children, scope }: Source): Source[] =>
      children.map((child) => ({ ...child, scope: `${scope}.children.[:${child.id}]`, result: null })),
  },
}

/** Wrapped once: what a resolver belongs to is found on its context. */
export const schema = createDurable({ store: memoryStore(), schema: false }).schema(
  makeExecutableSchema({ typeDefs: [durableTypeDefs, typeDefs], resolvers }),
)

const FIELDS = '{ before value children { before value } }'

export const DOCUMENTS = {
  /** Two fields side by side. */
  query: parse(`{ first ${FIELDS} second ${FIELDS} }`),
  /** One after the other, in one execution. */
  mutation: parse(`mutation { first ${FIELDS} second ${FIELDS} }`),
  /** Field by field, each response committed before the next one begins (I10). */
  serial: parse(`mutation { durable ${FIELDS} second ${FIELDS} }`),
}
