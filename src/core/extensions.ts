/**
 * Extensions as clients get them: what says by `toJSON` what it is, is that and nothing else. A copy of its properties
 * would show what it keeps to itself.
 */
export function asSent(extensions: object): object {
  if (typeof (extensions as { toJSON?: unknown }).toJSON !== 'function') return extensions
  const sent: unknown = JSON.parse(JSON.stringify(extensions) ?? 'null')
  return typeof sent === 'object' && sent !== null ? sent : {}
}

/** Of an error's extensions, without the two that servers keep to themselves. */
export function visibleExtensions(extensions: object | null | undefined): Record<string, unknown> {
  const sent: { http?: unknown; unexpected?: unknown } = asSent(extensions ?? {})
  const { http: _http, unexpected: _unexpected, ...visible } = sent
  return visible
}
