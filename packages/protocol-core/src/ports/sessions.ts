import type { WillFate } from '../session-rules.ts'
import type { InstanceName } from './instance-name.ts'
import type { StoredSubscription, Subscription } from './subscription.ts'
import type { DueWill, StoredWill } from './wills.ts'

/** A client connects: what its CONNECT asks of the session. See {@link SessionStore.open}. */
export interface OpenRequest {
  instance: InstanceName
  clientId: string
  /** Whose the client id is from now on, for as long as the session is there; `undefined` for an anonymous client. */
  username: string | undefined
  /** The node that becomes the owner. */
  nodeId: string
  /** Ends an existing session first. */
  cleanStart: boolean
  /** Already capped by the broker's limit; 0 ends the session with its connection. */
  sessionExpirySeconds: number
  will: StoredWill | undefined
  nowMs: number
  /** Sessions of the instance that may outlive their connection; absent is unlimited. One that exists is resumed in any case. */
  storedSessionsMax?: number | undefined
}

/** The session as its new owner finds it. See {@link SessionStore.open}. */
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
   * Will of the connection that this open displaces, claimed by the caller: unless that connection turns out to have
   * ended with DISCONNECT, it is published before CONNACK. Then it is confirmed in either case.
   */
  displacedWill: DueWill | undefined
  /** Wills of earlier connections that nobody has published yet, oldest first: as `displacedWill`. */
  dueWills: DueWill[]
  /** Ids of wills of earlier connections that somebody else is publishing: see {@link WillStore.claimWill}. */
  claimedWills: string[]
  /**
   * Subscriptions of a session that this open has ended (clean start over a stored session): the caller withdraws
   * them from the directory.
   */
  endedSubscriptions: Subscription[]
}

/** A connection has ended. See {@link SessionStore.close}. */
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

/**
 * Sessions: who owns them, what they subscribed to, how they begin and end.
 *
 * What becomes of will, expiry, queue and the rest is decided by the table in `session-rules.ts`. Calls that take an
 * epoch reject with `MIDGE_SESSION_FENCED` when a newer open has happened.
 */
export interface SessionStore {
  /**
   * Makes `nodeId` the owner of the session, atomically: creates, resumes, or (clean start) ends and creates it.
   * Unpublished wills of the client id are cancelled, or claimed for the caller, who publishes them before CONNACK: so
   * nothing of the new connection is overtaken by them. v5 [MQTT-3.1.2-8], [MQTT-3.1.3-9]; v3.1.1 [MQTT-3.1.2-8].
   *
   * @throws BrokerError `MIDGE_CLIENT_ID_OWNED` while a session of this client id is there, connected or stored, that
   * another user has opened last; nothing has changed then. A session that does not say whose it is may be opened by
   * anybody. `MIDGE_PLAN_LIMIT`
   * for a new session beyond `storedSessionsMax`; nothing has changed then either.
   */
  open(request: OpenRequest): Promise<OpenedSession>

  /**
   * Ends the connection of `epoch`. The session ends now when its expiry is 0, else it starts to expire. A fired will
   * becomes due after its delay or at the end of the session, whichever is first. Unacknowledged group messages
   * below QoS 2 go back to their groups; those at QoS 2 of a session that ends are dropped. v5 [MQTT-4.8.2-5].
   * A discarded will that is not published yet is gone, even when a newer open has happened. v5 [MQTT-3.14.4-3].
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

  /** Every subscription of every stored session, in pages, for a node that builds its directory. */
  listSubscriptions(): AsyncIterable<StoredSubscription[]>
}
