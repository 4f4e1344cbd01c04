import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Standing } from './hash-queue.ts'
import { type Attempt, attemptOf } from './login-history.ts'
import { networkOf } from './network.ts'
import { claimOf, historyOf } from './testing/claims.ts'

for (const [address, network] of [
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:0db8:0001:0002::1', '2001:db8:1:2'],
  ['2001:db8::1', '2001:db8:0:0'],
  ['::1', '0:0:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['1:2:3::', '1:2:3:0'],
  ['', ''],
] as const) {
  test(`the network of ${address} is ${network}`, () => assert.equal(networkOf(address), network))
}

function attempt(username: string, network = '10.0.0.1', instance = 'default'): Attempt {
  return attemptOf(claimOf({ instance }, network), username)
}

test('who has logged in from there before stands best, a network with failures worst', () => {
  let nowMs = 0
  const history = historyOf({ now: () => nowMs })
  assert.equal(history.standing(attempt('anna')), Standing.fresh)
  history.succeeded(attempt('anna'))
  assert.equal(history.standing(attempt('anna')), Standing.known)
  assert.equal(history.standing(attempt('anna', '10.0.0.2')), Standing.fresh)
  history.failed(attempt('nobody'))
  assert.equal(history.standing(attempt('bert')), Standing.doubtful)
  assert.equal(history.standing(attempt('anna')), Standing.known)
  assert.equal(history.standing(attempt('bert', '10.0.0.2')), Standing.fresh)
  history.failed(attempt('anna'))
  assert.equal(history.standing(attempt('anna')), Standing.doubtful)
  nowMs += 600_000
  assert.equal(history.standing(attempt('bert')), Standing.fresh)
})

test('failures count per user and network, and a success ends the count', () => {
  const history = historyOf({ failuresMax: 2, now: () => 0 })
  for (let n = 0; n < 3; n++) history.failed(attempt('anna'))
  assert.equal(history.waitMs(attempt('anna')), 1000)
  for (const other of [attempt('anna', '10.0.0.2'), attempt('bert'), attempt('anna', '10.0.0.1', 'other')]) {
    assert.equal(history.waitMs(other), 0)
  }
  history.succeeded(attempt('anna'))
  assert.equal(history.waitMs(attempt('anna')), 0)
  history.failed(attempt('anna'))
  assert.equal(history.waitMs(attempt('anna')), 0)
})

test('the pause doubles up to its bound, and old failures are forgotten', () => {
  let nowMs = 0
  const history = historyOf({ failuresMax: 1, backOffMsMax: 6000, now: () => nowMs })
  history.failed(attempt('anna'))
  const pauses: number[] = []
  for (let n = 0; n < 5; n++) {
    history.failed(attempt('anna'))
    pauses.push(history.waitMs(attempt('anna')))
    nowMs += 6000
  }
  assert.deepEqual(pauses, [1000, 2000, 4000, 6000, 6000])
  nowMs += 600_000
  history.failed(attempt('anna'))
  assert.equal(history.waitMs(attempt('anna')), 0)
})

test('ten thousand other users push out the oldest one only', () => {
  const history = historyOf({ failuresMax: 1, now: () => 0 })
  for (const name of ['old', 'old', 'young', 'young']) history.failed(attempt(name))
  for (let n = 0; n < 9999; n++) history.failed(attempt(`n${n}`))
  assert.equal(history.waitMs(attempt('old')), 0)
  assert.equal(history.waitMs(attempt('young')), 1000)
})
