/** Whether it has properties that can be looked at, by any name. Functions are left out. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** Of no class: made by a literal, by `JSON.parse`, or without a prototype as GraphQL's are. Of any realm. */
export function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
