import { SESSION_EXPIRY_NEVER } from './limits.ts'

/*
 * What becomes of a session when its client connects, goes away or stays away: one table for every store. The local
 * store asks it; the contract suite makes a test of every row, which is how the scripts in Redis are held to it.
 */

/** How the session of a client id stands when a CONNECT arrives. */
export type SessionStanding =
  /** There is none. */
  | 'absent'
  /** Nobody is connected, and its time is not over. */
  | 'stored'
  /** Nobody is connected, and its time is over, although no sweep has ended it yet. */
  | 'overdue'
  /** A connection is open, and the session outlives it. */
  | 'connected'
  /** A connection is open, and the session ends with it. */
  | 'transient'

/** What a CONNECT finds: `resumed` goes on with what is stored, `replaced` ends it first. */
export type SessionStart = 'created' | 'resumed' | 'replaced'

/** One row of a table: what is decided, and the statements of the standard that decide it. */
export interface Rule<Decision> {
  decision: Decision
  /** Statements with their version. */
  ids: string
}

const CREATED: Rule<SessionStart> = {
  decision: 'created',
  ids: 'v5 [MQTT-3.1.2-6], v3.1.1 [MQTT-3.1.2-4]',
}
const RESUMED: Rule<SessionStart> = {
  decision: 'resumed',
  ids: 'v5 [MQTT-3.1.2-5], v3.1.1 [MQTT-3.1.2-4]',
}
const CLEANED: Rule<SessionStart> = {
  decision: 'replaced',
  ids: 'v5 [MQTT-3.1.2-4], v3.1.1 [MQTT-3.1.2-6]',
}
const OVER: Rule<SessionStart> = {
  decision: 'replaced',
  ids: 'v5 [MQTT-4.1.0-2], [MQTT-3.1.2-6], v3.1.1 [MQTT-3.1.2-6]',
}

/** CONNECT: which session its client gets. */
export const SESSION_STARTS: Readonly<
  Record<SessionStanding, { keepsState: Rule<SessionStart>; cleanStart: Rule<SessionStart> }>
> = {
  absent: { keepsState: CREATED, cleanStart: CREATED },
  stored: { keepsState: RESUMED, cleanStart: CLEANED },
  overdue: { keepsState: OVER, cleanStart: CLEANED },
  connected: { keepsState: RESUMED, cleanStart: CLEANED },
  transient: { keepsState: OVER, cleanStart: CLEANED },
}

/** How a will that nobody has published yet stands when a CONNECT of its client id arrives. */
export type WillStanding =
  /** Of the open connection, which this CONNECT displaces; without a delay. */
  | 'immediate'
  /** Of the open connection; with a delay. */
  | 'delayed'
  /** Of an earlier connection; its delay is not over. */
  | 'waiting'
  /** Of an earlier connection; due, and nobody has claimed it. */
  | 'due'
  /** Of an earlier connection; somebody has claimed it and publishes it at this moment. */
  | 'claimed'

/**
 * `claim`: whoever opens publishes it before CONNACK. `await`: its claimant does, and CONNACK waits for that.
 * `cancel`: nobody ever does.
 */
export type WillOnOpen = 'claim' | 'await' | 'cancel'

// The standard lets a server take its time. But a retained "offline" that arrives after the "online" of the new
// connection stays for ever, so a will never comes after the CONNACK that follows it.
const PUBLISHED: Rule<WillOnOpen> = { decision: 'claim', ids: 'v5 [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-8]' }
const AWAITED: Rule<WillOnOpen> = { decision: 'await', ids: 'v5 [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-8]' }
const CANCELLED: Rule<WillOnOpen> = { decision: 'cancel', ids: 'v5 [MQTT-3.1.3-9]' }

/** CONNECT: what becomes of unpublished wills of its client id, by whether the session goes on. */
export const WILLS_ON_OPEN: Readonly<
  Record<WillStanding, { resumed: Rule<WillOnOpen>; notResumed: Rule<WillOnOpen> }>
> = {
  immediate: { resumed: PUBLISHED, notResumed: PUBLISHED },
  delayed: { resumed: CANCELLED, notResumed: PUBLISHED },
  waiting: { resumed: CANCELLED, notResumed: PUBLISHED },
  due: { resumed: PUBLISHED, notResumed: PUBLISHED },
  claimed: { resumed: AWAITED, notResumed: AWAITED },
}

