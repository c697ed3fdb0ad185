import { copyFileSync, existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ERROR_CODES } from '../../src/index.ts'
import { blocksOf, createProject, hasCurl, readDocument, ROOT, sectionOf } from './project.ts'
import type { Project } from './project.ts'

const curl = await hasCurl()
const readme = readDocument('README.md')
const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  ...['ARCHITECTURE', 'errors', 'postgres-production', 'torture', 'writing-resolvers'].map((name) => `docs/${name}.md`),
]

const AROUND = `
import { GraphQLError } from 'graphql'
import { StepError } from 'graphql-durable'
import { postgresStore } from 'graphql-durable/postgres'
import * as shop from './shop.ts'
`
const SHOP = [...readDocument('test/examples/shop.ts').matchAll(/^export declare (?:const|function) (\w+)/gm)]
const DECLARED = `const { ${SHOP.map(([, name]) => name).join(', ')}, items } = shop\n`

describe('the quick start of the README', () => {
  let project: Project
  beforeAll(async () => {
    project = await createProject()
  }, 60_000)
  afterAll(() => project.remove())

  it.skipIf(!curl)(
    'works when pasted into an empty project, kill -9 included (skipped where there is no curl)',
    async () => {
      const port = await freePort()
      const blocks = blocksOf(sectionOf(readme, 'Quick start')).map(({ language, text }) => ({
        language,
        text: text.replaceAll('4000', String(port)),
      }))
      const [install, startLine, send, approve] = blocks.filter(({ language }) => language === 'sh')
      const [server] = blocks.filter(({ language }) => language === 'ts')
      const [response] = blocks.filter(({ language }) => language === 'json')
      expect(install?.text).toContain('npm install graphql-durable graphql graphql-yoga') // what createProject stands for
      const file = /^\/\/ (\S+)\n/.exec(server?.text ?? '')?.[1] ?? ''
      expect(startLine?.text).toBe(`node ${file}\n`)
      writeFileSync(join(project.directory, file), server?.text ?? '')

      const first = project.start(file)
      await answering(port)
      const sent = await project.bash(`${send?.text}echo "RUN=$RUN"`)
      const runId = /^RUN=(run_[0-9a-f]{32})$/m.exec(sent)?.[1]
      expect(runId).toBeDefined()
      await first.stop('SIGKILL')

      const second = project.start(file)
      await answering(port)
      const printed = await project.bash(approve?.text ?? '', { RUN: runId ?? '' })
      expect(JSON.parse(printed.trim().split('\n').at(-1) ?? '')).toEqual(JSON.parse(response?.text ?? ''))
      const printedByServers = first.output() + second.output()
      expect(printedByServers.match(/creating the order of tea/g)).toHaveLength(1)
    },
    60_000,
  )

  it('and every TypeScript snippet of the documents has correct types', async () => {
    copyFileSync(join(import.meta.dirname, 'shop.ts'), join(project.directory, 'shop.ts'))
    const files = DOCUMENTS.flatMap((path) =>
      blocksOf(readDocument(path))
        .filter(({ language }) => language === 'ts')
        .map(({ text }, index) => {
          const file = `${path.replaceAll(/\W/g, '-')}-${index}.ts`
          writeFileSync(join(project.directory, file), moduleOf(text))
          return file
        }),
    )
    expect(files.length).toBeGreaterThanOrEqual(20)
    expect(await project.typeErrors(files)).toBe('')
  }, 60_000)
})

describe('the documents', () => {
  it('list every error code with its meaning, and whether sending the same again can succeed', () => {
    const rows = Object.entries(ERROR_CODES).map(([code, { meaning, retryable }]) => ({ code, meaning, retryable }))
    expect(rowsBetween(readme, 'error codes')).toEqual(
      rows.map(({ code, meaning, retryable }) => [`\`${code}\``, meaning, retryable ? 'yes' : 'no']),
    )
    const errors = readDocument('docs/errors.md')
    expect([...errors.matchAll(/^## (\w+)\n\n(.*)$/gm)].map(([, code, line]) => `${code}: ${line}`)).toEqual(
      rows.map(({ code, meaning, retryable }) => `${code}: ${meaning} ${retryable ? 'Retryable.' : 'Not retryable.'}`),
    )
  })

  it('link to files that are there', () => {
    const broken = DOCUMENTS.flatMap((path) =>
      [...readDocument(path).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, to = '']) =>
        join(ROOT, dirname(path), to),
      ),
    ).filter((path) => !existsSync(path))
    expect(broken).toEqual([])
  })
})

/** A snippet on its own: a module as it is, a resolver among others, or statements within one, each paragraph apart. */
function moduleOf(snippet: string): string {
  if (/^import /m.test(snippet)) return snippet
  const parts = snippet.split('\n\n').map((paragraph) => `{\n${paragraph}\n}\n`)
  const code = /^\w+: /.test(snippet)
    ? `export const resolvers: shop.Resolvers = {\n${snippet}}\n`
    : `export async function resolver() {\n${parts.join('')}}\n`
  return AROUND + DECLARED + code
}

/** The cells of the table between two comments, without its head. */
function rowsBetween(markdown: string, name: string): string[][] {
  const [, table = ''] = new RegExp(`<!-- ${name}: begin -->(.*)<!-- ${name}: end -->`, 's').exec(markdown) ?? []
  return table
    .trim()
    .split('\n')
    .slice(2)
    .map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The snippet's server says nothing once it listens. */
async function answering(port: number): Promise<void> {
  const giveUpAt = performance.now() + 15_000
  while (performance.now() < giveUpAt) {
    const response = await fetch(`http://localhost:${port}/graphql?query={__typename}`).catch(() => null)
    if (response?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('The server of the quick start does not answer.')
}
