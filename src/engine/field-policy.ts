/** Under which a field's extensions have its policy. String keys survive other plugins' copies of a schema. */
export const POLICY = 'graphql-durable/policy'
