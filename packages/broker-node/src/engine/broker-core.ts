import type { Duplex } from 'node:stream'
import {
  BrokerError,
  type Directory,
  type DirectoryListener,
  instanceKey,
  type LinkListener,
  type Message,
  type NodeLink,
  type ProtocolError,
  type PublishRun,
  ReasonCode,
  RouteInterest,
  type Store,
  type Subscription,
} from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { ConnectionInfo, EnhancedAuthenticator, Logger } from '../ports.ts'
import { Connection } from './connection/connection.ts'
import { describe } from './connection/describe.ts'
import { Groups } from './delivery/groups.ts'
import { Publisher } from './delivery/publisher.ts'
import type { CloseHow } from './ground/close-how.ts'
import type { Hooks } from './ground/hooks.ts'
import type { EngineLimits } from './ground/limits.ts'
import { Router } from './routing/router.ts'
import { type Hints, Openings } from './sessions/openings.ts'
import type { QueueReader } from './sessions/queue-reader.ts'
import type { Session } from './sessions/session.ts'
import { endSession } from './sessions/session-end.ts'
import { Sweeper } from './sessions/sweeper.ts'

/** How long a peer may take to answer the end of its connection before the socket is destroyed. */
const LINGER_MS = 2000
const DRAIN_SLICE_CONNECTIONS = 200
const DRAIN_SLICE_PAUSE_MS = 50

/** What the engine is built from. */
export interface BrokerCoreOptions {
  nodeId: string
  limits: EngineLimits
  counters: Counters
  logger: Logger
  store: Store
  directory: Directory
  link: NodeLink
  hooks: Hooks
  enhancedAuthenticator?: EnhancedAuthenticator
  /** Wall clock, for tests. */
  nowMs?: () => number
}

/**
 * The data plane of one node: its connections and sessions, routing, and the ways to the store and to other nodes.
 *
 * Everything collected in one turn of the event loop (frames, commits, acknowledgements to the store) leaves together
 * at its end, so the cost per message is an append.
 */
export class BrokerCore {
  readonly nodeId: string
  readonly limits: EngineLimits
  readonly counters: Counters
  readonly logger: Logger
  readonly store: Store
  readonly directory: Directory
  readonly link: NodeLink
  readonly hooks: Hooks
  readonly enhancedAuthenticator: EnhancedAuthenticator | undefined
  readonly nowMs: () => number
  readonly publisher: Publisher
  readonly groups: Groups
  readonly connections: Set<Connection> = new Set()
  readonly openings: Openings = new Openings()
  /** Grows when permissions may have changed: every cached permission is asked for again. */
  permissionVersion = 0
  isDraining = false
  private readonly sweeper: Sweeper
  private readonly routers = new Map<string, Router>()
  private readonly sessions = new Map<string, Session>()
  private readonly interests = new Map<string, RouteInterest>()
  private readonly ackFlushes: QueueReader[] = []
  private dirty: Connection[] = []
  private isTickQueued = false
  private isSyncKnown = false
  private isOutOfSync = false
  private hasGroupAcks = false
  /** Ends of sessions that the store does not know of yet, by client. */
  private readonly endings = new Map<string, Promise<void>>()

  constructor(options: BrokerCoreOptions) {
    this.nodeId = options.nodeId
    this.limits = options.limits
    this.counters = options.counters
    this.logger = options.logger
    this.store = options.store
    this.directory = options.directory
    this.link = options.link
    this.hooks = options.hooks
    this.enhancedAuthenticator = options.enhancedAuthenticator
    this.nowMs = options.nowMs ?? Date.now
    this.publisher = new Publisher(this)
    this.groups = new Groups(this)
    this.sweeper = new Sweeper(this)
  }

  /** True while the route table may be incomplete: then every node gets every message. */
  get sendsToAll(): boolean {
    // Asked for every message; the answer holds for the tick.
    if (!this.isSyncKnown) {
      this.isSyncKnown = true
      this.isOutOfSync = !this.directory.inSync()
      if (!this.isTickQueued) this.queueTick()
    }
    return this.isOutOfSync
  }

