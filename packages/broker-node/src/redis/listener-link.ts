import type { Logger } from '../ports.ts'
import { connectRedis, type RedisClient } from './connect.ts'
import { isReply } from './errors.ts'
import type { LinkHealth } from './health.ts'
import type { RedisTarget } from './settings.ts'

/** Between two echoes; a channel that has not shown its own echo for {@link SILENT_MS} is deaf. */
const ECHO_INTERVAL_MS = 400
const SILENT_MS = 2_300
/** A channel that the server refuses is tried again after this. */
const REFUSED_RETRY_MS = 10_000
/** Deafness that comes again sooner is worth no line of its own; it is counted. */
const DEAF_LOG_MS = 60_000
const ECHO = ''

/** Who listens on a channel. */
export interface ChannelListener {
  onMessage(message: Buffer): void
  /** The subscription was made, for the first time or anew: what was published before may have been missed. */
  onListening(): void
}

interface Channel {
  name: string
  listener: ChannelListener
  hasEcho: boolean
  state: 'closed' | 'subscribing' | 'open' | 'refused'
  heardAtMs: number
  isRefusalTold: boolean
}

/** What a {@link ListenerLink} is made of. */
export interface ListenerLinkOptions {
  target: RedisTarget
  name: string
  health: LinkHealth
  /** Sends a message to a channel; false when the way there does not answer. */
  publish(channel: string, message: string): boolean
  /** The connection is made anew because a channel was silent. */
  onDeaf(): void
  logger: Logger
}

/**
 * The connection on which a node hears what is broadcast. It talks to itself: a connection that looks well and brings
 * no echo, for example to a server that has left its cluster, is made anew.
 */
export class ListenerLink {
  private readonly client: RedisClient
  private readonly options: ListenerLinkOptions
  private readonly channels = new Map<string, Channel>()
  private readonly timer: NodeJS.Timeout
  private deafToldAtMs = Number.NEGATIVE_INFINITY

  constructor(options: ListenerLinkOptions) {
    this.options = options
    const { target, name } = options
    this.client = connectRedis(target, { name, isListener: true, commandTimeoutMs: SILENT_MS }, options.health)
    this.client.on('ready', () => this.subscribeAll())
    this.client.on('close', () => {
      for (const channel of this.channels.values()) channel.state = 'closed'
    })
    this.client.on('messageBuffer', (channel: Buffer, message: Buffer) => this.hear(channel.toString(), message))
    this.timer = setInterval(() => this.check(), ECHO_INTERVAL_MS)
    this.timer.unref()
  }

  /** @param hasEcho - only for a channel of this node alone: each listener hears the echoes of all */
  listen(name: string, hasEcho: boolean, listener: ChannelListener): void {
    const channel: Channel = { name, listener, hasEcho, state: 'closed', heardAtMs: 0, isRefusalTold: false }
    this.channels.set(name, channel)
    if (this.client.status === 'ready') void this.subscribe(channel)
  }

  disconnect(): void {
    this.options.health.close()
    clearInterval(this.timer)
    this.client.disconnect()
  }

  private subscribeAll(): void {
    if (this.channels.size === 0) this.options.health.up()
    for (const channel of this.channels.values()) void this.subscribe(channel)
  }

  private async subscribe(channel: Channel): Promise<void> {
    channel.state = 'subscribing'
    try {
      await this.client.subscribe(channel.name)
    } catch (error) {
      if (isReply(error)) this.refused(channel, String(error))
      else if (this.client.status === 'ready') this.reconnect('subscribing is not answered')
      return
    }
    channel.state = 'open'
    channel.heardAtMs = performance.now()
    channel.isRefusalTold = false
    this.options.health.up()
    channel.listener.onListening()
  }

  private refused(channel: Channel, reason: string): void {
    const { logger, health } = this.options
    channel.state = 'refused'
    channel.heardAtMs = performance.now()
    health.up()
    if (channel.isRefusalTold) return
    channel.isRefusalTold = true
    logger.warn({ event: 'redis.channel_refused', channel: channel.name, reason }, 'Redis refuses a channel')
  }

  private hear(name: string, message: Buffer): void {
    const channel = this.channels.get(name)
    if (channel === undefined) return
    channel.heardAtMs = performance.now()
    if (message.length > 0) channel.listener.onMessage(message)
  }

  private check(): void {
    if (this.client.status !== 'ready') return
    const nowMs = performance.now()
    for (const channel of this.channels.values()) {
      if (channel.state === 'refused' && nowMs - channel.heardAtMs > REFUSED_RETRY_MS) void this.subscribe(channel)
      if (channel.state !== 'open' || !channel.hasEcho) continue
      const isSpoken = this.options.publish(channel.name, ECHO)
      if (nowMs - channel.heardAtMs <= SILENT_MS) continue
      // When Redis does not take what is said, it is not the listener that is deaf.
      if (isSpoken) this.deaf(channel, 'no echo')
      else this.reconnect('no echo')
      return
    }
  }

  private deaf(channel: Channel, reason: string): void {
    const { logger, onDeaf, health } = this.options
    onDeaf()
    const nowMs = performance.now()
    if (nowMs - this.deafToldAtMs > DEAF_LOG_MS) {
      this.deafToldAtMs = nowMs
      logger.warn({ event: 'redis.deaf', channel: channel.name, reason }, 'Redis brings no messages: connecting anew')
    }
    // Not an outage: everything else works.
    health.suspect()
    this.client.disconnect(true)
  }

  private reconnect(reason: string): void {
    this.options.health.down(reason)
    this.client.disconnect(true)
  }
}
