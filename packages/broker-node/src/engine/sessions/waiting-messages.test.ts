import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BYTES, encodeUtf8, Message } from '@midge/protocol-core'
import { formOf } from '../ground/delivery-form.ts'
import { WaitingMessages } from './waiting-messages.ts'

const FORM = formOf(1, false, undefined)

function message(payload: Uint8Array): Message {
  return new Message({
    topicName: 't',
    topicBytes: encodeUtf8('t'),
    payload,
    qos: 1,
    retain: false,
    properties: EMPTY_BYTES,
    expiresAtMs: 0,
    publisherId: 'p',
  })
}

test('messages come back in order, through every compaction', () => {
  const waiting = new WaitingMessages({ onlineQueueMessages: 5000, onlineQueueBytes: 1e9 })
  let pushed = 0
  let shifted = 0
  while (shifted < 20_000) {
    for (let i = 0; i < 7 && waiting.push(message(Buffer.from(`${pushed}`)), FORM); i++) pushed++
    for (let i = 0; i < 5; i++)
      assert.equal(Buffer.from(waiting.shift()?.message.payload ?? '').toString(), `${shifted++}`)
  }
  while (!waiting.isEmpty) assert.equal(Buffer.from(waiting.shift()?.message.payload ?? '').toString(), `${shifted++}`)
  assert.equal(shifted, pushed)
  assert.equal(waiting.shift(), undefined)
})

test('both bounds hold, and room comes back', () => {
  const byCount = new WaitingMessages({ onlineQueueMessages: 2, onlineQueueBytes: 1e9 })
  assert.equal(byCount.push(message(EMPTY_BYTES), FORM), true)
  assert.equal(byCount.push(message(EMPTY_BYTES), FORM), true)
  assert.equal(byCount.push(message(EMPTY_BYTES), FORM), false)
  byCount.shift()
  assert.equal(byCount.push(message(EMPTY_BYTES), FORM), true)
  const byBytes = new WaitingMessages({ onlineQueueMessages: 100, onlineQueueBytes: 1000 })
  assert.equal(byBytes.push(message(Buffer.alloc(600)), FORM), true)
  assert.equal(byBytes.push(message(Buffer.alloc(600)), FORM), false)
  byBytes.shift()
  assert.equal(byBytes.push(message(Buffer.alloc(600)), FORM), true)
})

test('a waiting message does not hold on to the buffer it came in', () => {
  const received = Buffer.alloc(65_536)
  const waiting = new WaitingMessages({ onlineQueueMessages: 10, onlineQueueBytes: 1e6 })
  waiting.push(message(received.subarray(10, 20)), FORM)
  received.fill(0xff)
  const payload = waiting.shift()?.message.payload
  assert.deepEqual([...(payload ?? [])], new Array<number>(10).fill(0))
  assert.notEqual(payload?.buffer, received.buffer)
})
