import fc from 'fast-check'

/**
 * A random resolver body. Every leaf is a tool, so that whatever it decides depends on outcomes alone, and so must come
 * out the same in every replay (I5).
 */
export type Program =
  | {
      readonly t: 'step'
      readonly id: string
      readonly ms: number
      readonly failures: number
      readonly retries: number
    }
  | { readonly t: 'sleep'; readonly id: string; readonly ms: number }
  | { readonly t: 'event'; readonly id: string; readonly name: string; readonly timeoutMs: number | null }
  | { readonly t: 'send'; readonly id: string; readonly name: string }
  | { readonly t: 'seq' | 'all' | 'race' | 'any' | 'settled'; readonly of: readonly Program[] }
  | { readonly t: 'catch'; readonly of: Program; readonly or: Program }
  | { readonly t: 'later'; readonly of: Program; readonly meanwhile: Program }
  | { readonly t: 'tick'; readonly id: string; readonly name: string; readonly ms: number }
  | { readonly t: 'loop'; readonly times: number; readonly of: Program }
  | { readonly t: 'hops'; readonly count: number; readonly of: Program }
  | { readonly t: 'pause'; readonly ms: number; readonly of: Program }
  /** What a deploy left of something. */
  | { readonly t: 'none' }

export const EVENT_NAMES = ['red', 'green'] as const

/** A few ids only: the same id again and again, in parallel as well, is what ordered release has to keep apart. */
const ids = fc.constantFrom('x', 'x', 'y', 'z', 'a', 'b', 'c')
/** Long enough, some of them, to be deferred, parked and evicted. */
const durations = fc.constantFrom(0, 0, 1, 1, 2, 2, 3, 5, 40, 150, 900, 2500)
const names = fc.constantFrom(...EVENT_NAMES)

interface Shapes {
  readonly program: Program
  readonly leaf: Program
}

export interface ProgramOptions {
  readonly maxDepth?: number
  /**
   * Programs that also await what is no tool. Two pending calls of one id are misuse there, since their order is not
   * recorded: every id is used once.
   */
  readonly pauses?: boolean
  /** Programs that are edited: call orders change, and with them which of two calls of one id is the first. */
  readonly uniqueIds?: boolean
}

export function programs({ maxDepth = 4, pauses = false }: ProgramOptions = {}): fc.Arbitrary<Program> {
  return fc.letrec<Shapes>((tie: fc.LetrecTypedTie<Shapes>) => {
    const of = fc.array(tie('program'), { minLength: 1, maxLength: 3 })
    const step = fc.record({
      t: fc.constant('step' as const),
      id: ids,
      ms: durations,
      failures: fc.constantFrom(0, 0, 0, 0, 1, 2, 9),
      retries: fc.constantFrom(0, 0, 1, 2),
    })
    const leaves: fc.MaybeWeightedArbitrary<Program>[] = [
      { weight: 10, arbitrary: step },
      { weight: 2, arbitrary: fc.record({ t: fc.constant('sleep' as const), id: ids, ms: durations }) },
      {
        weight: 2,
        arbitrary: fc.record({
          t: fc.constant('event' as const),
          id: ids,
          name: names,
          timeoutMs: fc.constantFrom(null, 0, 3, 600, 1500),
        }),
      },
      { weight: 1, arbitrary: fc.record({ t: fc.constant('send' as const), id: ids, name: names }) },
    ]
    const group = fc.constantFrom('seq', 'all', 'race', 'any', 'settled')
    const nodes: fc.MaybeWeightedArbitrary<Program>[] = [
      { weight: 7, arbitrary: fc.record({ t: group, of }) },
      { weight: 1, arbitrary: fc.record({ t: fc.constant('catch' as const), of: tie('program'), or: tie('program') }) },
      {
        weight: 1,
        arbitrary: fc.record({ t: fc.constant('later' as const), of: tie('program'), meanwhile: tie('program') }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          t: fc.constant('hops' as const),
          count: fc.integer({ min: 1, max: 6 }),
          of: tie('program'),
        }),
      },
    ]
    if (pauses) {
      const pause = fc.record({ t: fc.constant('pause' as const), ms: fc.constantFrom(0, 1, 2, 3), of: tie('program') })
      nodes.push({ weight: 4, arbitrary: pause })
    } else {
      const times = fc.integer({ min: 2, max: 3 })
      nodes.push({ weight: 1, arbitrary: fc.record({ t: fc.constant('loop' as const), times, of: tie('program') }) })
      nodes.push({
        weight: 1,
        arbitrary: fc.record({ t: fc.constant('tick' as const), id: ids, name: names, ms: durations }),
      })
    }
    const leaf = fc.oneof(...leaves)
    return {
      leaf,
      program: fc.oneof(
        { maxDepth, depthSize: 'small', withCrossShrink: true },
        { weight: 3, arbitrary: leaf },
        ...nodes,
      ),
    }
  }).program
}

