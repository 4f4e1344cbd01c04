import type { Duplex } from 'node:stream'
import { BrokerError, checkTopicName, DEFAULT_INSTANCE } from '@midge/protocol-core'
import { Aedes } from 'aedes'
import type { ConnectionAcceptor, ConnectionInfo, Door, ReadSink } from '../../ports.ts'
import { BrokerCore, type BrokerCoreOptions } from '../broker-core.ts'
import { AedesHooks } from './aedes-hooks.ts'
import type { ClientView } from './client-view.ts'
import type { AedesHookSet, Callback, HookedBroker } from './hook-set.ts'
import { OpenDoor } from './open-door.ts'
import { type AedesPublishInput, toMessage } from './translate.ts'

/** Aedes' own heartbeat and will clean-up have nothing to do here: node life and wills are the store's business. */
const AEDES_HEARTBEAT_MS = 2_147_483_647 / 4

/** What a {@link MidgeBroker} is built from, hooks included. */
export interface MidgeBrokerOptions extends Omit<BrokerCoreOptions, 'hooks' | 'door'>, Partial<AedesHookSet> {
  /** Decides about clients unless an `authenticate` hook is given; without a door everybody may come in. */
  door?: Door
}

/** The part of the persistence port that Aedes' own code touches: it must find nothing to do. */
const NOTHING_STORED = {
  async setup(): Promise<void> {},
  async *streamWill(): AsyncGenerator<never> {},
  async storeRetained(): Promise<void> {},
  async subscriptionsByTopic(): Promise<never[]> {
    return []
  },
  async outgoingEnqueueCombi(): Promise<void> {},
}

// Aedes declares its hooks for its own client class; the casts at this border are what ADR 0001 is about.
const AedesBase = Aedes as unknown as new (
  options: object,
) => AedesHookSet & {
  id: string
  clients: Record<string, unknown>
  connectedClients: number
  closed: boolean
  opts: AedesHookSet
  handle: unknown
  publish: unknown
  listen(): Promise<void>
  close(done?: () => void): void
  emit(event: string, ...args: unknown[]): boolean
  on(event: string, listener: (...args: never[]) => void): unknown
  listenerCount(event: string): number
  setMaxListeners(count: number): unknown
}

/**
 * The broker: Aedes' control plane (hooks, events, client registry, lifecycle) over Midge's own data plane.
 *
 * Code written for Aedes' hooks and events works here; what a connection does between bytes in and bytes out is
 * `BrokerCore`'s. ADR 0001.
 */
export class MidgeBroker extends AedesBase implements ConnectionAcceptor, HookedBroker {
  readonly core: BrokerCore

  constructor(options: MidgeBrokerOptions) {
    super({
      ...pickHooks(options),
      id: options.nodeId,
      heartbeatInterval: AEDES_HEARTBEAT_MS,
      persistence: NOTHING_STORED,
    })
    const hooks = new AedesHooks(this, defaultHooks())
    const door = options.door ?? new OpenDoor(options.counters)
    door.putFirst(hooks)
    this.core = new BrokerCore({ ...options, hooks, door })
    this.handle = (stream: Duplex): void => this.accept(stream, infoOf(stream))
    this.publish = (packet: AedesPublishInput, client: unknown, done?: Callback): void => {
      this.publishMessage(packet, typeof client === 'function' ? (client as Callback) : done)
    }
  }

  /** Starts the store's followers and sweepers, then Aedes' registry. */
  async start(): Promise<void> {
    await this.core.start()
    await this.listen()
  }

  accept(stream: Duplex, info: ConnectionInfo): void {
    this.core.accept(stream, info)
  }

  acceptReads(stream: Duplex, info: ConnectionInfo): ReadSink {
    return this.core.acceptReads(stream, info)
  }

  /** Aedes' registry and events, without its takeover messages: takeover is the session epoch's. */
  onConnected(client: ClientView): void {
    this.clients[client.id] = client
    this.connectedClients++
    this.emit('client', client)
  }

  onDisconnected(client: ClientView): void {
    if (this.clients[client.id] === client) delete this.clients[client.id]
    this.connectedClients--
    this.emit('clientDisconnect', client)
  }

  private publishMessage(packet: AedesPublishInput, done: Callback | undefined): void {
    // Aedes announces itself under $SYS to other Aedes brokers; nobody here listens.
    if (packet.topic.startsWith('$SYS/')) {
      done?.(null)
      return
    }
    if (checkTopicName(packet.topic, this.core.services.limits.topicLevelsMax) !== 0) {
      done?.(new RangeError('not a topic name'))
      return
    }
    const message = toMessage(packet)
    this.core.publisher.publish(DEFAULT_INSTANCE, message).then(
      stored => {
        if (stored) this.core.services.hooks.published(undefined, message)
        done?.(stored ? null : new BrokerError('MIDGE_STORE_UNAVAILABLE', 'the message was not stored'))
      },
      (error: Error) => done?.(error),
    )
  }
}

function pickHooks(options: MidgeBrokerOptions): Partial<AedesHookSet> {
  const hooks: Partial<AedesHookSet> = {}
  if (options.preConnect !== undefined) hooks.preConnect = options.preConnect
  if (options.authenticate !== undefined) hooks.authenticate = options.authenticate
  if (options.authorizePublish !== undefined) hooks.authorizePublish = options.authorizePublish
  if (options.authorizeSubscribe !== undefined) hooks.authorizeSubscribe = options.authorizeSubscribe
  if (options.authorizeForward !== undefined) hooks.authorizeForward = options.authorizeForward
  if (options.published !== undefined) hooks.published = options.published
  return hooks
}

/** Aedes' default hooks, found on a broker that was given none. */
function defaultHooks(): AedesHookSet {
  return new AedesBase({}).opts
}

function infoOf(stream: Duplex): ConnectionInfo {
  const socket = stream as Duplex & {
    remoteAddress?: string
    remotePort?: number
    localAddress?: string
    localPort?: number
  }
  return {
    connectionId: 'library',
    transport: 'tcp',
    remoteAddress: socket.remoteAddress ?? '',
    remotePort: socket.remotePort ?? 0,
    localAddress: socket.localAddress ?? '',
    localPort: socket.localPort ?? 0,
    serverName: undefined,
    host: undefined,
    path: undefined,
    certCommonName: undefined,
  }
}
