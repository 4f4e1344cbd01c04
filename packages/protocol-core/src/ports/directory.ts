import type { InstanceName } from './instance-name.ts'
import type { Subscription } from './subscription.ts'

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
