/** The integer fields a broker node counts in; read on scrape, never written here. */
export interface NodeCounters {
  readonly connectionsOpened: number
  readonly connectionsClosed: number
  readonly connectionsCurrent: number
  readonly connectionsRefusedTotal: number
  readonly sessionsCurrent: number
  readonly sessionsResumed: number
  readonly sessionsTakenOver: number
  readonly sessionsExpired: number
  readonly bytesReceived: number
  readonly bytesSent: number
  /** By packet type number. */
  readonly packetsReceived: readonly number[]
  readonly packetsSent: readonly number[]
  /** By QoS. */
  readonly messagesReceived: readonly number[]
  readonly messagesSent: readonly number[]
  readonly messagesUnmatched: number
  readonly messagesStored: number
  readonly retainedSent: number
  readonly subscriptionsCurrent: number
  readonly authenticationFailures: number
  readonly authenticationsBusy: number
  readonly authenticationBackOffs: number
  readonly hashesWaitingCurrent: number
  readonly publishersHeldBack: number
  readonly keepAliveTimeouts: number
  readonly connectTimeouts: number
  readonly drainTimeouts: number
  readonly subackBarrierTimeouts: number
  readonly willsPublished: number
  readonly commitFailures: number
  readonly fencedWrites: number
  readonly linkMessagesSent: number
  readonly linkMessagesReceived: number
  readonly linkFramesLost: number
  readonly linkFramesUnreadable: number
  readonly redisOutages: number
  readonly redisDeafnesses: number
  readonly tlsErrors: number
  /** By the name of the limit. */
  readonly limitsMet: ReadonlyMap<string, number>
  readonly webhookEventsDelivered: number
  readonly webhookRequestsFailed: number
  /** By reason. */
  readonly webhookEventsDropped: ReadonlyMap<string, number>
  /** By reason. */
  readonly dropped: ReadonlyMap<string, number>
  /** By MQTT 5 reason code. */
  readonly closedByReason: ReadonlyMap<number, number>
  /** By what the bytes looked like. */
  readonly wrongProtocol: ReadonlyMap<string, number>
}

/** Facts that are asked for on scrape rather than counted. */
export interface NodeFacts {
  isReady: boolean
  clusterNodes: number
}

/** Everything the metrics of one node are read from. */
export interface NodeSources {
  counters: NodeCounters
  nodeId: string
  version: string
  /** Names by packet type number; entry 0 is reserved and left out. */
  packetNames: readonly string[]
  /** Every reason that can appear in `counters.dropped`, so that each series exists from the start. */
  dropReasons: readonly string[]
  /** The same for `counters.webhookEventsDropped`. */
  webhookDropReasons: readonly string[]
  facts: () => NodeFacts
}
