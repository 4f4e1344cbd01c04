import type { Duplex } from 'node:stream'
import type { Directory, InstanceName, LinkListener, NodeLink, QuotaStore, Store } from '@midge/protocol-core'
import type { Limits } from '../config/schema.ts'
import type { Counters } from '../counters.ts'
import type { ConnectionInfo, Door, InstanceLimits, Logger, ReadSink } from '../ports.ts'
import { Connection } from './connection/connection.ts'
import { Connections } from './connection/connections.ts'
import { Linger } from './connection/linger.ts'
import { Forwarder } from './delivery/forwarder.ts'
import { GroupQueues } from './delivery/group-queues.ts'
import { Publisher } from './delivery/publisher.ts'
import type { Client } from './ground/client.ts'
import type { Hooks } from './ground/hooks.ts'
import { HookRights } from './ground/rights.ts'
import type { EngineServices } from './ground/services.ts'
import { type Flushable, FlushList, Tick } from './ground/tick.ts'
import { Usages } from './limits/usages.ts'
import { ClientPackets, type PacketParts } from './packets/client-packets.ts'
import type { OpenClient } from './packets/open-client.ts'
import { handleSubscribe, handleUnsubscribe, type SubscribeWish, type UnsubscribeWish } from './packets/subscribe.ts'
import { Routers } from './routing/routers.ts'
import { SessionEnds } from './sessions/session-ends.ts'
import { SessionRegistry } from './sessions/session-registry.ts'
import { Sweeper } from './sessions/sweeper.ts'
import { WillPublisher } from './sessions/will-publisher.ts'

/** What the engine is built from. */
export interface BrokerCoreOptions {
  nodeId: string
  limits: Limits
  counters: Counters
  logger: Logger
  store: Store
  directory: Directory
  link: NodeLink
  quotas: QuotaStore
  /** Without it no instance has limits. */
  instanceLimits?: InstanceLimits
  hooks: Hooks
  door: Door
  /** Wall clock, for tests. */
  nowMs?: () => number
}

/** Connections of one instance; of one of its users, one client id, or both. */
export interface ClientSelection {
  instance: InstanceName
  username?: string
  clientId?: string
}

const NO_LIMITS: InstanceLimits = { version: 0, planOf: () => undefined }

/** The data plane of one node, put together: what a part does is written in its own file. */
export class BrokerCore {
  readonly services: EngineServices
  readonly routers: Routers
  readonly sessions: SessionRegistry
  readonly groups: GroupQueues
  readonly publisher: Publisher
  readonly connections: Connections
  /** Another node wants this one out of service. More than the engine belongs to that, so whoever composes a node sets it. */
  onDrainAsked: () => void = () => void this.drain()
  /** Another node asks what only this one knows; whoever composes a node sets it. */
  onQuestion: (question: string) => Promise<string> = () => Promise.reject(new Error('nobody answers questions here'))
  private readonly rights: HookRights
  private readonly ends: SessionEnds
  private readonly sweeper: Sweeper
  private readonly packetParts: PacketParts
  private readonly usages: Usages

  constructor(options: BrokerCoreOptions) {
    const tick = new Tick()
    const { nowMs = Date.now, quotas, instanceLimits = NO_LIMITS, ...rest } = options
    const services: EngineServices = { ...rest, nowMs, tick }
    const routers = new Routers(services)
    const sessions = new SessionRegistry(services)
    const groups = new GroupQueues(services, routers)
    const forwarder = new Forwarder(services)
    const usages = new Usages(services, { quotas, instanceLimits })
    const publisher = new Publisher({ services, routers, sessions, groups, forwarder, usages })
    const outlets = new FlushList<Flushable>(tick)
    const ackFlushes = new FlushList<Flushable>(tick)
    // What is published in a tick is handed to the store before anything else leaves.
    for (const member of [forwarder, publisher, outlets, ackFlushes, groups]) tick.join(member)
    const linger = new Linger()
    const connections = new Connections({ services, outlets, linger, sinkOf: connection => this.sinkOf(connection) })
    this.services = services
    this.routers = routers
    this.sessions = sessions
    this.groups = groups
    this.publisher = publisher
    this.connections = connections
    this.usages = usages
    usages.onChanged = ({ instance }) => {
      for (const connection of connections) if (connection.instance === instance) connection.onLimits()
    }
    this.rights = new HookRights(services.hooks)
    const wills = new WillPublisher({ services, publisher })
    this.sweeper = new Sweeper({ services, routers, wills, groups, connections })
    this.ends = new SessionEnds({ services, sessions, routers, publisher, groups, sweeper: this.sweeper })
    this.packetParts = {
      ...{ services, routers, sessions, groups, publisher, connections, usages },
      ...{ ends: this.ends, wills, rights: this.rights },
      sessionParts: { services, groups, ackFlushes },
    }
  }

  private sinkOf(connection: Connection): ClientPackets {
    return new ClientPackets(this.packetParts, connection)
  }

