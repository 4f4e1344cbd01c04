import type { Logger } from '../ports.ts'

/**
 * `connecting`: it never worked yet. `suspect`: an answer is late, or a connection has just broken; mostly it heals.
 * `down`: tried in vain.
 */
export type RedisState = 'connecting' | 'up' | 'suspect' | 'down'

/** Worst first: the state of several links is that of the worst. */
const ORDER: readonly RedisState[] = ['down', 'suspect', 'connecting', 'up']

/** What one link knows of its own state. */
export class LinkHealth {
  readonly name: string
  state: RedisState = 'connecting'
  private readonly changed: (link: LinkHealth, reason: string) => void
  private readonly closed: (link: LinkHealth) => void

  constructor(name: string, changed: (link: LinkHealth, reason: string) => void, closed: (link: LinkHealth) => void) {
    this.name = name
    this.changed = changed
    this.closed = closed
  }

  up(): void {
    this.enter('up', '')
  }

  suspect(): void {
    if (this.state === 'up') this.enter('suspect', '')
  }

  down(reason: string): void {
    this.enter('down', reason)
  }

  /** The link is about to be closed on purpose; nothing that happens to it counts from here on. */
  close(): void {
    this.closed(this)
  }

  private enter(state: RedisState, reason: string): void {
    if (this.state === state) return
    this.state = state
    this.changed(this, reason)
  }
}

/** What a {@link RedisHealth} needs. */
export interface HealthOptions {
  logger: Logger
  /** Of Redis as an operator knows it, without credentials. */
  address: string
  onOutage(): void
}

/**
 * What all links of a node say together about Redis. An outage is one event, one count and one reason, however many
 * links it takes down: it begins when the first of them has tried in vain, and ends when all of them work.
 */
export class RedisHealth {
  private readonly options: HealthOptions
  private readonly links = new Set<LinkHealth>()
  private outageSinceMs: number | undefined

  constructor(options: HealthOptions) {
    this.options = options
  }

  get state(): RedisState {
    let worst = ORDER.length - 1
    for (const { state } of this.links) worst = Math.min(worst, ORDER.indexOf(state))
    return ORDER[worst] ?? 'up'
  }

  /** @returns the health of a new link */
  add(name: string): LinkHealth {
    const link = new LinkHealth(
      name,
      (link, reason) => this.onChange(link, reason),
      link => this.links.delete(link),
    )
    this.links.add(link)
    return link
  }

  private onChange(link: LinkHealth, reason: string): void {
    if (!this.links.has(link)) return
    const { logger, address, onOutage } = this.options
    if (link.state === 'down' && this.outageSinceMs === undefined) {
      this.outageSinceMs = performance.now()
      onOutage()
      logger.warn(
        { event: 'redis.lost', link: link.name, address, reason },
        'Redis does not answer: trying again until it does',
      )
    }
    if (this.state !== 'up' || this.outageSinceMs === undefined) return
    const outageMs = Math.round(performance.now() - this.outageSinceMs)
    this.outageSinceMs = undefined
    logger.info({ event: 'redis.restored', address, outageMs }, 'Redis answers again')
  }
}
