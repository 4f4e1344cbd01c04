import { EventEmitter } from 'node:events'
import mqemitterRedis from 'mqemitter-redis'
import type { Logger } from '../ports.ts'
import type { CommandLink } from '../redis/command-link.ts'
import type { ListenerLink } from '../redis/listener-link.ts'
import type { ClusterScript } from './cluster-scripts.ts'

/** What a {@link createBroadcastBus} needs. */
export interface BroadcastBusOptions {
  commands: CommandLink<ClusterScript>
  listener: ListenerLink
  /** Channels to hear; `hasEcho` for one of this node alone. */
  channels: { name: string; hasEcho: boolean }[]
  /** The channel that a topic is published to. */
  channelOf(topic: string): string
  /** All channels are open, for the first time or anew: what was broadcast before may have been missed. */
  onListening?: () => void
  logger: Logger
}

/** An emitter whose events reach all nodes. */
export type BroadcastBus = mqemitterRedis.MQEmitterRedis

/**
 * mqemitter-redis for what may be lost, because somebody makes up for it.
 *
 * It does not get connections of its own but the node's: all topics travel on a few channels and are told apart at the
 * receiver. So patterns of topics cost Redis nothing and mean what they mean in MQTT, whatever their characters, and a
 * message that cannot be read is dropped instead of ending the process.
 */
export function createBroadcastBus(options: BroadcastBusOptions): BroadcastBus {
  const ear = new Ear()
  const mouth = new Mouth(options)
  // They do all that mqemitter-redis asks of an ioredis client.
  const connections = { subConn: ear, pubConn: mouth } as unknown as Parameters<typeof mqemitterRedis>[0]
  const emitter = mqemitterRedis(connections)
  const open = new Set<string>()
  for (const { name, hasEcho } of options.channels) {
    options.listener.listen(name, hasEcho, {
      onMessage: message => ear.hear(name, message, options.logger),
      onListening: () => {
        open.add(name)
        if (open.size < options.channels.length) return
        ear.opened()
        options.onListening?.()
      },
    })
  }
  return emitter
}

type Done = () => void

/** The listening connection as mqemitter-redis sees it. */
class Ear extends EventEmitter {
  private isOpen = false
  private waiting: Done[] = []

  subscribe(_channel: string, done: Done): void {
    if (this.isOpen) done()
    else this.waiting.push(done)
  }

  psubscribe(pattern: string, done: Done): void {
    this.subscribe(pattern, done)
  }

  unsubscribe(_channel: string, done: Done): void {
    done()
  }

  punsubscribe(_pattern: string, done: Done): void {
    done()
  }

  quit(): void {
    setImmediate(() => this.emit('end'))
  }

  opened(): void {
    this.isOpen = true
    for (const done of this.waiting.splice(0)) done()
  }

  hear(channel: string, message: Buffer, logger: Logger): void {
    try {
      this.emit('messageBuffer', channel, message)
    } catch (error) {
      // Anybody who may use this Redis can publish here.
      logger.warn({ event: 'cluster.broadcast_ignored', channel, reason: String(error) }, 'a broadcast cannot be read')
    }
  }
}

/** The publishing connection as mqemitter-redis sees it. */
class Mouth extends EventEmitter {
  private readonly options: BroadcastBusOptions

  constructor(options: BroadcastBusOptions) {
    super()
    this.options = options
  }

  publish(topic: string, message: Buffer): Promise<unknown> {
    const { commands, channelOf } = this.options
    return commands.one({ command: 'publish', args: [channelOf(topic), message], near: '' })
  }

  quit(): void {
    setImmediate(() => this.emit('end'))
  }
}
