/** Times that the cluster lives by; tests shorten them. */
export interface ClusterTimings {
  /** Between two heartbeats. */
  heartbeatMs: number
  /** Without a confirmed heartbeat for this long, a node gives up its lease. */
  leaseMs: number
  /** Without a heartbeat for this long, others declare a node dead; must exceed `leaseMs` by a good margin. */
  deadMs: number
  /** Heartbeats in a row, each in time, before a node may declare another one dead. */
  healthyBeatsMin: number
  /** Fallback look at the tables' logs, for a nudge that was lost. */
  pollMs: number
  /** A node whose last look at a log is older than this no longer calls its tables complete. */
  staleMs: number
  /** Cap of the SUBACK barrier. */
  barrierMs: number
  /** How long a takeover waits for what the older owner says. */
  takeoverAnswerMs: number
}

export const DEFAULT_TIMINGS: ClusterTimings = {
  heartbeatMs: 2_000,
  leaseMs: 8_000,
  deadMs: 15_000,
  healthyBeatsMin: 2,
  pollMs: 1_000,
  staleMs: 3_000,
  barrierMs: 500,
  takeoverAnswerMs: 1_000,
}

/** When most of a cluster looks dead at once, the reaper rather doubts itself and waits this many times longer. */
export const DOUBT_FACTOR = 3

/** Frames towards one node that Redis has not confirmed yet; the rest waits here. */
export const FRAMES_IN_FLIGHT_MAX = 16
/** Bytes waiting for one node before QoS 0 is dropped and QoS 1 and 2 are refused. */
export const OUTBOX_BYTES_MAX: number = 32 * 1024 * 1024
/** Frames an inbox keeps for a node that does not read; older ones are trimmed by the senders. */
export const INBOX_FRAMES_MAX = 2_000
/** Frames per read of the inbox: what one tick of the reader has to digest at most. */
export const INBOX_READ_COUNT = 32
/** How long one blocking read of the inbox waits. */
export const INBOX_BLOCK_MS = 1_000
/** An inbox whose node is gone for this long disappears. */
export const INBOX_TTL_MS = 600_000
/** Between two trims of what has been read. */
export const INBOX_TRIM_MS = 1_000

/** Changes in one write to a table; below the number of values a Lua call can take. */
export const TABLE_BATCH_CHANGES_MAX = 500
/** Characters in one write to a table; a single longer change travels alone. */
export const TABLE_BATCH_CHARS_MAX: number = 1024 * 1024
/** Batches a table's log keeps; a node that missed more loads the table again. */
export const TABLE_LOG_BATCHES_MAX = 20_000
/** Batches per read of a table's log. */
export const TABLE_READ_COUNT = 200
/** The same of the records' table, whose batches may be 4 MiB long. */
export const RECORDS_READ_COUNT = 16
/** Batches that the log of the records' table keeps. */
export const RECORDS_LOG_BATCHES_MAX = 1_000
/** Writes of records that wait for their turn on one node. */
export const RECORDS_WAITING_MAX = 1_000
/** How long a write of records is tried, and how long its node may take to see it. */
export const RECORDS_WRITE_MS = 5_000
/** How long a write of records waits for the other nodes. */
export const RECORDS_BARRIER_MS = 500
/** Rows per page of a full load. */
export const TABLE_SCAN_COUNT = 1_000

/** How long a node that leaves waits for its last changes of a table to be written. */
export const LAST_WRITES_MS = 2_000