  async start(): Promise<void> {
    const { directory, link, store } = this.services
    store.setListener({
      onQueueGrew: (instance, clientId, tailSeq) => this.sessions.onQueueGrew(instance, clientId, tailSeq),
      onReconnected: () => {
        this.sessions.refreshQueues()
        this.usages.keepSlots()
      },
    })
    await link.start(this.linkListener())
    await directory.start(this.routers.directoryListener())
    this.sweeper.start()
    this.usages.start()
  }

  accept(stream: Duplex, info: ConnectionInfo): Connection {
    return this.connections.accept({ stream, info, takesReads: false })
  }

  /** @returns whom the bytes of the connection have to be given */
  acceptReads(stream: Duplex, info: ConnectionInfo): ReadSink {
    return this.connections.accept({ stream, info, takesReads: true }).reads
  }

  /**
   * The client as it is connected here, for what an application does on its behalf; `undefined` before CONNACK and after
   * the end.
   */
  openClientOf(client: Client): OpenClient | undefined {
    const session = this.sessions.sessionOf(client.instance, client.clientId)
    if (session === undefined || !(client instanceof Connection) || session.outlet !== client) return undefined
    const router = this.routers.of(client.instance)
    const usage = this.usages.of(client.instance)
    return { connection: client, session, router, rights: client.rights, isBridge: client.isBridge, usage }
  }

  /** Subscribes as if the client had asked for it: its later packets wait until that is done. */
  subscribeFor(client: OpenClient, wish: SubscribeWish): Promise<void> {
    // What it has published may be on its way into the store: it is waited for.
    const step = handleSubscribe(this.packetParts, { ...client, hasPending: true }, wish)
    client.connection.waitFor(step)
    return step
  }

  /** Unsubscribes as if the client had asked for it: its later packets wait until that is done. */
  unsubscribeFor(client: OpenClient, wish: UnsubscribeWish): Promise<void> {
    const step = handleUnsubscribe(this.packetParts, client, wish)
    client.connection.waitFor(step)
    return step
  }

  /** Something that the clock decides about may be due. */
  pokeSweeper(): void {
    this.sweeper.poke()
  }

  /** Asks again for what clients may do, for example after rules have changed. */
  permissionsChanged(): void {
    this.rights.version++
  }

  /** Closes the connection of this client with a reason, if it has one here. */
  kick(instance: InstanceName, clientId: string, reasonCode: number): void {
    this.sessions.sessionOf(instance, clientId)?.outlet.close(reasonCode, 'closed by an operator')
  }

  /**
   * Closes the connections of this node that the selection names, because what let them in is no more. Their sessions
   * stay, and end like those of broken connections.
   *
   * @param why - a v5 client is told
   * @returns how many there were
   */
  closeClients(selection: ClientSelection, why: { reasonCode: number; reason: string }): Promise<number> {
    const { instance, username, clientId } = selection
    return this.connections.closeWhere(
      client =>
        client.instance === instance &&
        (username === undefined || client.username === username) &&
        (clientId === undefined || client.clientId === clientId),
      why,
    )
  }

  /**
   * Moves all clients off. v5 clients are told to use another server. Resolves when their sessions are closed in the
   * store and everything published here is stored.
   */
  async drain(options: { serverReference?: string } = {}): Promise<void> {
    this.ends.stopRetrying()
    await this.connections.drain(options.serverReference)
    await this.ended()
  }

  /** Resolves when the store knows of every connection that has closed by now, and wills that were due with it are out. */
  async ended(): Promise<void> {
    await this.settled()
    await this.sweeper.settled()
  }

  /** Lets go of everything at once; the store, directory and link are stopped by whoever made them. */
  async stop(): Promise<void> {
    this.ends.stopRetrying()
    const swept = this.sweeper.stop()
    this.connections.stop()
    this.usages.stop()
    await this.settled()
    await swept
  }

  private async settled(): Promise<void> {
    await this.publisher.settled()
    await this.sessions.allEnded()
  }

  private linkListener(): LinkListener {
    const { logger, nodeId } = this.services
    return {
      onMessage: (instance, message, groups) => this.publisher.onRemote(instance, message, groups),
      onRun: (instance, run) => this.publisher.onRemoteRun(instance, run),
      onGroupGrew: (instance, group) => this.groups.onGrew(instance, group),
      onTakeover: (instance, clientId, epoch) => this.sessions.release(instance, clientId, epoch),
      onKick: (instance, clientId, reasonCode) => this.kick(instance, clientId, reasonCode),
      onDrain: () => this.onDrainAsked(),
      onQuestion: question => this.onQuestion(question),
      onNodesChanged: peers => {
        const nodes = [nodeId, ...peers]
        const text = nodes.length === 1 ? '1 node in the cluster' : `${nodes.length} nodes in the cluster`
        logger.info({ event: 'cluster.nodes', nodes }, text)
      },
      onNodeDead: deadNodeId => this.sweeper.reap(deadNodeId),
      onLeaseLost: () => {
        logger.error({ event: 'node.lease_lost' }, 'this node could not confirm its lease; closing its clients')
        this.connections.letGo()
      },
    }
  }
}
