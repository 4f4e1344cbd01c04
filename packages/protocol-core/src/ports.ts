import type { Message } from './message.ts'
import type { Qos } from './packet.ts'
import type { PublishRun } from './publish-run.ts'

/*
 * What the engine needs from the outside. Two kinds of adapter exist for each port: local (memory, or an embedded
 * database) for a node on its own, and Redis for a cluster. The contract suites in `testing/` hold both to the
 * promises written here.
 */

/** Session Expiry Interval that means "never" on the wire. v5 [MQTT-3.1.2-11.2]. */
export const SESSION_EXPIRY_NEVER = 0xffff_ffff

/** Name of an instance (tenant); a set-up with one instance uses {@link DEFAULT_INSTANCE}. */
export type InstanceName = string
/** The instance of a set-up that knows no other. */
export const DEFAULT_INSTANCE: InstanceName = 'default'

/** Options of one subscription of one session; `topicFilter` keeps its `$share/<group>/` prefix. */
export interface Subscription {
  topicFilter: string
  qos: Qos
  noLocal: boolean
  retainAsPublished: boolean
  retainHandling: 0 | 1 | 2
  /** 1 to 268,435,455, or 0 for none. */
  subscriptionId: number
}

/** A Will Message kept by the store for as long as its connection may still fail to end well. */
export interface StoredWill {
  message: Message
  willDelaySeconds: number
  /** Message Expiry Interval, counted from publication of the will; -1 for none. */
  messageExpirySeconds: number
}

/** A client connects: what its CONNECT asks of the session. See {@link Store.open}. */
export interface OpenRequest {
  instance: InstanceName
  clientId: string
  /** The node that becomes the owner. */
  nodeId: string
  /** Ends an existing session first. */
  cleanStart: boolean
  /** Already capped by the broker's limit; 0 ends the session with its connection. */
  sessionExpirySeconds: number
  will: StoredWill | undefined
  nowMs: number
}

/** The session as its new owner finds it. See {@link Store.open}. */
export interface OpenedSession {
  /** Grows with every open of this client id; every later write carries it and a stale one is refused. */
  epoch: number
  sessionPresent: boolean
  /** Empty unless `sessionPresent`. */
  subscriptions: Subscription[]
  /** Sequence number of the oldest unacknowledged queue entry; `tailSeq + 1` when the queue is empty. */
  headSeq: number
  /** Sequence number of the newest queue entry; 0 before the first. */
  tailSeq: number
  /**
   * Newest entry that may have been sent before: entries up to it are sent again with DUP, later ones without.
   * The `sentSeq` of the last `close`; the tail as it was when a connection ended without one (takeover, reaped node).
   * v5 [MQTT-3.3.1-1].
   */
  sentSeq: number
  /** Packet Identifiers of QoS 2 messages received from this client and not yet released. */
  inboundPacketIds: number[]
  /** Set when another connection of this client id was open: that node has to let go of `previous.epoch`. */
  previous: { nodeId: string; epoch: number } | undefined
  /**
   * Subscriptions of a session that this open has ended (clean start over a stored session): the caller withdraws
   * them from the directory.
   */
  endedSubscriptions: Subscription[]
}

/** Why a connection ended, as far as its will is concerned. */
export type WillFate = 'discard' | 'fire'

/** A connection has ended. See {@link Store.close}. */
export interface CloseRequest {
  instance: InstanceName
  clientId: string
  epoch: number
  /** Session Expiry Interval in force at the end (DISCONNECT may have changed it). */
  sessionExpirySeconds: number
  /** Newest queue entry that was sent on this connection or before it; returned by the next `open`. */
  sentSeq: number
  /** Queue entries that were acknowledged while an older one was not: they are dropped, and not sent again. */
  ackedAhead: number[]
  will: WillFate
  nowMs: number
}

/** One stored session that a message goes to, with what its own subscriptions decided. */
export interface SessionTarget {
  clientId: string
  /** min(message QoS, highest granted QoS of the matching subscriptions); 1 or 2. */
  qos: Qos
  /** RETAIN flag of this delivery (Retain As Published). */
  retain: boolean
  /** All matching Subscription Identifiers; `undefined` for none. */
  subscriptionIds: number[] | undefined
}

/** One shared-subscription group that a message goes to. */
export interface GroupTarget {
  /** `$share/<group>/<filter>`. */
  group: string
  /** QoS at which the group keeps the message; a member that was granted less receives it at its own. */
  qos: Qos
}

