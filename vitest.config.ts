import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: {
    // Vite would load graphql 16's ES modules for our sources and its CommonJS build for everybody else's: two realms.
    alias: [{ find: /^graphql$/, replacement: fileURLToPath(import.meta.resolve('graphql')) }],
  },
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    // Processes rather than threads: tests signal and kill children, and each file's AsyncLocalStorage, warnings and
    // open handles stay its own.
    pool: 'forks',
    // Most of a full run is waiting for real processes and servers, so that two files at a time fit on two cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // No test sleeps, so what takes this long hangs. The margin is for those that start and kill a real process.
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 5_000,
    restoreMocks: true,
    unstubEnvs: true,
    typecheck: {
      enabled: true,
      include: ['test/**/*.test-d.ts'],
      checker: 'tsc',
      tsconfig: './tsconfig.json',
      ignoreSourceErrors: true, // those are for `npm run types`
    },
  },
})
