import type { Message } from './message.ts'
import type { TakeoverAnswer } from './node-command.ts'
import type { InstanceName } from './ports/instance-name.ts'
import type { Subscription } from './ports/subscription.ts'
import type { PublishRun } from './publish-run.ts'

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
  /**
   * Another node opened this client id with a newer epoch: close the connection of `epoch` or older.
   * @returns how that connection ended; the other node may wait for it
   */
  onTakeover(instance: InstanceName, clientId: string, epoch: number): TakeoverAnswer | Promise<TakeoverAnswer>
  /** Close the connection of this client, if it has one here, with this reason code. */
  onKick(instance: InstanceName, clientId: string, reasonCode: number): void
  /** This node is to go out of service; asked again, it does nothing more. */
  onDrain(): void
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
  /**
   * Makes a node close its connection of this client with `epoch` or older. Arrives as surely as messages do.
   * @returns what the node answers; `unknown` when it is gone or dead, or has not answered within a second. Never rejects.
   */
  takeover(nodeId: string, instance: InstanceName, clientId: string, epoch: number): Promise<TakeoverAnswer>
  /** Makes a node close the connection of a client; arrives as surely as messages do. */
  kick(nodeId: string, instance: InstanceName, clientId: string, reasonCode: number): void
  /** Makes a node go out of service: unready, no new clients, the present ones move off. Arrives as surely as messages do. */
  drain(nodeId: string): void
  /** Resolves when everything sent so far is in the inboxes; rejects with `MIDGE_STORE_UNAVAILABLE`. */
  flushed(): Promise<void>
  /** True while the lease is valid. */
  hasLease(): boolean
  /** Leaves the cluster: peers see a node that went, not one that died. */
  stop(): Promise<void>
}
