import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QuietTimes } from './quiet-times.ts'

test('each kind passes once in an interval, and then says how many did not', () => {
  const times = new QuietTimes<string>(10)
  assert.deepEqual(
    [times.pass('a', 0), times.pass('b', 1), times.pass('a', 9), times.pass('a', 9)],
    [0, 0, undefined, undefined],
  )
  assert.deepEqual([times.pass('a', 10), times.pass('b', 10), times.pass('a', 20)], [2, undefined, 0])
})

test('kinds whose time is over can be forgotten', () => {
  const times = new QuietTimes<string>(10)
  times.pass('a', 0)
  times.pass('b', 5)
  times.forgetLapsed(10)
  assert.deepEqual([times.size, times.has('a'), times.has('b')], [1, false, true])
})