  async start(): Promise<void> {
    this.store.setListener({
      onQueueGrew: (instance, clientId, tailSeq) => {
        this.openings.onGrew(instance, clientId, tailSeq)
        this.sessionOf(instance, clientId)?.queue?.onGrew(tailSeq)
      },
      onReconnected: () => this.refreshQueues(),
    })
    await this.link.start(this.linkListener())
    await this.directory.start(this.directoryListener())
    this.sweeper.start()
  }

  accept(stream: Duplex, info: ConnectionInfo): Connection {
    const connection = new Connection(this, stream, info)
    this.connections.add(connection)
    this.counters.connectionsOpened++
    this.counters.connectionsCurrent++
    if (this.isDraining) connection.shut('shutting down', 'refused')
    return connection
  }

  routerOf(instance: string): Router {
    let router = this.routers.get(instance)
    if (router === undefined) {
      router = new Router()
      this.routers.set(instance, router)
    }
    return router
  }

  /** Names of the instances that have been used on this node. */
  instances(): IterableIterator<string> {
    return this.routers.keys()
  }

  sessionOf(instance: string, clientId: string): Session | undefined {
    return this.sessions.get(instanceKey(instance, clientId))
  }

  /**
   * Runs the opening of a session up to its `register`. Another node may open the same session meanwhile and its
   * takeover may arrive before there is a session here to close: `register` then refuses.
   */
  whileOpening<T>(instance: string, clientId: string, open: (hints: Hints) => Promise<T>): Promise<T> {
    return this.openings.during(instance, clientId, open)
  }

  /**
   * Makes the session the one of its client id on this node.
   * @returns false when a newer one is already there: the caller's connection has been overtaken
   */
  register(session: Session): boolean {
    const key = instanceKey(session.instance, session.clientId)
    const other = this.sessions.get(key)
    if (other !== undefined && other.epoch > session.epoch) return false
    if (this.openings.overtakenBy(session.instance, session.clientId) >= session.epoch) return false
    this.sessions.set(key, session)
    this.counters.sessionsCurrent = this.sessions.size
    if (other !== undefined) this.takeOver(other)
    return true
  }

  unregister(session: Session): void {
    const key = instanceKey(session.instance, session.clientId)
    if (this.sessions.get(key) === session) this.sessions.delete(key)
    this.counters.sessionsCurrent = this.sessions.size
  }

  /** Tells the cluster what this node wants of a filter, if that has changed. */
  updateRoute(instance: string, topicFilter: string): void {
    const interest = this.routerOf(instance).interestIn(topicFilter)
    const key = instanceKey(instance, topicFilter)
    if ((this.interests.get(key) ?? RouteInterest.none) === interest) return
    if (interest === RouteInterest.none) this.interests.delete(key)
    else this.interests.set(key, interest)
    this.directory.setRoute(instance, topicFilter, interest)
  }

  sendToNode(nodeId: string, instance: string, message: Message, groups: string[]): void {
    this.counters.linkMessagesSent++
    this.link.send(nodeId, instance, message, groups)
  }

  sendRunToNode(nodeId: string, instance: string, run: PublishRun): void {
    this.counters.linkMessagesSent += run.count
    this.link.sendRun(nodeId, instance, run)
  }

  pokeSweeper(): void {
    this.sweeper.poke()
  }

  // --- the end of the tick -----------------------------------------------------------------------------------------

  queueFlush(connection: Connection): void {
    this.dirty.push(connection)
    if (!this.isTickQueued) this.queueTick()
  }

  queueCommit(): void {
    if (!this.isTickQueued) this.queueTick()
  }

  queueAckFlush(queue: QueueReader): void {
    this.ackFlushes.push(queue)
    if (!this.isTickQueued) this.queueTick()
  }