/** A field, the program of its resolver, and the fields below it: scopes of their own. */
export interface Branch {
  readonly id: string
  /** Runs in the scope of the field that answers with this branch. */
  readonly before: Program
  /** Runs in the scope of `value`, below it. */
  readonly value: Program | null
  readonly children: readonly Branch[]
}

export function branches(options: ProgramOptions = {}): fc.Arbitrary<Branch> {
  const small = programs({ ...options, maxDepth: 2 })
  const child = fc.record({ before: small, value: fc.option(small, { freq: 1 }) })
  const shape = fc.record({
    before: programs(options),
    value: fc.option(small, { freq: 3 }),
    children: fc.array(child, { maxLength: 2 }),
  })
  const named = options.pauses || options.uniqueIds ? withUniqueIds : <T>(program: T): T => program
  return shape.map(({ before, value, children }) => ({
    id: 'root',
    before: named(before),
    value: value && named(value),
    children: children.map((child, index) => ({
      id: `c${index}`,
      before: named(child.before),
      value: child.value && named(child.value),
      children: [],
    })),
  }))
}

function withUniqueIds(program: Program): Program {
  let count = 0
  return JSON.parse(JSON.stringify(program), (key, value: unknown) =>
    key === 'id' ? `${String(value)}${++count}` : value,
  ) as Program // the same shape
}

/** What a deploy does to a program: steps are added before some of its parts, and some of its steps are gone. */
export interface Edit {
  /** Which part, counted from the outside in, as often around as it takes. */
  readonly at: number
  readonly kind: 'add' | 'remove'
  readonly ms: number
}

export function edited(branch: Branch, edits: readonly Edit[]): Branch {
  const before = withEdits(branch.before, edits, 'b')
  return { ...branch, before, value: branch.value && withEdits(branch.value, edits, 'v') }
}

function withEdits(program: Program, edits: readonly Edit[], prefix: string): Program {
  const size = sizeOf(program)
  const byPlace = Map.groupBy(edits, ({ at }) => at % size)
  let place = 0
  let added = 0
  const edit = (p: Program): Program => {
    const own = byPlace.get(place++) ?? []
    const inner = own.some(({ kind }) => kind === 'remove') && isLeaf(p) ? ({ t: 'none' } as const) : withParts(p, edit)
    const steps = own
      .filter(({ kind }) => kind === 'add')
      .map(({ ms }): Program => ({ t: 'step', id: `new${prefix}${++added}`, ms, failures: 0, retries: 0 }))
    return steps.length === 0 ? inner : { t: 'seq', of: [...steps, inner] }
  }
  return edit(program)
}

function isLeaf({ t }: Program): boolean {
  return t === 'step' || t === 'sleep' || t === 'event' || t === 'send'
}

function partsOf(program: Program): Program[] {
  const parts: Program[] = []
  withParts(program, (part) => (parts.push(part), part))
  return parts
}

function sizeOf(program: Program): number {
  return partsOf(program).reduce((size, part) => size + sizeOf(part), 1)
}

function withParts(p: Program, change: (part: Program) => Program): Program {
  switch (p.t) {
    case 'seq':
    case 'all':
    case 'race':
    case 'any':
    case 'settled':
      return { ...p, of: p.of.map(change) }
    case 'catch':
      return { ...p, of: change(p.of), or: change(p.or) }
    case 'later':
      return { ...p, of: change(p.of), meanwhile: change(p.meanwhile) }
    case 'loop':
    case 'hops':
    case 'pause':
      return { ...p, of: change(p.of) }
    default:
      return p
  }
}
