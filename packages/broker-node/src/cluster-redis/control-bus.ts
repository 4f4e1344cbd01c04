import type { Redis } from 'ioredis'
import mqemitterRedis from 'mqemitter-redis'
import type { Logger } from '../ports.ts'
import { whenReady } from './connection.ts'
import type { ClusterKeys } from './keys.ts'

/** What nodes tell each other besides messages: rare, small, and each of them may be lost without harm. */
export type ControlMessage =
  /** The set of nodes has changed: look. */
  | { kind: 'nodes' }
  /** A table has a new version: read its log. */
  | { kind: 'changed'; table: string }
  /** `nodeId` has applied a table up to `version`. */
  | { kind: 'applied'; nodeId: string; table: string; epoch: string; version: number }
  /** See `LinkListener.onTakeover`. */
  | { kind: 'takeover'; instance: string; clientId: string; epoch: number }

type ControlHandler = (message: ControlMessage) => void

/**
 * The control bus: mqemitter-redis with two channels per node, its own and everybody's.
 *
 * Delivery is best effort, as Redis' publish/subscribe is; whoever uses it has a slower way to learn the same.
 */
export class ControlBus {
  private readonly emitter: mqemitterRedis.MQEmitterRedis
  private readonly subscriber: Redis
  private readonly publisher: Redis
  private readonly keys: ClusterKeys
  private readonly nodeId: string
  private readonly logger: Logger
  private readonly handlers: ControlHandler[] = []
  private readonly stopped = new AbortController()
  private starting: Promise<void> | undefined
  /** Messages that could not be published. */
  lost = 0

  constructor(options: { subscriber: Redis; publisher: Redis; keys: ClusterKeys; nodeId: string; logger: Logger }) {
    this.subscriber = options.subscriber
    this.publisher = options.publisher
    this.keys = options.keys
    this.nodeId = options.nodeId
    this.logger = options.logger
    this.emitter = mqemitterRedis({ subConn: options.subscriber, pubConn: options.publisher })
    // The connections report their own trouble; without a listener the emitter's copy of it would end the process.
    this.emitterState().on('error', () => undefined)
  }

  /** Resolves when both channels are subscribed; the first call counts, later ones wait for it. */
  start(): Promise<void> {
    this.starting ??= this.subscribe()
    return this.starting
  }

  private async subscribe(): Promise<void> {
    const { signal } = this.stopped
    await Promise.all([whenReady(this.subscriber, signal), whenReady(this.publisher, signal)])
    const channels = [this.keys.controlAll(), this.keys.controlNode(this.nodeId)]
    const listen = (topic: string): Promise<void> =>
      new Promise(resolve => {
        this.emitter.on(topic, (message, done) => this.receive(message['payload'], done), resolve)
      })
    await Promise.all(channels.map(listen))
    // The emitter does not say whether Redis has accepted its subscription; a connection that broke at that moment
    // would stay deaf. Subscribing twice is harmless.
    this.subscriber.on('ready', () => void this.subscriber.subscribe(...channels).catch(() => undefined))
    if (this.subscriber.status === 'ready') await this.subscriber.subscribe(...channels).catch(() => undefined)
  }

  /** Adds a receiver of every control message for this node, its own broadcasts included. */
  onMessage(handler: ControlHandler): void {
    this.handlers.push(handler)
  }

  broadcast(message: ControlMessage): void {
    this.emit(this.keys.controlAll(), message)
  }

  sendTo(nodeId: string, message: ControlMessage): void {
    this.emit(this.keys.controlNode(nodeId), message)
  }

  stop(): void {
    this.stopped.abort()
    this.subscriber.disconnect()
    this.publisher.disconnect()
  }

  private emit(topic: string, message: ControlMessage): void {
    this.emitter.emit({ topic, payload: JSON.stringify(message) }, error => {
      if (error) this.lost++
    })
  }

  private receive(payload: unknown, done: () => void): void {
    try {
      const message = parseControl(payload)
      if (message !== undefined) for (const handler of this.handlers) handler(message)
    } catch (error) {
      this.logger.error({ event: 'cluster.control_failed', reason: String(error) }, 'handling a control message failed')
    }
    done()
  }

  private emitterState(): NodeJS.EventEmitter {
    // `state` is documented in the README of mqemitter-redis and missing in its types.
    return (this.emitter as unknown as { state: NodeJS.EventEmitter }).state
  }
}

/** @returns `undefined` for anything that is not one of ours: a newer node may say more than this one knows. */
function parseControl(payload: unknown): ControlMessage | undefined {
  if (typeof payload !== 'string') return undefined
  const value: unknown = JSON.parse(payload)
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined
  const fields = value as Record<string, unknown>
  const isText = (...names: string[]): boolean => names.every(name => typeof fields[name] === 'string')
  const isCount = (name: string): boolean => Number.isSafeInteger(fields[name])
  switch (fields['kind']) {
    case 'nodes':
      return value as ControlMessage
    case 'changed':
      return isText('table') ? (value as ControlMessage) : undefined
    case 'applied':
      return isText('nodeId', 'table', 'epoch') && isCount('version') ? (value as ControlMessage) : undefined
    case 'takeover':
      return isText('instance', 'clientId') && isCount('epoch') ? (value as ControlMessage) : undefined
    default:
      return undefined
  }
}
