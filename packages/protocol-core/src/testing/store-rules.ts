import assert from 'node:assert/strict'
import { SESSION_EXPIRY_NEVER } from '../limits.ts'
import type { OpenedSession } from '../ports/sessions.ts'
import type { DueWill } from '../ports/wills.ts'
import {
  decideClose,
  expiryKindOf,
  type Rule,
  SENT_MARK,
  SESSION_STARTS,
  SESSION_STATE,
  SESSIONS_ON_CLOSE,
  type SessionStanding,
  type SessionStart,
  WILLS_ON_OPEN,
  type WillFate,
  type WillOnOpen,
  type WillStanding,
  willRuleOnClose,
} from '../session-rules.ts'
import {
  type Fixture,
  INSTANCE,
  message,
  payloadOf,
  payloadsOf,
  type StoreTests,
  subscription,
  will,
} from './store-fixture.ts'

/*
 * One test for every row of `session-rules.ts`: a session is brought into the standing of the row through the port, the
 * thing happens, and what the store then answers is what the table decides.
 */

const GROUP = '$share/g/t'
/** The limited expiry of sessions, and a will delay on either side of it. */
const EXPIRY_SECONDS = 60
const DELAY_SECONDS = 20
const LONG_DELAY_SECONDS = 200
const CLAIM_MS = 10_000
const FAR_MS = 100 * 365 * 24 * 3_600_000

/** A row of the table for CONNECT, with what it needs to be set up. */
interface OpenCase {
  standing: SessionStanding
  cleanStart: boolean
  will: WillStanding | undefined
  expirySeconds: number
}

/** A session with something in every part of its state, and how the open that follows will find it. */
interface Prepared {
  nowMs: number
  sentMark: keyof typeof SENT_MARK
  /** The will that somebody else has claimed. */
  claimedId: string | undefined
}

const WILLS_OF: Readonly<Record<SessionStanding, readonly (WillStanding | undefined)[]>> = {
  absent: [undefined, 'due', 'claimed'],
  stored: [undefined, 'waiting', 'due', 'claimed'],
  // A delay never goes beyond the end of the session.
  overdue: [undefined, 'due', 'claimed'],
  connected: [undefined, 'immediate', 'delayed'],
  transient: [undefined, 'immediate', 'delayed'],
}

const EXPIRIES_OF: Readonly<Record<SessionStanding, readonly number[]>> = {
  absent: [0],
  stored: [EXPIRY_SECONDS, SESSION_EXPIRY_NEVER],
  overdue: [EXPIRY_SECONDS],
  connected: [EXPIRY_SECONDS, SESSION_EXPIRY_NEVER],
  transient: [0],
}

function openCases(): OpenCase[] {
  const cases: OpenCase[] = []
  for (const standing of Object.keys(SESSION_STARTS) as SessionStanding[]) {
    for (const cleanStart of [false, true]) {
      for (const expirySeconds of EXPIRIES_OF[standing]) {
        for (const will of WILLS_OF[standing]) cases.push({ standing, cleanStart, will, expirySeconds })
      }
    }
  }
  return cases
}

/** Fills every part of a session's state: subscription, queue, inbound id, and messages of a share group. */
async function fill(f: Fixture, epoch: number): Promise<void> {
  await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a')])
  await f.commit({ message: message('t', 'x'), inbound: { clientId: 'c', epoch, packetId: 7 } })
  await f.enqueue('c', ['one', 'two'])
  await f.feedGroup(GROUP, ['below'], 1)
  await f.feedGroup(GROUP, ['at', 'released'], 2)
  const taken = await f.store.takeGroup(INSTANCE, GROUP, 'c', epoch, [11, 12, 13])
  await f.store.releaseGroup(INSTANCE, GROUP, 'c', [taken[2]?.seq ?? 0])
}

function willOf(standing: WillStanding | undefined): ReturnType<typeof will> | undefined {
  if (standing === undefined) return undefined
  return will('will', standing === 'delayed' || standing === 'waiting' ? DELAY_SECONDS : 0)
}

async function prepare(f: Fixture, row: OpenCase): Promise<Prepared> {
  const { standing, expirySeconds } = row
  const firesOnClose = standing === 'absent' || standing === 'stored' || standing === 'overdue'
  if (standing === 'absent' && row.will === undefined) {
    return { nowMs: f.nowMs, sentMark: 'closed', claimedId: undefined }
  }
  // What is stored of a session that ends with its connection is from a connection before.
  if (standing === 'transient') await f.openAndClose('c')
  const { epoch } = await f.open('c', { sessionExpirySeconds: expirySeconds, will: willOf(row.will) })
  await fill(f, epoch)
  let nowMs = f.nowMs
  if (firesOnClose) await f.close('c', epoch, { fate: 'fire', sessionExpirySeconds: expirySeconds, sentSeq: 1 })
  let claimedId: string | undefined
  if (standing === 'overdue') nowMs += EXPIRY_SECONDS * 1000
  // The sweep that claims the will comes at a time at which the session is not over yet.
  if (row.will === 'claimed') {
    const claimedAtMs = standing === 'overdue' ? nowMs - 1 : nowMs
    claimedId = (await f.sweepAll(claimedAtMs)).wills[0]?.id
    assert.ok(claimedId !== undefined)
  }
  return { nowMs, sentMark: firesOnClose ? 'closed' : 'displaced', claimedId }
}

