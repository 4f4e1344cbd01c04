import type { Message } from '../message.ts'
import type { InstanceName } from './instance-name.ts'

/** A Will Message kept by the store for as long as its connection may still fail to end well. */
export interface StoredWill {
  message: Message
  willDelaySeconds: number
  /** Message Expiry Interval, counted from publication of the will; -1 for none. */
  messageExpirySeconds: number
  /** Whose rights are asked for again when it fires; absent when the login alone has vouched for it. */
  owner?: WillOwner | undefined
}

/** Who has left a will. */
export interface WillOwner {
  /** `undefined` for an anonymous client. */
  username: string | undefined
  /** It was a user that is kept here: when it is none any more, its will is not wanted. */
  isKnown: boolean
}

/** A will that is to be published now, claimed by whoever was told of it. */
export interface DueWill {
  /** Identity for {@link WillStore.confirmWill}; a will is published at most once per id inside the claim. */
  id: string
  instance: InstanceName
  clientId: string
  will: StoredWill
}

/**
 * Wills that are due.
 *
 * A due will belongs to whoever claimed it, for 10 s: the claimant publishes it and confirms. A claim that is not
 * confirmed lapses, and the will is due again, so that a will outlives the death of its publisher.
 */
export interface WillStore {
  /**
   * Asks again for a will that somebody else had claimed when `open` found it.
   * @returns the will when that claim has lapsed: it is the caller's then, to be published; `claimed` while it has not;
   * `gone` when the will is confirmed
   */
  claimWill(instance: InstanceName, clientId: string, id: string, nowMs: number): Promise<DueWill | 'claimed' | 'gone'>
  /** Forgets a will that was published, or that turned out not to be wanted. Idempotent. */
  confirmWill(instance: InstanceName, clientId: string, id: string): Promise<void>
  /**
   * Forgets every will of an instance that waits to be published, also a claimed one, which its claimant may still
   * publish. Wills of open connections are left. Idempotent.
   */
  discardWills(instance: InstanceName): Promise<void>
}