/** One PUBLISH to be made durable. */
export interface CommitItem {
  instance: InstanceName
  message: Message
  sessions: SessionTarget[]
  groups: GroupTarget[]
  /** Replace the retained message of this topic; an empty payload removes it. */
  retain: boolean
  /**
   * Set for a QoS 2 PUBLISH of a session that outlives its connection: the packet id is recorded with the message,
   * and an item whose id is already recorded commits nothing and reports `duplicate`.
   */
  inbound: { clientId: string; epoch: number; packetId: number } | undefined
}

/** What became of one {@link CommitItem}. */
export interface CommitResult {
  status: 'stored' | 'duplicate' | 'fenced'
  /**
   * Per entry of `sessions`: the queue sequence number; 0 when the queue was full and the message was dropped; -1 when
   * the session has ended in between.
   */
  seqs: number[]
  /** Groups (by position) whose queue was full. */
  droppedGroups: number
}

/** One message in a session's queue, in delivery order. */
export interface QueueEntry {
  seq: number
  qos: Qos
  retain: boolean
  subscriptionIds: number[] | undefined
  /** QoS 2: PUBREC has been received; only PUBREL is owed and `message` must not be sent again. */
  released: boolean
  message: Message
}

/** A message that a member of a share group has taken and not yet acknowledged. */
export interface TakenEntry {
  seq: number
  packetId: number
  qos: Qos
  /** QoS 2: PUBREC has been received. */
  released: boolean
  message: Message
}

/** A will that is due, claimed by the caller. */
export interface DueWill {
  /** Identity for `confirmWill`; a will is published at most once per id inside the claim. */
  id: string
  instance: InstanceName
  clientId: string
  will: StoredWill
}

/** A session that has just ended by its expiry, with the subscriptions to withdraw from the directory. */
export interface ExpiredSession {
  instance: InstanceName
  clientId: string
  subscriptions: Subscription[]
}

/** What one {@link Store.sweep} has claimed. */
export interface SweepResult {
  wills: DueWill[]
  expired: ExpiredSession[]
}

/** A stored session as the store lists it at start-up of a node. */
export interface StoredSubscription {
  instance: InstanceName
  clientId: string
  subscription: Subscription
}

/** Calls the store makes when other nodes have changed something this node serves. */
export interface StoreListener {
  /**
   * The queue of a session owned by this node has grown up to `tailSeq` by another node's commit. May be lost or
   * repeated: it is a hint, the queue is the truth.
   */
  onQueueGrew(instance: InstanceName, clientId: string, tailSeq: number): void
  /** The link to the store was re-established: hints may have been lost, so every owned queue has to be looked at. */
  onReconnected(): void
}

/** Bounds that the store enforces inside its own atomic step. */
export interface QueueLimits {
  /** Messages a session keeps while nobody is connected to it. */
  offlineMessagesMax: number
  offlineBytesMax: number
  /** Messages a session keeps while a connection is there but acknowledges slowly. */
  onlineMessagesMax: number
  onlineBytesMax: number
}

/**
 * Sessions, queues, wills and retained messages.
 *
 * General promises: a promise resolves only when the change survives the death of this node (for the `memory`
 * adapter: of nothing). Rejections are `BrokerError`s; `MIDGE_STORE_UNAVAILABLE` means the outcome is unknown and the
 * call may be repeated. Calls that take an epoch reject with `MIDGE_SESSION_FENCED` when a newer open has happened.
 */
export interface Store {
  setListener(listener: StoreListener): void

  /**
   * Makes `nodeId` the owner of the session, atomically: creates, resumes, or (clean start) ends and creates it.
   * The will of a connection that this open displaces becomes due at once, except that a positive Will Delay of a
   * resumed session cancels it. v5 [MQTT-3.1.2-8], [MQTT-3.1.2-10]; v3.1.1 [MQTT-3.1.4-2].
   */
  open(request: OpenRequest): Promise<OpenedSession>

  /**
   * Ends the connection of `epoch`. The session ends now when its expiry is 0, else it starts to expire. A fired will
   * becomes due after its delay or at the end of the session, whichever is first. Unacknowledged group messages
   * below QoS 2 go back to their groups; those at QoS 2 of a session that ends are dropped. v5 [MQTT-4.8.2-5].
   * @returns the subscriptions of a session that ended with this call, for the directory; else an empty array
   */
  close(request: CloseRequest): Promise<Subscription[]>

