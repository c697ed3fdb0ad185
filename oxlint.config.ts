import { defineConfig, type OxlintOverride } from 'oxlint'

interface Layer {
  readonly name: string
  readonly files: string
  /** What a relative specifier goes on with, after its `./` or `../`s, when it leads into the layer from outside. */
  readonly target: string
  readonly concreteStore?: true
  readonly mayNameStores?: true
  readonly mayNameServers?: true
  readonly pure?: true
}

const STORES = ['memory', 'sqlite', 'postgres']
const ENTRIES = ['index', 'testing', ...STORES]

/** Imports point one way. From the bottom up: a layer may import itself and those before it. */
const LAYERS: readonly Layer[] = [
  { name: 'the core', files: 'src/core/**', target: 'core/', pure: true },
  { name: 'the store contract', files: 'src/store/*.ts', target: String.raw`store/[\w.-]+\.ts$` },
  { name: 'a store', files: 'src/store/*/**', target: `(store/)?(${STORES.join('|')})/`, concreteStore: true },
  { name: 'the public types', files: 'src/types.ts', target: String.raw`types\.ts$` },
  { name: 'the engine', files: 'src/engine/**', target: 'engine/' },
  { name: 'the schema', files: 'schema/**', target: 'schema/' },
  { name: 'the HTTP layer', files: 'src/http/**', target: 'http/' },
  { name: 'the testing kit', files: 'src/testing/**', target: 'testing/' },
  {
    name: 'an entry',
    files: `src/{${ENTRIES}}.ts`,
    target: String.raw`(${ENTRIES.join('|')})\.ts$`,
    mayNameStores: true,
  },
  { name: 'a plugin', files: 'plugins/**', target: 'plugins/', mayNameServers: true },
]

/** Only entries name a concrete store; not even another store does. */
function isForbidden(layer: Layer, target: Layer): boolean {
  if (target.concreteStore) return !layer.mayNameStores
  return LAYERS.indexOf(target) > LAYERS.indexOf(layer)
}

function importRules(layer: Layer): OxlintOverride {
  const patterns = LAYERS.filter((target) => isForbidden(layer, target)).map((target) => ({
    regex: String.raw`^\.{1,2}/(\.\./)*(src/)?${target.target}`,
    message: `Imports point one way: ${layer.name} may not import ${target.name}.`,
  }))
  patterns.push({ regex: '^graphql-durable($|/)', message: 'Inside the library, import the file itself.' })
  if (!layer.mayNameServers) {
    patterns.push({ regex: '^(graphql-yoga|@graphql-yoga/|@envelop/|@apollo/)', message: 'Only plugins know servers.' })
  }
  if (layer.pure) patterns.push({ regex: '^(node:|@graphql-tools/)', message: 'The core is pure: no I/O, no schema.' })
  const paths = layer.pure
    ? [{ name: 'graphql', allowImportNames: ['GraphQLError'], message: 'The core knows no GraphQL but its error.' }]
    : []
  return { files: [layer.files], rules: { 'no-restricted-imports': ['error', { paths, patterns }] } }
}

export default defineConfig({
  plugins: ['typescript', 'unicorn', 'oxc', 'import', 'promise'],
  categories: { correctness: 'error', suspicious: 'error' },
  options: { denyWarnings: true, reportUnusedDisableDirectives: 'error' },
  ignorePatterns: ['dist/**', 'coverage/**'],
  rules: {
    eqeqeq: ['error', 'always', { null: 'ignore' }],
    'no-console': ['error', { allow: ['warn'] }],
    'no-throw-literal': 'error',
    'no-unmodified-loop-condition': 'off', // it does not see what other functions, or other turns of the event loop, do
    'unicorn/consistent-function-scoping': 'off', // what is used in one place may stand in that place
    'import/no-named-as-default-member': 'off', // fast-check's `fc.` says where a generator comes from
    'no-shadow': 'off', // a parameter may bear the name of the file's function that makes such a thing
    'prefer-const': 'error',
    'promise/always-return': 'off', // a chain that ends in an effect returns nothing
    'typescript/consistent-type-imports': 'error',
    'typescript/no-explicit-any': 'error', // the comment that disables it gives the reason
    'typescript/no-non-null-assertion': 'error',
    'typescript/ban-ts-comment': 'error',
    'import/no-cycle': ['error', { ignoreTypes: true }],
    'oxc/no-barrel-file': ['error', { threshold: 0 }], // that is: no `export *`; named re-exports are fine
  },
  overrides: [
    { files: ['src/**', 'plugins/**', 'schema/**'], rules: { 'import/no-default-export': 'error' } },
    // `Context = any` is what lets a caller leave the type out: unknown would reject every resolver's own context.
    { files: ['src/types.ts', 'src/durable.ts', 'plugins/*.ts'], rules: { 'typescript/no-explicit-any': 'off' } },
    {
      files: ['test/**'],
      plugins: ['typescript', 'unicorn', 'oxc', 'import', 'promise', 'vitest'],
      rules: {
        'typescript/no-explicit-any': 'off', // contexts, resolvers and responses, whose types are not what is tested
        'typescript/no-non-null-assertion': 'off',
        'unicorn/consistent-function-scoping': 'off',
      },
    },
    { files: ['test/**', 'examples/**', 'bench/**'], rules: { 'no-console': 'off' } },
    ...LAYERS.map(importRules),
  ],
})
