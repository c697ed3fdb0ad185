import type { GraphQLResolveInfo } from 'graphql'
import type { FieldPolicy } from '../core/policy.ts'

type Path = GraphQLResolveInfo['path']

/**
 * What `@durable` says about the fields of one operation, and for whatever lies below them: each option is that of the
 * nearest field that gives it. Paths are objects of one execution, and a field's is the beginning of those below it, so
 * each pass enters its fields anew. Without a `@durable` field there is nothing here, and nothing is looked up (I8).
 */
export class FieldPolicies {
  #byPath: WeakMap<Path, FieldPolicy> | null = null

  /** A field is being executed. `around`: what applies where its execution is made by another field's resolver. */
  enter(path: Path, own: FieldPolicy | null, around: FieldPolicy | null): FieldPolicy | null {
    const inherited = this.above(path) ?? around
    const policy = own && inherited ? { ...inherited, ...own } : (own ?? inherited)
    if (policy) (this.#byPath ??= new WeakMap()).set(path, policy)
    return policy
  }

  /** What applies to a field that says nothing itself; null where it lies below no `@durable` field. */
  above(path: Path): FieldPolicy | null {
    const known = this.#byPath
    if (!known) return null
    for (let at = path.prev; at; at = at.prev) {
      const policy = known.get(at)
      if (policy) return policy
    }
    return null
  }
}