  /** Adds or replaces subscriptions of the session record (only called for sessions that outlive their connection). */
  saveSubscriptions(
    instance: InstanceName,
    clientId: string,
    epoch: number,
    subscriptions: Subscription[],
  ): Promise<void>
  removeSubscriptions(instance: InstanceName, clientId: string, epoch: number, topicFilters: string[]): Promise<void>

  /**
   * Stores a batch: queue appends, group appends, retained changes, inbound QoS 2 ids. Items of one batch and later
   * batches of the same caller take effect in order. A queue that is at its limit refuses the newest message.
   * Retained changes of one topic are atomic: a reader sees the old message or the new one.
   * @returns one result per item, in order
   */
  commit(items: CommitItem[]): Promise<CommitResult[]>

  /**
   * Queue entries from `fromSeq` on, oldest first, at most `countMax` and about 256 KiB. Expired ones are left out,
   * except those up to `sentSeq`: a delivery that has begun is completed. v5 [MQTT-4.3.3-7].
   */
  readQueue(
    instance: InstanceName,
    clientId: string,
    epoch: number,
    fromSeq: number,
    countMax: number,
  ): Promise<QueueEntry[]>
  /** Current tail of a session's queue; used after `onReconnected`. 0 when there is no session. */
  tailSeq(instance: InstanceName, clientId: string): Promise<number>
  /** Drops every entry up to and including `upToSeq`. Idempotent. */
  ackQueue(instance: InstanceName, clientId: string, epoch: number, upToSeq: number): Promise<void>
  /** Records that PUBREC of these entries has arrived, so that a resumed session gets PUBREL. */
  releaseQueue(instance: InstanceName, clientId: string, epoch: number, seqs: number[]): Promise<void>
  /** Forgets an inbound QoS 2 packet id (PUBREL has arrived). Idempotent. */
  forgetInbound(instance: InstanceName, clientId: string, epoch: number, packetId: number): Promise<void>

  /**
   * A member takes up to `packetIds.length` messages of its group, oldest first; each is marked with the member, its
   * epoch and one of the packet ids, and belongs to nobody else until acknowledged or returned.
   */
  takeGroup(
    instance: InstanceName,
    group: string,
    clientId: string,
    epoch: number,
    packetIds: number[],
  ): Promise<TakenEntry[]>
  /** What a resumed member still holds of the group (QoS 2), oldest first, marked with its new epoch. */
  heldOfGroup(instance: InstanceName, group: string, clientId: string, epoch: number): Promise<TakenEntry[]>
  ackGroup(instance: InstanceName, group: string, clientId: string, seqs: number[]): Promise<void>
  releaseGroup(instance: InstanceName, group: string, clientId: string, seqs: number[]): Promise<void>
  /**
   * Gives unacknowledged messages of a member back to the group, in their old order; `keepQos2` keeps those at QoS 2.
   * One whose PUBREC has arrived is never given to another member: without `keepQos2` it is dropped.
   */
  returnToGroup(instance: InstanceName, group: string, clientId: string, keepQos2: boolean): Promise<void>
  /** Forgets a group without members, its queue included. */
  deleteGroup(instance: InstanceName, group: string): Promise<void>

  /**
   * One page of retained messages whose topic matches, expired ones left out. Pass the `cursor` of the last page to
   * go on; `undefined` ends. A topic that is there during the whole walk appears exactly once. A page may be short or empty
   * while there is a cursor.
   */
  matchRetained(
    instance: InstanceName,
    topicFilter: string,
    cursor: string | undefined,
    countMax: number,
  ): Promise<RetainedPage>

  /**
   * Claims what is due by `nowMs`: wills to publish, sessions to end. A claimed will that is not confirmed within
   * 10 s becomes due again. Expired sessions are gone when this resolves.
   */
  sweep(nodeId: string, nowMs: number, countMax: number): Promise<SweepResult>
  confirmWill(instance: InstanceName, clientId: string, id: string): Promise<void>
  /**
   * Ends the connections of a node that is gone as if each had been closed with its will fired, at most `countMax` a
   * call. @returns how many were found; 0 means the node has left nothing behind.
   */
  reapNode(nodeId: string, nowMs: number, countMax: number): Promise<number>

  /** Every subscription of every stored session, in pages, for a node that builds its directory. */
  listSubscriptions(): AsyncIterable<StoredSubscription[]>

  /** Resolves when the store answers; rejects with `MIDGE_STORE_UNAVAILABLE`. */
  ping(): Promise<void>
  /** Flushes and lets go; no call may follow. */
  stop(): Promise<void>
}

