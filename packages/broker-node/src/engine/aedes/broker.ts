import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { BrokerError, checkTopicName, DEFAULT_INSTANCE } from '@midge/protocol-core'
import { Aedes, type Brokers, type Client } from 'aedes'
import type { Counters } from '../../counters.ts'
import type { ConnectionAcceptor, ConnectionInfo, Door, ReadSink } from '../../ports.ts'
import { BrokerCore, type BrokerCoreOptions } from '../broker-core.ts'
import { AedesHooks } from './aedes-hooks.ts'
import { type AedesHookSet, pickHooks } from './hook-set.ts'
import { type Deliver, MessageQueue } from './message-queue.ts'
import type { MidgeClient } from './midge-client.ts'
import { OpenDoor } from './open-door.ts'
import { type AedesPublishInput, NO_ERROR, toMessage } from './translate.ts'

type Callback = (error?: Error) => void

/** What a {@link MidgeBroker} is built from, hooks included. */
export interface MidgeBrokerOptions extends Omit<BrokerCoreOptions, 'hooks' | 'door'>, Partial<AedesHookSet> {
  /** Decides about clients unless an `authenticate` hook is given; without a door everybody may come in. */
  door?: Door
  /**
   * A program holds this broker, as it would an Aedes: `clients` has the clients of this node, and subscribers of
   * `$SYS/<id>/new/clients` and the like are told what they do.
   */
  isEmbedded?: boolean
  /** Lets go of what the broker was built on; called once, at the end of `close`. */
  release?: () => Promise<void>
}

/**
 * The broker: Aedes' control plane (hooks, events, client registry) over Midge's own data plane. ADR 0015.
 *
 * Programs get one from `createBroker`. Code written for Aedes' hooks, events and methods works here; what a connection
 * does between bytes in and bytes out is `BrokerCore`'s.
 */
export class MidgeBroker extends Aedes implements ConnectionAcceptor {
  readonly core: BrokerCore
  /** Clients that are connected to this node, by id. */
  declare readonly clients: Record<string, MidgeClient>
  /** Aedes' emitter as far as programs use it. */
  readonly mq: MessageQueue
  private readonly hooks: AedesHooks
  private readonly release: (() => Promise<void>) | undefined
  private connectionCount = 0
  private closing: Promise<void> | undefined = undefined

  /** @throws BrokerError `MIDGE_LIBRARY_UNSUPPORTED` without the parts that `createBroker` puts together */
  constructor(options: MidgeBrokerOptions) {
    super(aedesOptions(options))
    this.release = options.release
    this.hooks = new AedesHooks(this, {
      defaults: defaultHooks(),
      limits: options.limits,
      logger: options.logger,
      core: () => this.core,
      registry: options.isEmbedded === true ? this.clients : undefined,
      announce: options.isEmbedded === true ? (name, payload) => this.announce(name, payload) : undefined,
    })
    const door = options.door ?? new OpenDoor(options.counters)
    door.putFirst(this.hooks)
    this.core = new BrokerCore({ ...options, hooks: this.hooks, door })
    this.mq = new MessageQueue(this.core)
    this.connectedClients = 0
    this.handle = (stream, request) => this.take(stream, request)
    Object.defineProperty(this, 'brokers', { get: () => this.peers() })
  }

  /** @throws BrokerError always: Aedes' own would give a broker that is not Midge */
  static override createBroker(): Promise<never> {
    return Promise.reject(useCreateBroker())
  }

  /** Everything that this node counts, drops with their reasons included; see docs/metrics.md and docs/delivery.md. */
  get counters(): Counters {
    return this.core.services.counters
  }

  /** Starts the store's followers and sweepers. */
  async start(): Promise<void> {
    await this.core.start()
    this.closed = false
  }

  /** Aedes' word for it; `createBroker` has done so. */
  override async listen(): Promise<void> {
    if (this.closed) throw new BrokerError('MIDGE_LIBRARY_UNSUPPORTED', 'listen(): createBroker() listens already')
  }

  accept(stream: Duplex, info: ConnectionInfo): void {
    this.core.accept(stream, info)
  }

