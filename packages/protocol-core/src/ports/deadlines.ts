import type { InstanceName } from './instance-name.ts'
import type { Subscription } from './subscription.ts'
import type { DueWill } from './wills.ts'

/** A session that has just ended by its expiry, with the subscriptions to withdraw from the directory. */
export interface ExpiredSession {
  instance: InstanceName
  clientId: string
  subscriptions: Subscription[]
}

/** What one {@link DeadlineStore.sweep} has claimed. */
export interface SweepResult {
  wills: DueWill[]
  expired: ExpiredSession[]
}

/** What happens by the clock, or because a node is gone; any node does it for all. */
export interface DeadlineStore {
  /**
   * Claims what is due by `nowMs`: wills to publish, sessions to end. A claimed will that is not confirmed within
   * 10 s becomes due again. Expired sessions are gone when this resolves.
   */
  sweep(nodeId: string, nowMs: number, countMax: number): Promise<SweepResult>
  /**
   * Ends the connections of a node that is gone as if each had been closed with its will fired, at most `countMax` a
   * call. @returns how many were found; 0 means the node has left nothing behind.
   */
  reapNode(nodeId: string, nowMs: number, countMax: number): Promise<number>
}