/** One page of {@link Store.matchRetained}. */
export interface RetainedPage {
  messages: Message[]
  cursor: string | undefined
}

/** Why a node wants messages of a filter; see {@link Directory}. */
export const RouteInterest = {
  /** Withdraws the route. */
  none: 0,
  /** Only QoS 0 messages: all subscribers are stored sessions that are fed from their queues otherwise. */
  qos0: 1,
  /** Every message: at least one subscriber lives only as long as its connection, or was granted QoS 0. */
  all: 2,
} as const
export type RouteInterest = (typeof RouteInterest)[keyof typeof RouteInterest]

/** Receives the directory's view; called for other nodes' changes and, for stored subscriptions, for one's own too. */
export interface DirectoryListener {
  /** `topicFilter` may be a shared one; then the node has that many online members behind it. */
  onRoute(nodeId: string, instance: InstanceName, topicFilter: string, interest: RouteInterest): void
  onStored(instance: InstanceName, clientId: string, subscription: Subscription): void
  onStoredRemoved(instance: InstanceName, clientId: string, topicFilter: string): void
  /** A node has left or lost its routes: forget all of them. */
  onNodeGone(nodeId: string): void
  /** All stored subscriptions are about to be told again from the start. */
  onStoredReset(): void
}

/**
 * Who wants what, known to every node in memory.
 *
 * Two tables: routes (filter → nodes with online subscribers; owned and rewritten by each node) and stored
 * subscriptions (filter → sessions that outlive their connection; owned by the cluster). Changes are applied locally
 * at once, written in batches, and reach every live node in order.
 */
export interface Directory {
  /** Loads both tables, tells them to `listener`, then follows changes. */
  start(listener: DirectoryListener): Promise<void>
  setRoute(instance: InstanceName, topicFilter: string, interest: RouteInterest): void
  addStored(instance: InstanceName, clientId: string, subscription: Subscription): void
  removeStored(instance: InstanceName, clientId: string, topicFilter: string): void
  /**
   * The SUBACK barrier: resolves when everything changed here so far is written and every live node has applied it.
   * @returns false when the cap (500 ms) passed first: the caller answers anyway and counts it
   */
  settled(): Promise<boolean>
  /** True while this node's tables are known to be complete; when false the caller sends to every live node. */
  inSync(): boolean
  stop(): Promise<void>
}

/** Receives what other nodes send to this one. */
export interface LinkListener {
  /** A message published elsewhere, for this node's online subscribers; `groups` names shared subscriptions to serve (QoS 0). */
  onMessage(instance: InstanceName, message: Message, groups: string[]): void
  /** Neighbouring QoS 0 messages of one topic, sent by {@link NodeLink.sendRun}. */
  onRun(instance: InstanceName, run: PublishRun): void
  /** A group with members here has messages to take. */
  onGroupGrew(instance: InstanceName, group: string): void
  /** Another node opened this client id with a newer epoch: close the connection of `epoch` or older. */
  onTakeover(instance: InstanceName, clientId: string, epoch: number): void
  /** A node joined or left the cluster. */
  onNodesChanged(liveNodeIds: string[]): void
  /** A node died (lease expired) and this node was elected to clean up after it. */
  onNodeDead(nodeId: string): void
  /** This node could not confirm its own lease in time: it must stop acknowledging and let go of its clients. */
  onLeaseLost(): void
}

/**
 * The way to the other nodes. Messages go into each node's inbox in frames, in the order of the calls; a frame leaves
 * with the tick, at 64 KiB, or at 200 messages.
 */
export interface NodeLink {
  /** Registers the node, starts the heartbeat and the inbox. */
  start(listener: LinkListener): Promise<void>
  /** Ids of the live nodes other than this one. */
  peers(): string[]
  /** Queues a message for a node; never waits. `groups` as in {@link LinkListener.onMessage}. */
  send(nodeId: string, instance: InstanceName, message: Message, groups: string[]): void
  /** Queues a run for a node, as one entry; the bytes are copied before the call returns. */
  sendRun(nodeId: string, instance: InstanceName, run: PublishRun): void
  pokeGroup(nodeId: string, instance: InstanceName, group: string): void
  takeover(nodeId: string, instance: InstanceName, clientId: string, epoch: number): void
  /** Resolves when everything sent so far is in the inboxes; rejects with `MIDGE_STORE_UNAVAILABLE`. */
  flushed(): Promise<void>
  /** True while the lease is valid. */
  hasLease(): boolean
  /** Leaves the cluster: peers see a node that went, not one that died. */
  stop(): Promise<void>
}
