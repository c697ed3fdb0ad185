import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { assertTransition, TRANSITIONS } from '../../src/engine/execution-state.ts'
import type { ExecutionState } from '../../src/engine/execution-state.ts'

const STATES = Object.keys(TRANSITIONS) as ExecutionState[] // its keys are all of them

describe('the state of an execution', () => {
  it.each(STATES)('%s leaves to what its table says, and to nothing else', (from) => {
    const possible = STATES.filter((to) => {
      try {
        assertTransition(from, to)
        return true
      } catch {
        return false
      }
    })
    expect(possible.toSorted()).toEqual(TRANSITIONS[from].toSorted())
  })

  it('is told of in the documentation by the same table', () => {
    const page = readFileSync(new URL('../../docs/ARCHITECTURE.md', import.meta.url), 'utf8')
    const [, table = ''] = /An \*\*execution\*\*[^|]*([^]*?)\n\n/.exec(page) ?? []
    const rows = table.split('\n').flatMap((row) => {
      const [, state = '', , exits = ''] = row.split('|')
      const [name] = state.match(/(?<=`)\w+/) ?? []
      return name === undefined ? [] : [[name, (exits.match(/(?<=`)\w+(?=`)/g) ?? []).toSorted()] as const]
    })
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(STATES.map((state) => [state, TRANSITIONS[state].toSorted()])),
    )
  })
})
