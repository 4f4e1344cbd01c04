import type { Logger } from '../ports.ts'
import type { CommandLink } from '../redis/command-link.ts'
import type { ListenerLink } from '../redis/listener-link.ts'
import { pause } from '../redis/retry.ts'
import { type BroadcastBus, createBroadcastBus } from './broadcast-bus.ts'
import type { ClusterKeys } from './cluster-keys.ts'
import type { ClusterScript } from './cluster-scripts.ts'

const EVERYBODY = 'all'

/** Encoded, because `+` and `#` mean something to the emitter. */
function topicOf(nodeId: string): string {
  return `node:${encodeURIComponent(nodeId)}`
}

/** What nodes tell each other besides messages: rare, small, and each of them may be lost without harm. */
export type ControlMessage =
  /** The set of nodes has changed: look. */
  | { kind: 'nodes' }
  /** A table has a new version: read its log. */
  | { kind: 'changed'; table: string }
  /** `nodeId` has applied a table up to `version`. */
  | { kind: 'applied'; nodeId: string; table: string; epoch: string; version: number }

type ControlHandler = (message: ControlMessage) => void

/** What a {@link ControlBus} needs. */
export interface ControlBusOptions {
  commands: CommandLink<ClusterScript>
  listener: ListenerLink
  keys: ClusterKeys
  nodeId: string
  logger: Logger
}

/** How long a node that starts waits for the bus; it can live without. */
const START_WAIT_MS = 1_000

/**
 * The control bus: two channels per node, its own and everybody's.
 *
 * Delivery is best effort, as Redis' publish/subscribe is; whoever uses it has a slower way to learn the same.
 */
export class ControlBus {
  private readonly emitter: BroadcastBus
  private readonly logger: Logger
  private readonly handlers: ControlHandler[] = []
  private readonly listeningHandlers: (() => void)[] = []
  private readonly listening = new AbortController()
  /** Messages that could not be published. */
  lost = 0

  constructor({ commands, listener, keys, nodeId, logger }: ControlBusOptions) {
    this.logger = logger
    this.emitter = createBroadcastBus({
      commands,
      listener,
      channels: [
        { name: keys.bus(topicOf(nodeId)), hasEcho: true },
        { name: keys.bus(EVERYBODY), hasEcho: false },
      ],
      channelOf: topic => keys.bus(topic),
      onListening: () => {
        this.listening.abort()
        for (const handler of this.listeningHandlers) handler()
      },
      logger,
    })
    for (const topic of [EVERYBODY, topicOf(nodeId)]) {
      this.emitter.on(topic, (message, done) => this.receive(message['payload'], done))
    }
  }

  /** Resolves when the bus is heard, or when that takes too long to wait for. */
  start(): Promise<void> {
    return pause(START_WAIT_MS, this.listening.signal)
  }

  /** Adds a receiver of every control message for this node, its own broadcasts included. */
  onMessage(handler: ControlHandler): void {
    this.handlers.push(handler)
  }

  /** Adds a receiver of every moment at which the bus is heard for the first time or again: look at everything. */
  onListening(handler: () => void): void {
    this.listeningHandlers.push(handler)
  }

  broadcast(message: ControlMessage): void {
    this.emit(EVERYBODY, message)
  }

  sendTo(nodeId: string, message: ControlMessage): void {
    this.emit(topicOf(nodeId), message)
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
    default:
      return undefined
  }
}
