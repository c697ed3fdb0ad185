import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createProject, ROOT } from './project.ts'
import type { Project } from './project.ts'

describe('npm run demo', () => {
  let project: Project
  beforeAll(async () => {
    project = await createProject()
    cpSync(join(ROOT, 'examples'), join(project.directory, 'examples'), { recursive: true })
  }, 60_000)
  afterAll(() => project.remove())

  it('kills the server in the middle of a step, and nothing committed runs twice (I1, I2, I4, I6, I7)', async () => {
    const began = performance.now()
    const demo = project.start('examples/checkout/demo.ts')
    const exitCode = await demo.ended()
    expect(demo.output()).not.toContain('✗')
    expect(exitCode).toBe(0)
    expect(demo.output()).toContain('✓ The screening, in flight at the kill, was asked for again')
    expect(demo.output()).toContain('✓ The authorization, committed before, never ran again')
    expect(demo.output()).toMatch(/^All of it held/m)
    expect(performance.now() - began).toBeLessThan(20_000)
  }, 60_000)
})
