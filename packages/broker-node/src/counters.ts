/** Why a message did not reach a subscriber it was meant for. Every drop is counted under one of these. */
export const DropReason = {
  /** QoS 0 and the connection's output buffer was at its bound. */
  outputFull: 'output_full',
  /** The session's queue was at its limit (messages or bytes). */
  queueFull: 'queue_full',
  /** The share group's queue was at its limit. */
  groupQueueFull: 'group_queue_full',
  /** Message Expiry Interval had passed. */
  expired: 'expired',
  /** Larger than the client's Maximum Packet Size. v5 [MQTT-3.1.2-24]. */
  packetTooLarge: 'packet_too_large',
  /** The publisher may not publish there. */
  publishDenied: 'publish_denied',
  /** The receiver may not read the topic, or an `authorizeForward` hook refused this delivery. */
  forwardDenied: 'forward_denied',
  /** The store did not take a QoS 0 retained message. */
  storeFailed: 'store_failed',
  /** QoS 0 and the plan's rate to clients was used up. */
  planRate: 'plan_rate',
  /** The plan has no room for another retained message: it went to its subscribers and was not kept. */
  retainedFull: 'retained_full',
  /** The link to another node was down or full. */
  linkFull: 'link_full',
} as const
export type DropReason = (typeof DropReason)[keyof typeof DropReason]

/** Packet types by their number, for the per-type counters. */
export const PACKET_NAMES: readonly string[] = [
  'reserved',
  'connect',
  'connack',
  'publish',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'suback',
  'unsubscribe',
  'unsuback',
  'pingreq',
  'pingresp',
  'disconnect',
  'auth',
]

/**
 * Everything the node counts, as plain integer fields: the hot path pays one addition, the metric catalogue reads the
 * fields on scrape. Monotonic unless the name says `Current`.
 */
export class Counters {
  connectionsOpened = 0
  connectionsClosed = 0
  connectionsCurrent = 0
  connectionsRefusedTotal = 0
  sessionsCurrent = 0
  sessionsResumed = 0
  sessionsTakenOver = 0
  sessionsExpired = 0
  bytesReceived = 0
  bytesSent = 0
  /** By packet type number. */
  packetsReceived: number[] = new Array<number>(16).fill(0)
  packetsSent: number[] = new Array<number>(16).fill(0)
  /** PUBLISH from clients, by QoS. */
  messagesReceived: number[] = [0, 0, 0]
  /** PUBLISH to clients, by QoS. */
  messagesSent: number[] = [0, 0, 0]
  /** Published with nobody to receive it. */
  messagesUnmatched = 0
  messagesStored = 0
  retainedSent = 0
  subscriptionsCurrent = 0
  authenticationFailures = 0
  /** Logins that were told "server busy" because no hash could be had for them in time. */
  authenticationsBusy = 0
  /** Logins that were told "server busy" because the same user had failed too often from there. */
  authenticationBackOffs = 0
  /** Passwords that wait for their hash. */
  hashesWaitingCurrent = 0
  /** Times that a client was read no further because it had published more than its plan allows. */
  publishersHeldBack = 0
  keepAliveTimeouts = 0
  connectTimeouts = 0
  /** TLS handshakes that failed. */
  tlsErrors = 0
  drainTimeouts = 0
  subackBarrierTimeouts = 0
  willsPublished = 0
  commitFailures = 0
  fencedWrites = 0
  /** Messages sent to and received from other nodes. */
  linkMessagesSent = 0
  linkMessagesReceived = 0
  /** Frames of other nodes that never arrived, and frames that could not be read. */
  linkFramesLost = 0
  linkFramesUnreadable = 0
  /** Times that Redis did not answer. */
  redisOutages = 0
  /** Times that the connection for channels was open and brought nothing. */
  redisDeafnesses = 0
  /** Times that a limit of a plan or of a user was met, by its name in the log. */
  readonly limitsMet: Map<string, number> = new Map()
  /** Events that the servers of webhooks have accepted, and requests that they have not. */
  webhookEventsDelivered = 0
  webhookRequestsFailed = 0
  /** By `WebhookDropReason`. */
  readonly webhookEventsDropped: Map<string, number> = new Map()
  /** By {@link DropReason}. */
  readonly dropped: Map<string, number> = new Map()
  /** Connections closed by the server, by reason code of v5 (as a number). */
  readonly closedByReason: Map<number, number> = new Map()
  /** Bytes that were not MQTT, by what they looked like (`tls`, `http`, `proxy`, `unknown`). */
  readonly wrongProtocol: Map<string, number> = new Map()

  drop(reason: DropReason, count = 1): void {
    this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + count)
  }

  limitMet(limit: string): void {
    this.limitsMet.set(limit, (this.limitsMet.get(limit) ?? 0) + 1)
  }

  dropWebhookEvents(reason: string, count: number): void {
    this.webhookEventsDropped.set(reason, (this.webhookEventsDropped.get(reason) ?? 0) + count)
  }

  closedWith(reasonCode: number): void {
    this.closedByReason.set(reasonCode, (this.closedByReason.get(reasonCode) ?? 0) + 1)
  }

  sawWrongProtocol(kind: string): void {
    this.wrongProtocol.set(kind, (this.wrongProtocol.get(kind) ?? 0) + 1)
  }
}