/** Why a connection ended, as far as its will is concerned. */
export type WillFate = 'discard' | 'fire'

/** How long a session outlives its connection. */
export type ExpiryKind = 'none' | 'limited' | 'never'

/** When a will of a connection that has ended is due. */
export type WillDue = 'never' | 'now' | 'after its delay' | 'with the session'

const AT_ONCE: Rule<WillDue> = { decision: 'now', ids: 'v5 [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-8]' }
const DELAYED: Rule<WillDue> = { decision: 'after its delay', ids: 'v5 [MQTT-3.1.2-8]' }
const WITH_SESSION: Rule<WillDue> = { decision: 'with the session', ids: 'v5 [MQTT-3.1.2-8]' }
/** DISCONNECT: the will goes, unless somebody has published it already. */
export const GOODBYE: Rule<WillDue> = {
  decision: 'never',
  ids: 'v5 [MQTT-3.14.4-3], [MQTT-3.1.2-10], v3.1.1 [MQTT-3.14.4-3], [MQTT-3.1.2-10]',
}

/** The end of a connection without DISCONNECT, or with one that asks for the will: when that is due. */
export const WILLS_ON_CLOSE: Readonly<
  Record<ExpiryKind, { noDelay: Rule<WillDue>; delay: Rule<WillDue>; delayBeyondExpiry: Rule<WillDue> }>
> = {
  none: { noDelay: AT_ONCE, delay: AT_ONCE, delayBeyondExpiry: AT_ONCE },
  limited: { noDelay: AT_ONCE, delay: DELAYED, delayBeyondExpiry: WITH_SESSION },
  never: { noDelay: AT_ONCE, delay: DELAYED, delayBeyondExpiry: DELAYED },
}

/** What the end of a connection means for its session. */
export type SessionOnClose = 'ends' | 'expires' | 'stays'

/** The end of a connection, however it came: what becomes of its session. */
export const SESSIONS_ON_CLOSE: Readonly<Record<ExpiryKind, Rule<SessionOnClose>>> = {
  none: { decision: 'ends', ids: 'v5 [MQTT-4.1.0-2], v3.1.1 [MQTT-3.1.2-6]' },
  limited: { decision: 'expires', ids: 'v5 [MQTT-3.1.2-23], [MQTT-4.1.0-2]' },
  never: { decision: 'stays', ids: 'v5 [MQTT-3.1.2-23], v3.1.1 [MQTT-3.1.2-4]' },
}

/** A part of a session's state. */
export type SessionPart =
  | 'subscriptions'
  | 'queue'
  | 'inboundPacketIds'
  | 'groupMessagesBelowQos2'
  | 'groupMessagesAtQos2'

/** What becomes of one part of a session's state. */
export interface StateRule {
  /** When the connection ends and the session stays. */
  connectionEnds: 'kept' | 'returned'
  /** When the session ends. */
  sessionEnds: 'dropped' | 'returned'
  ids: string
}

/** What becomes of the parts of a session; `returned` is to the share group, whose other members take it. */
export const SESSION_STATE: Readonly<Record<SessionPart, StateRule>> = {
  subscriptions: { connectionEnds: 'kept', sessionEnds: 'dropped', ids: 'v5 section 4.1, v3.1.1 section 4.1' },
  queue: { connectionEnds: 'kept', sessionEnds: 'dropped', ids: 'v5 [MQTT-4.4.0-1], v3.1.1 [MQTT-4.4.0-1]' },
  inboundPacketIds: { connectionEnds: 'kept', sessionEnds: 'dropped', ids: 'v5 section 4.1, v3.1.1 section 4.1' },
  groupMessagesBelowQos2: { connectionEnds: 'returned', sessionEnds: 'returned', ids: 'v5 section 4.8.2' },
  groupMessagesAtQos2: {
    connectionEnds: 'kept',
    sessionEnds: 'dropped',
    ids: 'v5 [MQTT-4.8.2-4], [MQTT-4.8.2-5]',
  },
}

/**
 * Which queue entries may have been sent when a connection has ended: what `close` says, or all of them where no close
 * came (takeover, reaped node). They are sent again with DUP. v5 [MQTT-3.3.1-1].
 */
