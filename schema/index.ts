export { durableDirective, durableTypeDefs } from './directive.ts'
export type { RenamedDurableDirective } from './directive.ts'