  queueGroupAcks(): void {
    this.hasGroupAcks = true
    if (!this.isTickQueued) this.queueTick()
  }

  private queueTick(): void {
    this.isTickQueued = true
    setImmediate(this.endTick)
  }

  private readonly endTick = (): void => {
    this.isTickQueued = false
    this.isSyncKnown = false
    this.publisher.flush()
    const { dirty } = this
    this.dirty = []
    for (let i = 0; i < dirty.length; i++) dirty[i]?.flush()
    if (this.ackFlushes.length > 0) {
      for (const queue of this.ackFlushes.splice(0)) {
        queue.flushAcks().catch((error: unknown) => this.onBackgroundFailure('acknowledgement', error))
      }
    }
    if (this.hasGroupAcks) {
      this.hasGroupAcks = false
      this.groups.flushAcks()
    }
  }

  // --- ends of connections -----------------------------------------------------------------------------------------

  onConnectionEnded(connection: Connection, how: CloseHow, wasOpen: boolean): void {
    this.connections.delete(connection)
    this.counters.connectionsCurrent--
    this.counters.connectionsClosed++
    const { session } = connection
    if (wasOpen && this.logger.isLevelEnabled('info')) {
      this.logger.info(
        { event: 'client.disconnected', ...describe(connection), reason: connection.closeReason },
        'client disconnected',
      )
    }
    if (session === undefined) return
    const key = instanceKey(session.instance, session.clientId)
    const earlier = this.endings.get(key)
    const ending = endSession(this, session, how)
      .catch((error: unknown) => this.onBackgroundFailure('end of a session', error))
      .then(() => earlier)
      .finally(() => {
        if (this.endings.get(key) === ending) this.endings.delete(key)
      })
    this.endings.set(key, ending)
    this.hooks.disconnected(connection)
  }

  /** Resolves when the store knows how earlier connections of this client have ended. */
  endingOf(instance: string, clientId: string): Promise<void> | undefined {
    return this.endings.get(instanceKey(instance, clientId))
  }

  destroyLater(stream: Duplex): void {
    setTimeout(() => stream.destroy(), LINGER_MS).unref()
  }

  onProtocolError(connection: Connection, error: ProtocolError): void {
    if (!this.logger.isLevelEnabled('debug')) return
    const fields = { event: 'client.protocol_error', ...describe(connection), reasonCode: error.reasonCode }
    this.logger.debug(fields, error.text)
  }

  onInternalError(connection: Connection, error: unknown): void {
    this.logger.error(
      { event: 'connection.bug', ...describe(connection), err: error },
      'unexpected failure in one connection',
    )
    this.hooks.failed(connection, error instanceof Error ? error : new Error(String(error)))
  }

  onStreamError(connection: Connection, error: Error): void {
    if (this.logger.isLevelEnabled('debug')) {
      this.logger.debug({ event: 'connection.error', ...describe(connection), err: error }, 'connection failed')
    }
    this.hooks.failed(connection, error)
  }

  onStoreFailure(connection: Connection, error: unknown): void {
    if (error instanceof BrokerError && error.code === 'MIDGE_SESSION_FENCED') {
      this.counters.fencedWrites++
      connection.close(ReasonCode.sessionTakenOver, 'session taken over', { isFenced: true })
      return
    }
    if (!(error instanceof BrokerError)) this.onInternalError(connection, error)
    connection.close(ReasonCode.serverBusy, 'store not available')
  }

  /** A failure that no single connection has to answer for. */
  onBackgroundFailure(what: string, error: unknown): void {
    if (error instanceof BrokerError && error.code === 'MIDGE_SESSION_FENCED') {
      this.counters.fencedWrites++
      return
    }
    this.logger.warn({ event: 'store.failure', what, err: error }, `${what}: the store did not take it`)
  }

  /** Asks every hook again for what clients may do, for example after rules have changed. */
  permissionsChanged(): void {
    this.permissionVersion++
  }

