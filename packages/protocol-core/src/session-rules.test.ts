import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SESSION_EXPIRY_NEVER } from './limits.ts'
import {
  decideClose,
  decideStart,
  decideWillOnOpen,
  GOODBYE,
  SESSION_STARTS,
  SESSION_STATE,
  SESSIONS_ON_CLOSE,
  type SessionStanding,
  standingOf,
  standingOfFiredWill,
  standingOfOpenWill,
  WILLS_ON_CLOSE,
  WILLS_ON_OPEN,
} from './session-rules.ts'

const NOW_MS = 1_700_000_000_000

describe('the standing of a session', () => {
  const cases: [string, Parameters<typeof standingOf>[0], SessionStanding][] = [
    ['none', undefined, 'absent'],
    ['connected', { isConnected: true, expirySeconds: 60, expiresAtMs: 0 }, 'connected'],
    ['connected without an expiry', { isConnected: true, expirySeconds: 0, expiresAtMs: 0 }, 'transient'],
    ['left, a moment before its end', { isConnected: false, expirySeconds: 60, expiresAtMs: NOW_MS + 1 }, 'stored'],
    ['left, at its end', { isConnected: false, expirySeconds: 60, expiresAtMs: NOW_MS }, 'overdue'],
    ['left for ever', { isConnected: false, expirySeconds: SESSION_EXPIRY_NEVER, expiresAtMs: 0 }, 'stored'],
    ['left without an expiry, by a dead node', { isConnected: false, expirySeconds: 0, expiresAtMs: 0 }, 'overdue'],
  ]
  for (const [name, session, standing] of cases) {
    it(`${name}: ${standing}`, () => assert.equal(standingOf(session, NOW_MS), standing))
  }
})

describe('CONNECT', () => {
  it('resumes what is there, unless clean start or the end of the session forbid it', () => {
    const resumed = (Object.keys(SESSION_STARTS) as SessionStanding[]).filter(
      standing => decideStart(standing, false) === 'resumed',
    )
    assert.deepEqual(resumed, ['stored', 'connected'])
    for (const standing of Object.keys(SESSION_STARTS) as SessionStanding[]) {
      assert.notEqual(decideStart(standing, true), 'resumed')
    }
  })

  it('takes back a will whose delay is not over, if the session goes on; v5 [MQTT-3.1.3-9]', () => {
    assert.equal(decideWillOnOpen(standingOfFiredWill(NOW_MS + 1, NOW_MS + 1, NOW_MS), 'resumed'), 'cancel')
    assert.equal(decideWillOnOpen(standingOfFiredWill(NOW_MS + 1, NOW_MS + 1, NOW_MS), 'replaced'), 'claim')
    assert.equal(decideWillOnOpen(standingOfOpenWill(1), 'resumed'), 'cancel')
    assert.equal(decideWillOnOpen(standingOfOpenWill(1), 'replaced'), 'claim')
    assert.equal(decideWillOnOpen(standingOfOpenWill(0), 'resumed'), 'claim')
  })

  it('publishes a will that is due, or waits for whoever does', () => {
    assert.equal(decideWillOnOpen(standingOfFiredWill(NOW_MS, NOW_MS, NOW_MS), 'resumed'), 'claim')
    assert.equal(decideWillOnOpen(standingOfFiredWill(NOW_MS, NOW_MS + 1, NOW_MS), 'resumed'), 'await')
    assert.equal(decideWillOnOpen(standingOfFiredWill(NOW_MS - 10_000, NOW_MS, NOW_MS), 'created'), 'claim')
  })
})

describe('the end of a connection', () => {
  const close = (willDelaySeconds: number | undefined, expirySeconds: number, fate: 'fire' | 'discard' = 'fire') =>
    decideClose({ fate, willDelaySeconds, expirySeconds, nowMs: NOW_MS })

  it('makes the will due after its delay, at the end of the session at the latest; v5 [MQTT-3.1.2-8]', () => {
    assert.equal(close(0, 60).willDueAtMs, NOW_MS)
    assert.equal(close(20, 60).willDueAtMs, NOW_MS + 20_000)
    assert.equal(close(60, 60).willDueAtMs, NOW_MS + 60_000)
    assert.equal(close(61, 60).willDueAtMs, NOW_MS + 60_000)
    assert.equal(close(20, 0).willDueAtMs, NOW_MS)
    assert.equal(close(20, SESSION_EXPIRY_NEVER).willDueAtMs, NOW_MS + 20_000)
    assert.equal(close(SESSION_EXPIRY_NEVER, SESSION_EXPIRY_NEVER).willDueAtMs, NOW_MS + SESSION_EXPIRY_NEVER * 1000)
  })

  it('makes no will due when there is none, or DISCONNECT has taken it back; v5 [MQTT-3.14.4-3]', () => {
    assert.equal(close(undefined, 60).willDueAtMs, undefined)
    assert.equal(close(0, 0, 'discard').willDueAtMs, undefined)
  })

  it('ends the session, lets it expire, or lets it stay', () => {
    assert.deepEqual([close(0, 0).session, close(0, 0).expiresAtMs], ['ends', 0])
    assert.deepEqual([close(0, 60).session, close(0, 60).expiresAtMs], ['expires', NOW_MS + 60_000])
    assert.deepEqual([close(0, SESSION_EXPIRY_NEVER).session, close(0, SESSION_EXPIRY_NEVER).expiresAtMs], ['stays', 0])
  })
})

it('every row names the statements that decide it, with their version', () => {
  const rows = [SESSION_STARTS, WILLS_ON_OPEN, WILLS_ON_CLOSE].flatMap(table =>
    Object.values<Record<string, { ids: string }>>(table).flatMap(row => Object.values(row)),
  )
  for (const { ids } of [...rows, GOODBYE, ...Object.values(SESSIONS_ON_CLOSE), ...Object.values(SESSION_STATE)]) {
    assert.match(ids, /^v(5|3\.1\.1) (\[MQTT-\d+\.\d+\.\d+-\d+\]|section \d)/)
  }
})
