import type { Host } from './host.ts'
import type { EngineOptions } from './options.ts'

/** The servers of this process that can make passes. */
export class Hosts {
  readonly #hosts = new Map<string, Host>()
  readonly #ready = new Set<string>()
  readonly #warn: EngineOptions['warn']

  constructor(warn: EngineOptions['warn']) {
    this.#warn = warn
  }

  add(host: Host, onReady: () => void): void {
    if (this.#hosts.has(host.name)) {
      this.#warn(
        'Two servers share one durable under the same name; the later one resumes the runs of both. Give each a `name` in the second argument of its plugin.',
        { server: host.name },
      )
    }
    this.#hosts.set(host.name, host)
    void host.ready().then(
      () => {
        this.#ready.add(host.name)
        onReady()
      },
      (error: unknown) => this.#warn('A server cannot resume runs.', { server: host.name, error: String(error) }),
    )
  }

  /** Names of those whose runs this process can carry on. */
  get ready(): ReadonlySet<string> {
    return this.#ready
  }

  /** One that refuses every pass where there is none of that name. */
  get(name: string): Host {
    return this.#hosts.get(name) ?? missingHost(name)
  }
}

function missingHost(name: string): Host {
  return {
    name,
    remakesArgs: false,
    ready: () => Promise.resolve(),
    headers: () => ({}),
    deliversLater: () => false,
    mask: (error) => error,
    positionInBatch: () => 0,
    pass: () => Promise.reject(new Error(`No server named "${name}" is registered in this process.`)),
  }
}