function startRule({ standing, cleanStart }: OpenCase): Rule<SessionStart> {
  const row = SESSION_STARTS[standing]
  return cleanStart ? row.cleanStart : row.keepsState
}

function willRule(standing: WillStanding, start: SessionStart): Rule<WillOnOpen> {
  const row = WILLS_ON_OPEN[standing]
  return start === 'resumed' ? row.resumed : row.notResumed
}

async function checkState(f: Fixture, opened: OpenedSession, prepared: Prepared): Promise<void> {
  const isResumed = opened.sessionPresent
  const kept = (part: keyof typeof SESSION_STATE): boolean =>
    SESSION_STATE[part][isResumed ? 'connectionEnds' : 'sessionEnds'] === 'kept'
  assert.deepEqual(opened.subscriptions, kept('subscriptions') ? [subscription('a')] : [])
  assert.deepEqual(opened.inboundPacketIds, kept('inboundPacketIds') ? [7] : [])
  const queue = await f.store.readQueue(INSTANCE, 'c', opened.epoch, 0, 10)
  assert.deepEqual(payloadsOf(queue), kept('queue') ? ['one', 'two'] : [])
  assert.equal(opened.tailSeq - opened.headSeq + 1, queue.length)
  const sent = SENT_MARK[prepared.sentMark] === 'tail' ? opened.tailSeq : 1
  if (isResumed) assert.equal(opened.sentSeq, sent)
  else assert.ok(opened.sentSeq < opened.headSeq)
  const held = await f.store.heldOfGroup(INSTANCE, GROUP, 'c', opened.epoch)
  assert.deepEqual(payloadsOf(held), kept('groupMessagesAtQos2') ? ['at', 'released'] : [])
  const other = await f.open('other')
  const returned = await f.store.takeGroup(INSTANCE, GROUP, 'other', other.epoch, [1, 2, 3])
  assert.deepEqual(payloadsOf(returned), ['below'])
}

/** The will of the case is where the table wants it, and nowhere else. */
async function checkWill(f: Fixture, row: OpenCase, opened: OpenedSession, prepared: Prepared): Promise<void> {
  const decision = row.will === undefined ? undefined : willRule(row.will, startRule(row).decision).decision
  const isOpen = row.standing === 'connected' || row.standing === 'transient'
  const claimed = [...opened.dueWills, ...(opened.displacedWill === undefined ? [] : [opened.displacedWill])]
  assert.deepEqual(
    claimed.map(due => payloadOf(due.will)),
    decision === 'claim' ? ['will'] : [],
  )
  assert.equal(opened.displacedWill !== undefined, decision === 'claim' && isOpen)
  assert.deepEqual(opened.claimedWills, decision === 'await' ? [prepared.claimedId] : [])
  const { nowMs } = prepared
  assert.deepEqual((await f.sweepAll(nowMs)).wills, [], 'nobody else gets it')
  const id = claimed[0]?.id ?? opened.claimedWills[0]
  if (id === undefined) {
    assert.deepEqual((await f.sweepAll(nowMs + FAR_MS)).wills, [], 'there is none any more')
    return
  }
  assert.equal(await f.store.claimWill(INSTANCE, 'c', id, nowMs), 'claimed')
  // A claim that is not confirmed lapses, for the next open too.
  const again = await f.open('c', { nowMs: nowMs + CLAIM_MS })
  assert.deepEqual(
    again.dueWills.map(due => due.id),
    [id],
  )
  await f.store.confirmWill(INSTANCE, 'c', id)
  assert.equal(await f.store.claimWill(INSTANCE, 'c', id, nowMs), 'gone')
  assert.deepEqual((await f.open('c', { nowMs: nowMs + FAR_MS })).dueWills, [])
  assert.deepEqual((await f.sweepAll(nowMs + FAR_MS)).wills, [])
}

function openTest(row: OpenCase): StoreTests[string] {
  return async f => {
    const prepared = await prepare(f, row)
    const { decision: start } = startRule(row)
    const opened = await f.open('c', { cleanStart: row.cleanStart, nodeId: 'node-2', nowMs: prepared.nowMs })
    assert.equal(opened.sessionPresent, start === 'resumed')
    assert.deepEqual(opened.endedSubscriptions, start === 'replaced' ? [subscription('a')] : [])
    assert.equal(opened.previous !== undefined, row.standing === 'connected' || row.standing === 'transient')
    if (start !== 'created') await checkState(f, opened, prepared)
    await checkWill(f, row, opened, prepared)
  }
}

