/** How our types and root fields are called in one schema. */
export interface Names {
  readonly prefix: string
  type(name: string): string
  field(name: string): string
}

/**
 * Without a prefix the names are the documented ones. With `prefix: 'My'` each type is `My` + its name, and each root
 * field `my` + its name: `MyDurableRun`, `myDurableRun`, `myCancelDurableRun`.
 */
export function createNames(prefix = ''): Names {
  if (prefix === '') return { prefix, type: (name) => name, field: (name) => name }
  if (!/^(?!__)[_A-Za-z]\w*$/.test(prefix)) {
    throw new TypeError(
      `Expected schema.prefix to be the beginning of a GraphQL name, such as 'My', but got ${JSON.stringify(prefix)}.`,
    )
  }
  const typePrefix = prefix.charAt(0).toUpperCase() + prefix.slice(1)
  const fieldPrefix = prefix.charAt(0).toLowerCase() + prefix.slice(1)
  return {
    prefix,
    type: (name) => typePrefix + name,
    field: (name) => fieldPrefix + name.charAt(0).toUpperCase() + name.slice(1),
  }
}
