import assert from 'node:assert/strict'
import { it } from 'node:test'
import { keepAliveSecondsOf, keepAliveTimeoutMs } from './keep-alive.ts'

it('keepAliveTimeoutMs() is one and a half times the Keep Alive, and 0 when that is off', () => {
  assert.deepEqual([0, 1, 15, 60, 65_535].map(keepAliveTimeoutMs), [0, 1500, 22_500, 90_000, 98_302_500])
})

it('the Keep Alive is found from the time-out that comes of it', () => {
  for (const seconds of [0, 1, 7, 60, 65_535]) assert.equal(keepAliveSecondsOf(keepAliveTimeoutMs(seconds)), seconds)
})
