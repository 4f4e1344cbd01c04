import { BrokerError } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'

/**
 * `connecting`: it never worked yet. `suspect`: an answer is late, or a connection has just broken; mostly it heals.
 * `down`: tried in vain.
 */
export type RedisState = 'connecting' | 'up' | 'suspect' | 'down'

/** Worst first: the state of several links is that of the worst. */
const ORDER: readonly RedisState[] = ['down', 'suspect', 'connecting', 'up']

/** Answers to a login that no waiting mends; a Sentinel may have words of its own around them. */
const REFUSED_LOGIN = /\b(?:WRONGPASS|NOAUTH|NOPERM)\b/

/** Who is told what happens to a link. */
interface LinkObserver {
  changed(link: LinkHealth, reason: string): void
  /** Another try was in vain. */
  failed(reason: string): void
  closed(link: LinkHealth): void
}

/** What one link knows of its own state. */
export class LinkHealth {
  readonly name: string
  state: RedisState = 'connecting'
  private readonly observer: LinkObserver

  constructor(name: string, observer: LinkObserver) {
    this.name = name
    this.observer = observer
  }

  up(): void {
    this.enter('up', '')
  }

  suspect(): void {
    if (this.state === 'up') this.enter('suspect', '')
  }

  down(reason: string): void {
    this.enter('down', reason)
    this.observer.failed(reason)
  }

  /** The link is about to be closed on purpose; nothing that happens to it counts from here on. */
  close(): void {
    this.observer.closed(this)
  }

  private enter(state: RedisState, reason: string): void {
    if (this.state === state) return
    this.state = state
    this.observer.changed(this, reason)
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
  /**
   * Never resolves. Rejects with `MIDGE_CONFIG_INVALID` when Redis refuses the login before it was reached once; later
   * that is an outage like others, because somebody may be about to change the password everywhere.
   */
  readonly loginRefused: Promise<never>
  private readonly options: HealthOptions
  private readonly links = new Set<LinkHealth>()
  private outageSinceMs: number | undefined
  private wasUp = false
  private refuseLogin: (error: BrokerError) => void = () => undefined

  constructor(options: HealthOptions) {
    this.options = options
    this.loginRefused = new Promise((_, reject) => {
      this.refuseLogin = reject
    })
    // Whoever starts a node waits for it; otherwise it is no failure that nobody looks at.
    this.loginRefused.catch(() => undefined)
  }

  get state(): RedisState {
    let worst = ORDER.length - 1
    for (const { state } of this.links) worst = Math.min(worst, ORDER.indexOf(state))
    return ORDER[worst] ?? 'up'
  }

  /** @returns the health of a new link */
  add(name: string): LinkHealth {
    const link = new LinkHealth(name, {
      changed: (of, reason) => this.onChange(of, reason),
      failed: reason => this.onFailed(reason),
      closed: of => this.links.delete(of),
    })
    this.links.add(link)
    return link
  }

  private onFailed(reason: string): void {
    if (this.wasUp || !REFUSED_LOGIN.test(reason)) return
    const text = `Redis at ${this.options.address} refuses the login (${reason}): check the user and password in \`redis.url\` (MIDGE_REDIS_URL)`
    this.refuseLogin(new BrokerError('MIDGE_CONFIG_INVALID', text))
  }

  private onChange(link: LinkHealth, reason: string): void {
    if (!this.links.has(link)) return
    if (link.state === 'up') this.wasUp = true
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