export const SENT_MARK = { closed: 'as told', displaced: 'tail', reaped: 'tail' } as const

/** A session as far as the table is concerned. */
export interface SessionFacts {
  isConnected: boolean
  expirySeconds: number
  /** When it ends, in Unix ms; 0 while it does not expire. */
  expiresAtMs: number
}

/** @param session - undefined when the store has none */
export function standingOf(session: SessionFacts | undefined, nowMs: number): SessionStanding {
  if (session === undefined) return 'absent'
  const { isConnected, expirySeconds, expiresAtMs } = session
  if (isConnected) return expirySeconds === 0 ? 'transient' : 'connected'
  return expirySeconds === 0 || (expiresAtMs !== 0 && expiresAtMs <= nowMs) ? 'overdue' : 'stored'
}

/** CONNECT: which session its client gets. */
export function decideStart(standing: SessionStanding, cleanStart: boolean): SessionStart {
  const row = SESSION_STARTS[standing]
  return (cleanStart ? row.cleanStart : row.keepsState).decision
}

/** @returns how the will of an open connection stands when it is displaced */
export function standingOfOpenWill(willDelaySeconds: number): WillStanding {
  return willDelaySeconds > 0 ? 'delayed' : 'immediate'
}

/**
 * @param firesAtMs - when its delay, or its session, is over
 * @param availableAtMs - `firesAtMs`, or the end of the claim that somebody has on it
 */
export function standingOfFiredWill(firesAtMs: number, availableAtMs: number, nowMs: number): WillStanding {
  if (firesAtMs > nowMs) return 'waiting'
  return availableAtMs > nowMs ? 'claimed' : 'due'
}

/** CONNECT: what becomes of an unpublished will of its client id. */
export function decideWillOnOpen(will: WillStanding, start: SessionStart): WillOnOpen {
  const row = WILLS_ON_OPEN[will]
  return (start === 'resumed' ? row.resumed : row.notResumed).decision
}

/** @param expirySeconds - Session Expiry Interval in force when the connection ends */
export function expiryKindOf(expirySeconds: number): ExpiryKind {
  if (expirySeconds === 0) return 'none'
  return expirySeconds === SESSION_EXPIRY_NEVER ? 'never' : 'limited'
}

/** The row of the table for a will. */
export function willRuleOnClose(fate: WillFate, willDelaySeconds: number, expirySeconds: number): Rule<WillDue> {
  if (fate === 'discard') return GOODBYE
  const row = WILLS_ON_CLOSE[expiryKindOf(expirySeconds)]
  if (willDelaySeconds === 0) return row.noDelay
  return willDelaySeconds > expirySeconds ? row.delayBeyondExpiry : row.delay
}

/** The end of a connection. */
export interface Closing {
  fate: WillFate
  /** Undefined when the connection had no will. */
  willDelaySeconds: number | undefined
  /** Session Expiry Interval in force at the end. */
  expirySeconds: number
  nowMs: number
}

/** What {@link decideClose} decides; times in Unix ms. */
export interface Closed {
  session: SessionOnClose
  /** When the session ends; 0 unless it `expires`. */
  expiresAtMs: number
  /** When the will is due; undefined when there is none, or none any more. */
  willDueAtMs: number | undefined
}

/** The end of a connection, however it came. */
export function decideClose(closing: Closing): Closed {
  const { expirySeconds, nowMs } = closing
  const { decision: session } = SESSIONS_ON_CLOSE[expiryKindOf(expirySeconds)]
  const expiresAtMs = session === 'expires' ? nowMs + expirySeconds * 1000 : 0
  return { session, expiresAtMs, willDueAtMs: willDueAtMs(closing) }
}

function willDueAtMs({ fate, willDelaySeconds, expirySeconds, nowMs }: Closing): number | undefined {
  if (willDelaySeconds === undefined) return undefined
  switch (willRuleOnClose(fate, willDelaySeconds, expirySeconds).decision) {
    case 'never':
      return undefined
    case 'now':
      return nowMs
    case 'after its delay':
      return nowMs + willDelaySeconds * 1000
    case 'with the session':
      return nowMs + expirySeconds * 1000
  }
}
