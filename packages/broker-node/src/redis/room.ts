import type { Logger } from '../ports.ts'
import { BlockingLink } from './blocking-link.ts'
import { CommandLink } from './command-link.ts'
import { RedisHealth } from './health.ts'
import { ListenerLink } from './listener-link.ts'
import type { Script } from './script-files.ts'
import { type RedisSettings, type RedisTarget, readSettings } from './settings.ts'

/** After this long a command's outcome is unknown. */
const COMMAND_TIMEOUT_MS = 2_000

/** What a {@link RedisRoom} needs. */
export interface RedisRoomOptions {
  settings: RedisSettings
  /** First part of every key and channel, without a colon. */
  keyPrefix: string
  logger: Logger
  commandTimeoutMs?: number
  /** For counters: an outage has begun. */
  onOutage?: () => void
  /** For counters: the listener was open and brought nothing. */
  onDeaf?: () => void
}

/**
 * All links of a node to Redis: who needs one gets it here. They connect in the background and for as long as it takes;
 * until then calls reject with `MIDGE_STORE_UNAVAILABLE`.
 */
export class RedisRoom {
  readonly health: RedisHealth
  readonly keyPrefix: string
  private readonly target: RedisTarget
  private readonly onDeaf: () => void
  private readonly logger: Logger
  private readonly commandTimeoutMs: number
  private readonly commandLinks: CommandLink[] = []
  private readonly others: { disconnect(): void }[] = []
  private sharedListener: ListenerLink | undefined

  /** @throws {@link BrokerError} `MIDGE_CONFIG_INVALID` for settings that cannot be read */
  constructor({ settings, keyPrefix, logger, commandTimeoutMs, onOutage, onDeaf }: RedisRoomOptions) {
    this.target = readSettings(settings)
    const [{ host, port }] = this.target.addresses
    this.health = new RedisHealth({ logger, address: `${host}:${port}`, onOutage: () => onOutage?.() })
    this.onDeaf = () => onDeaf?.()
    this.keyPrefix = keyPrefix
    this.logger = logger
    this.commandTimeoutMs = commandTimeoutMs ?? COMMAND_TIMEOUT_MS
  }

  /** @returns a new connection for commands and the given scripts */
  commandLink<Name extends string>(name: string, scripts: ReadonlyMap<Name, Script>): CommandLink<Name> {
    const link = new CommandLink<Name>({
      target: this.target,
      role: { name, isListener: false, commandTimeoutMs: this.commandTimeoutMs },
      health: this.health.add(name),
      scripts,
      probeKey: `${this.keyPrefix}:probe`,
      logger: this.logger,
    })
    this.commandLinks.push(link)
    return link
  }

  /** @returns a new connection for one caller whose commands block for at most `blockMs` */
  blockingLink(name: string, blockMs: number): BlockingLink {
    const link = new BlockingLink({ target: this.target, name, health: this.health.add(name), blockMs })
    this.others.push(link)
    return link
  }

  /** The connection on which all parts of the node listen. */
  listener(): ListenerLink {
    if (this.sharedListener !== undefined) return this.sharedListener
    const link = new ListenerLink({
      target: this.target,
      name: 'listener',
      health: this.health.add('listener'),
      publish: (channel, message) => this.publish(channel, message),
      onDeaf: this.onDeaf,
      logger: this.logger,
    })
    this.others.push(link)
    this.sharedListener = link
    return link
  }

  /** Waits for what was called so far and closes every connection. */
  async stop(): Promise<void> {
    await Promise.all(this.commandLinks.map(link => link.stop()))
    for (const link of this.others) link.disconnect()
  }

  private publish(channel: string, message: string): boolean {
    const link = this.commandLinks.find(link => link.isReady)
    if (link === undefined) return false
    void link.run([{ command: 'publish', args: [channel, message], near: '' }])
    return link.isUp
  }
}
