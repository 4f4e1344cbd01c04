import type { InstanceName } from './instance-name.ts'

/** One count that something has to fit into: `connections` of the instance, those of one user. */
export interface SlotLimit {
  kind: string
  max: number
}

/** Somebody wants to be counted. See {@link QuotaStore.takeSlots}. */
export interface SlotRequest {
  instance: InstanceName
  /** Who is counted, once: the same name again takes the place of the one before. */
  name: string
  /** Tells this taking from others of the same name on the same node. */
  claim: string
  /** All of them have room, or none is taken. */
  limits: readonly SlotLimit[]
}

/** What became of a {@link SlotRequest}; `full` names the first limit that had no room. */
export type SlotAnswer = { isTaken: true } | { isTaken: false; full: SlotLimit; used: number }

/** A slot that a node holds. See {@link QuotaStore.keepSlots}. */
export interface HeldSlot {
  name: string
  claim: string
}

/** What a node wants of one bucket. See {@link QuotaStore.leaseTokens}. */
export interface TokenWish {
  bucket: string
  /** Tokens a second that come into the bucket. */
  ratePerSecond: number
  /** Tokens that the bucket holds. */
  burst: number
  /** How many are wanted; below 0, how many are given back. */
  want: number
}

/** What a node gets of one bucket. */
export interface TokenLease {
  /** At most what was wanted; 0 for what was given back. */
  granted: number
  /** Milliseconds until the bucket has a token again; 0 when all that was wanted was granted. */
  waitMs: number
  /** Whole tokens that are left in the bucket. */
  left: number
}

/**
 * What is counted in the whole cluster: connections by name, and the rates of an instance. Everything here is forgotten
 * with the nodes, so nothing of it has to survive.
 *
 * Rejections are `BrokerError`s: `MIDGE_STORE_UNAVAILABLE` means that the outcome is unknown and the call may be repeated.
 */
export interface QuotaStore {
  /**
   * Counts `name`, atomically over all nodes. Slots of nodes that have died are given up when a limit is met; whoever
   * they belonged to keeps nobody out.
   */
  takeSlots(request: SlotRequest): Promise<SlotAnswer>
  /** Gives slots back; one that somebody else holds by now, or another claim, stays. Idempotent. */
  freeSlots(instance: InstanceName, kinds: readonly string[], slot: HeldSlot): Promise<void>
  /**
   * Counts what this node holds already, whatever the limit says: after the limit came into being, or when the counts may
   * have been lost. A name that is counted stays as it is.
   */
  keepSlots(instance: InstanceName, kind: string, held: readonly HeldSlot[]): Promise<void>
  /** How many are counted, those of dead nodes included. */
  usedSlots(instance: InstanceName, kind: string): Promise<number>
  /**
   * Takes tokens out of buckets that all nodes share, for use ahead: a message costs no call. A bucket is full when it is
   * used first. Unused tokens are given back, or lost with their node.
   * @returns one lease per wish, in order
   */
  leaseTokens(instance: InstanceName, wishes: readonly TokenWish[]): Promise<TokenLease[]>
}