const EXPIRY_WORDS = { none: 'expiry 0', limited: 'an expiry', never: 'expiry "never"' } as const

function openName(row: OpenCase): string {
  const start = startRule(row)
  const decided = row.will === undefined ? undefined : willRule(row.will, start.decision)
  const wills = decided === undefined ? 'no will' : `will ${row.will}: ${decided.decision}`
  const ids = decided === undefined ? start.ids : `${start.ids}; ${decided.ids}`
  const expiry = row.standing === 'absent' ? '' : `, ${EXPIRY_WORDS[expiryKindOf(row.expirySeconds)]}`
  return `open, ${row.cleanStart ? 'clean start, ' : ''}session ${row.standing}${expiry}: ${start.decision}; ${wills}. ${ids}`
}

/** How a connection ends. */
interface CloseCase {
  how: 'closed' | 'reaped'
  fate: WillFate
  delaySeconds: number | undefined
  expirySeconds: number
}

function closeCases(): CloseCase[] {
  const cases: CloseCase[] = []
  for (const expirySeconds of [0, EXPIRY_SECONDS, SESSION_EXPIRY_NEVER]) {
    for (const delaySeconds of [undefined, 0, DELAY_SECONDS, LONG_DELAY_SECONDS]) {
      cases.push({ how: 'closed', fate: 'discard', delaySeconds, expirySeconds })
      cases.push({ how: 'closed', fate: 'fire', delaySeconds, expirySeconds })
      cases.push({ how: 'reaped', fate: 'fire', delaySeconds, expirySeconds })
    }
  }
  return cases
}

/** Ids of the wills that the sweep claims, and whether the session of the case has ended, at one time. */
async function sweepAt(f: Fixture, nowMs: number): Promise<{ wills: DueWill[]; hasEnded: boolean }> {
  const { wills, expired } = await f.sweepAll(nowMs)
  return { wills, hasEnded: expired.length > 0 }
}

function closeTest(row: CloseCase): StoreTests[string] {
  return async f => {
    const { nowMs } = f
    const { fate, delaySeconds, expirySeconds } = row
    const wills = delaySeconds === undefined ? undefined : will('will', delaySeconds)
    // What CONNECT said and what DISCONNECT says may differ; a dead node's connections end as CONNECT said.
    const opensWith = row.how === 'closed' && expirySeconds !== 0 ? 3600 : expirySeconds
    if (expirySeconds === 0) await f.openAndClose('c')
    const { epoch } = await f.open('c', { sessionExpirySeconds: opensWith, will: wills })
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a')])
    const decided = decideClose({ fate, willDelaySeconds: delaySeconds, expirySeconds, nowMs })
    if (row.how === 'reaped') assert.equal(await f.store.reapNode('node-1', nowMs, 10), 1)
    else {
      const ended = await f.close('c', epoch, { fate, sessionExpirySeconds: expirySeconds })
      assert.deepEqual(ended, decided.session === 'ends' ? [subscription('a')] : [])
    }
    const dueAtMs = decided.willDueAtMs ?? nowMs + FAR_MS
    const early = await sweepAt(f, dueAtMs - 1)
    assert.deepEqual(early.wills, [])
    const late = await sweepAt(f, dueAtMs)
    assert.equal(late.wills.length, decided.willDueAtMs === undefined ? 0 : 1)
    const hasEnded = early.hasEnded || late.hasEnded
    if (decided.session === 'expires') {
      assert.equal(hasEnded || (await sweepAt(f, decided.expiresAtMs)).hasEnded, true)
      if (dueAtMs < decided.expiresAtMs) assert.equal(hasEnded, false)
    } else {
      // A dead node's session without expiry ends in the sweep, which tells its subscriptions.
      assert.equal(hasEnded, row.how === 'reaped' && decided.session === 'ends')
    }
    const { sessionPresent } = await f.open('c', { nowMs: Math.max(dueAtMs, decided.expiresAtMs) })
    assert.equal(sessionPresent, decided.session === 'stays')
  }
}

function closeName({ how, fate, delaySeconds, expirySeconds }: CloseCase): string {
  const { decision, ids } = SESSIONS_ON_CLOSE[expiryKindOf(expirySeconds)]
  const what = how === 'reaped' ? 'node reaped' : fate === 'discard' ? 'DISCONNECT' : 'connection lost'
  const before = `${what}, ${EXPIRY_WORDS[expiryKindOf(expirySeconds)]}`
  if (delaySeconds === undefined) return `${before}, no will: session ${decision}. ${ids}`
  const rule = willRuleOnClose(fate, delaySeconds, expirySeconds)
  return `${before}, will delay ${delaySeconds} s: session ${decision}; will due ${rule.decision}. ${ids}; ${rule.ids}`
}

/** The rows of the table, one test each. */
export const rulesContract: StoreTests = Object.fromEntries([
  ...openCases().map(row => [openName(row), openTest(row)] as const),
  ...closeCases().map(row => [closeName(row), closeTest(row)] as const),
])
