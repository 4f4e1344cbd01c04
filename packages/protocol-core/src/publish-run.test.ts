import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrameReader, FrameWriter } from './node-frame.ts'
import { PublishRun } from './publish-run.ts'

const TOPIC = Uint8Array.from([0x61, 0x2f, 0x62])

/** Frames of topic `a/b` with the given payload sizes; each payload is filled with its own position. */
function runOf(sizes: number[], isV5 = false): PublishRun {
  const bytes: number[] = [0xff, 0xff]
  sizes.forEach((size, i) => {
    const body = 2 + TOPIC.length + (isV5 ? 1 : 0) + size
    bytes.push(0x30)
    if (body < 128) bytes.push(body)
    else bytes.push((body & 0x7f) | 0x80, body >>> 7)
    bytes.push(0, TOPIC.length, ...TOPIC, ...(isV5 ? [0] : []), ...new Array<number>(size).fill(i))
  })
  return new PublishRun({
    topicName: 'a/b',
    topicBytes: TOPIC,
    publisherId: 'p',
    isV5,
    bytes: Uint8Array.from([...bytes, 0xee]),
    start: 2,
    end: bytes.length,
    count: sizes.length,
  })
}

for (const isV5 of [false, true]) {
  test(`messages() of a ${isV5 ? 'v5' : 'v3.1.1'} run are what the frames carry`, () => {
    const sizes = [0, 1, 60, 120, 130, 5000]
    const messages = runOf(sizes, isV5).messages()
    assert.deepEqual(
      messages.map(message => message.payload.length),
      sizes,
    )
    messages.forEach((message, i) => {
      assert.ok(message.payload.every(byte => byte === i))
      assert.deepEqual([message.topicName, message.qos, message.retain, message.publisherId], ['a/b', 0, false, 'p'])
    })
  })

  test(`a frame between nodes carries a ${isV5 ? 'v5' : 'v3.1.1'} run`, () => {
    const run = runOf([3, 0, 200], isV5)
    const writer = new FrameWriter('n', 1)
    assert.ok(writer.appendRun('default', run))
    assert.equal(writer.messageCount, 3)
    const reader = new FrameReader()
    assert.ok(reader.open(writer.take()))
    assert.ok(reader.next())
    assert.deepEqual(reader.run?.messages(), run.messages())
    assert.equal(reader.message, undefined)
    assert.equal(reader.next(), false)
  })
}

test('isSound() refuses every run with one changed byte outside its payloads, and a wrong count', () => {
  const run = runOf([2, 2])
  assert.ok(run.isSound())
  assert.equal(new PublishRun({ ...run, count: 3 }).isSound(), false)
  assert.equal(new PublishRun({ ...run, end: run.end - 1 }).isSound(), false)
  const payloads = new Set([9, 10, 18, 19])
  for (let at = run.start; at < run.end; at++) {
    if (payloads.has(at)) continue
    const bytes = run.bytes.slice()
    bytes[at] = (bytes[at] as number) ^ 0x01
    assert.equal(new PublishRun({ ...run, bytes }).isSound(), false, `byte ${at}`)
  }
})