  /**
   * Moves all clients off, a slice at a time. v5 clients are told to use another server (0x9C with a reference, else
   * 0x8B). Resolves when their sessions are closed in the store and everything published here is stored.
   */
  async drain(options: { serverReference?: string } = {}): Promise<void> {
    this.isDraining = true
    const reference = options.serverReference
    while (this.connections.size > 0) {
      let count = 0
      for (const connection of this.connections) {
        if (count++ === DRAIN_SLICE_CONNECTIONS) break
        if (reference === undefined) connection.close(ReasonCode.serverShuttingDown, 'server shutting down')
        else connection.close(ReasonCode.useAnotherServer, 'server shutting down', { serverReference: reference })
      }
      await new Promise(resolve => setTimeout(resolve, DRAIN_SLICE_PAUSE_MS))
    }
    await this.publisher.settled()
    await Promise.all(this.endings.values())
  }

  /** Lets go of everything at once; the store, directory and link are stopped by whoever made them. */
  async stop(): Promise<void> {
    this.isDraining = true
    this.sweeper.stop()
    for (const connection of [...this.connections]) {
      connection.close(ReasonCode.serverShuttingDown, 'server shutting down')
      connection.stream.destroy()
    }
    await this.publisher.settled()
    await Promise.all(this.endings.values())
  }

  /** Another node owns the session of this client id since `epoch + 1`. */
  onTakeover(instance: string, clientId: string, epoch: number): void {
    this.openings.onTakeover(instance, clientId, epoch)
    const session = this.sessionOf(instance, clientId)
    if (session !== undefined && session.epoch <= epoch) this.takeOver(session)
  }

  private takeOver(session: Session): void {
    this.counters.sessionsTakenOver++
    session.connection.close(ReasonCode.sessionTakenOver, 'session taken over', { isFenced: true })
  }

  private refreshQueues(): void {
    for (const session of this.sessions.values()) {
      if (session.queue === undefined) continue
      this.store
        .tailSeq(session.instance, session.clientId)
        .then(tailSeq => session.queue?.onGrew(tailSeq))
        .catch((error: unknown) => this.onBackgroundFailure('queue refresh', error))
    }
  }

  private linkListener(): LinkListener {
    return {
      onMessage: (instance, message, groups) => this.publisher.onRemote(instance, message, groups),
      onRun: (instance, run) => this.publisher.onRemoteRun(instance, run),
      onGroupGrew: (instance, group) => this.groups.onGrew(instance, group),
      onTakeover: (instance, clientId, epoch) => this.onTakeover(instance, clientId, epoch),
      onNodesChanged: nodeIds => {
        this.logger.info({ event: 'cluster.nodes', nodes: nodeIds }, `nodes in the cluster: ${nodeIds.length}`)
      },
      onNodeDead: nodeId => this.sweeper.reap(nodeId),
      onLeaseLost: () => this.letGo(),
    }
  }

  /** Without a lease others may own these sessions by now: nothing more may be acknowledged here. */
  private letGo(): void {
    this.logger.error({ event: 'node.lease_lost' }, 'this node could not confirm its lease; closing its clients')
    for (const connection of [...this.connections]) {
      connection.close(ReasonCode.serverBusy, 'node lost its lease', { isFenced: true })
    }
  }

  private directoryListener(): DirectoryListener {
    return {
      onRoute: (nodeId, instance, topicFilter, interest) =>
        this.routerOf(instance).setRoute(nodeId, topicFilter, interest),
      onStored: (instance: string, clientId: string, subscription: Subscription) =>
        this.routerOf(instance).addStored(clientId, subscription),
      onStoredRemoved: (instance, clientId, topicFilter) => this.routerOf(instance).removeStored(clientId, topicFilter),
      onNodeGone: nodeId => {
        for (const router of this.routers.values()) router.removeNode(nodeId)
      },
      onStoredReset: () => {
        for (const router of this.routers.values()) router.removeAllStored()
      },
    }
  }
}
