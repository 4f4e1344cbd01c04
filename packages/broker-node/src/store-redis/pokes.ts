import type { StoreListener } from '@midge/protocol-core'
import type { Redis } from 'ioredis'
import type { Logger } from '../ports.ts'
import { namesOf } from './keys.ts'
import type { RedisLink } from './redis-link.ts'

/** A silent subscription is probed this often; after two probes without an echo the connection is made anew. */
const PROBE_INTERVAL_MS = 5000
const SILENT_PROBES_MAX = 2

/**
 * The connection on which this node hears that other nodes have appended to queues of its sessions. Every hint may be
 * lost, so each new subscription tells the listener to look at all queues.
 */
export class Pokes {
  private readonly client: Redis
  private readonly link: RedisLink
  private readonly channel: string
  private readonly logger: Logger
  private listener: StoreListener | undefined
  private subscriptions = 0
  private silentProbes = 0
  private readonly probeTimer: NodeJS.Timeout
  /** Resolves with the first subscription. */
  readonly ready: Promise<void>

  constructor(client: Redis, link: RedisLink, channel: string, logger: Logger) {
    this.client = client
    this.link = link
    this.channel = channel
    this.logger = logger
    this.ready = new Promise(resolve => {
      client.on('ready', () => {
        void this.subscribe(resolve)
      })
    })
    client.on('message', (_channel: string, text: string) => this.hear(text))
    this.probeTimer = setInterval(() => this.probe(), PROBE_INTERVAL_MS)
    this.probeTimer.unref()
  }

  setListener(listener: StoreListener): void {
    this.listener = listener
  }

  stop(): void {
    clearInterval(this.probeTimer)
    this.client.disconnect()
  }

  private async subscribe(resolve: () => void): Promise<void> {
    try {
      await this.client.subscribe(this.channel)
    } catch (error) {
      this.logger.debug({ event: 'store.subscribe_failed', error: String(error) }, 'subscription is tried again')
      this.client.disconnect(true)
      return
    }
    this.silentProbes = 0
    this.subscriptions++
    resolve()
    if (this.subscriptions > 1) this.listener?.onReconnected()
  }

  private hear(text: string): void {
    this.silentProbes = 0
    if (text === '') return
    try {
      for (const line of text.split('\n')) {
        const space = line.lastIndexOf(' ')
        const { instance, name: clientId } = namesOf(line.slice(0, space))
        this.listener?.onQueueGrew(instance, clientId, Number(line.slice(space + 1)))
      }
    } catch (error) {
      // Anybody who may use this Redis can publish here; a hint is not worth the process.
      this.logger.warn(
        { event: 'store.poke_ignored', error: String(error) },
        'a message on the poke channel is not ours',
      )
    }
  }

  private probe(): void {
    if (this.client.status !== 'ready' || this.link.client.status !== 'ready') return
    if (this.silentProbes >= SILENT_PROBES_MAX) {
      this.logger.warn({ event: 'store.subscription_silent' }, 'Redis subscription is silent: connecting anew')
      this.silentProbes = 0
      this.client.disconnect(true)
      return
    }
    this.silentProbes++
    void this.link.run([{ command: 'publish', args: [this.channel, ''] }])
  }
}
