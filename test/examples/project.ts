import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

export const ROOT = join(import.meta.dirname, '../..')

/** What `npm install graphql-durable graphql graphql-yoga` brings, and what the snippets about servers and types need. */
const INSTALLED = [
  'graphql',
  'graphql-yoga',
  '@envelop/core',
  '@graphql-tools/utils',
  'devalue',
  'ms',
  '@types/node',
  'typescript',
]

export interface Project {
  readonly directory: string
  /** Starts `node` there, on a file of the project. */
  start(file: string, env?: Readonly<Record<string, string>>): Child
  /** Runs a script with bash, as if it were pasted. Answers what it printed; throws where it fails. */
  bash(script: string, env?: Readonly<Record<string, string>>): Promise<string>
  /** Type-checks files of the project. Answers the compiler's complaints. */
  typeErrors(files: readonly string[]): Promise<string>
  /** Kills what is left of it, and removes its folder. */
  remove(): Promise<void>
}

/** An empty folder in which the package, as it would be published, is installed without a registry; `also` what else. */
export async function createProject(also: readonly string[] = []): Promise<Project> {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'graphql-durable-project-')))
  const children: Child[] = []
  const installed = join(directory, 'node_modules/graphql-durable')
  mkdirSync(installed, { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'))
  cpSync(join(import.meta.dirname, 'project.json'), join(directory, 'package.json'))
  for (const name of [...INSTALLED, ...also]) {
    mkdirSync(dirname(join(directory, 'node_modules', name)), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), join(directory, 'node_modules', name))
  }
  // Not into the checkout's own `dist`, which somebody else may be using. Whether the types hold is for `npm run types`.
  await run(
    process.execPath,
    [TSC, '-p', 'tsconfig.build.json', '--noCheck', '--outDir', join(installed, 'dist')],
    ROOT,
  )

  return {
    directory,
    start(file, env = {}) {
      const child = startChild(file, directory, env)
      children.push(child)
      return child
    },
    bash: (script, env = {}) => run('bash', ['-eu', '-o', 'pipefail', '-c', script], directory, env),
    async typeErrors(files) {
      const options = '--noEmit --strict --skipLibCheck --module nodenext --target es2024 --types node'.split(' ')
      const allowed = ['--allowImportingTsExtensions', '--erasableSyntaxOnly', '--ignoreConfig']
      try {
        await run(process.execPath, [TSC, ...options, ...allowed, ...files], directory)
        return ''
      } catch (error) {
        return String(Reflect.get(error as object, 'stdout'))
      }
    },
    async remove() {
      for (const child of children) await child.stop('SIGKILL')
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')

async function run(file: string, args: readonly string[], cwd: string, env: object = {}): Promise<string> {
  const { stdout } = await promisify(execFile)(file, args, { cwd, env: { ...process.env, ...env }, timeout: 60_000 })
  return stdout
}

export interface Child {
  readonly process: ChildProcess
  /** Both streams so far. */
  output(): string
  /** Resolves with everything so far once it contains the text; rejects where the process ends before. */
  printed(text: string): Promise<string>
  /** Answers the exit code; null where a signal ended it. */
  stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>
  ended(): Promise<number | null>
}

function startChild(file: string, cwd: string, env: Readonly<Record<string, string>>): Child {
  const child = spawn(process.execPath, [file], { cwd, env: { ...process.env, NO_COLOR: '1', ...env } })
  const exited = once(child, 'exit')
  let output = ''
  const listeners = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      for (const listener of listeners) listener()
    })
  }
  const ended = async (): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) await exited
    return child.exitCode
  }
  return {
    process: child,
    output: () => output,
    printed: (text) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (output.includes(text)) resolve(output)
        }
        listeners.add(look)
        look()
        void exited.then(() => reject(new Error(`It ended before it printed ${JSON.stringify(text)}:\n${output}`)))
      }),
    async stop(signal) {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      return ended()
    },
    ended,
  }
}

export function readDocument(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

export interface Block {
  readonly language: string
  readonly text: string
}

/** The fenced blocks of a Markdown text. */
export function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = '', text = '']) => ({ language, text }))
}

/** The section under a heading of the second level. */
export function sectionOf(markdown: string, heading: string): string {
  const [, after = ''] = markdown.split(`\n## ${heading}\n`)
  return after.split('\n## ')[0] ?? ''
}

export function hasCurl(): Promise<boolean> {
  return run('curl', ['--version'], ROOT).then(
    () => true,
    () => false,
  )
}