  acceptReads(stream: Duplex, info: ConnectionInfo): ReadSink {
    return this.core.acceptReads(stream, info)
  }

  /** Publishes on behalf of the server; `done` when the message is stored wherever its QoS wants it. */
  override publish(packet: AedesPublishInput, done?: Callback): void
  /** As Aedes does inside: on behalf of a client, whose `noLocal` subscriptions it does not reach. */
  override publish(packet: AedesPublishInput, client: Client | null, done?: Callback): void
  override publish(packet: AedesPublishInput, second?: Client | Callback | null, third?: Callback): void {
    const [client, done] = typeof second === 'function' ? [null, second] : [second ?? null, third]
    if (checkTopicName(packet.topic, this.core.services.limits.topicLevelsMax) !== 0) {
      done?.(new RangeError('not a topic name'))
      return
    }
    const message = toMessage(packet, client?.id ?? '')
    this.core.publisher.publish(DEFAULT_INSTANCE, message).then(
      stored => {
        if (stored) void this.hooks.published(undefined, message)
        done?.(stored ? NO_ERROR : new BrokerError('MIDGE_STORE_UNAVAILABLE', 'the message was not stored'))
      },
      (error: Error) => done?.(error),
    )
  }

  /** Calls `deliver` with every message of the filter, from any node; see `MessageQueue.on`. */
  override subscribe(topic: string, deliver: Deliver, done?: Callback): void {
    this.mq.on(topic, deliver, done)
  }

  override unsubscribe(topic: string, deliver: Deliver, done?: Callback): void {
    this.mq.removeListener(topic, deliver, done)
  }

  /** Ends every connection and lets go of the store; the servers that handed connections in are the program's. */
  override close(done?: () => void): void {
    this.stop().then(done, (error: unknown) => {
      this.core.services.logger.error({ event: 'node.stop_failed', err: error }, 'not everything could be let go of')
      done?.()
    })
  }

  /** As `close`, for those who wait for promises; rejects when something could not be let go of. */
  stop(): Promise<void> {
    this.closed = true
    this.closing ??= this.end()
    return this.closing
  }

  private async end(): Promise<void> {
    await this.core.stop()
    this.emit('closed')
    await this.release?.()
  }

  private take(stream: Duplex, request: IncomingMessage | undefined): MidgeClient {
    this.connectionCount++
    const connection = this.core.accept(stream, infoOf(stream, request, `library-${this.connectionCount}`))
    const client = this.hooks.clientOf(connection, request)
    Object.assign(stream, { client })
    return client
  }

  private announce(name: string, payload: string): void {
    if (!this.closed) this.publish({ topic: `$SYS/${this.id}/${name}`, payload })
  }

  /** Aedes keeps when it has heard of each other broker; here all of them are alive at this moment. */
  private peers(): Brokers {
    const now = this.core.services.nowMs()
    return Object.fromEntries(this.core.services.link.peers().map(nodeId => [nodeId, now]))
  }
}

function aedesOptions(options: MidgeBrokerOptions | undefined): object {
  if (options?.store === undefined) throw useCreateBroker()
  // Aedes makes an emitter of its own unless it is given one.
  return { ...pickHooks(options), id: options.nodeId, mq: {} }
}

function useCreateBroker(): BrokerError {
  const text = 'call createBroker({ redisUrl | dataDir | memory }) of @midge/broker-node'
  return new BrokerError('MIDGE_LIBRARY_UNSUPPORTED', text)
}

/** Aedes' default hooks, found on a broker that was given none. */
function defaultHooks(): AedesHookSet {
  return new Aedes({ mq: {} })
}

/** What can be known of a connection that a program has handed in. */
function infoOf(stream: Duplex, request: IncomingMessage | undefined, connectionId: string): ConnectionInfo {
  // A WebSocket stream has no address of its own; that of its upgrade request has.
  const socket = (request?.socket ?? stream) as Partial<Socket & TLSSocket>
  const isTls = socket.encrypted === true
  const isWebSocket = request !== undefined
  return {
    connectionId,
    transport: isWebSocket ? (isTls ? 'wss' : 'ws') : isTls ? 'tls' : 'tcp',
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
