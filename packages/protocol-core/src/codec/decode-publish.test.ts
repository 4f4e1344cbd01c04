import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EMPTY_BYTES } from '../message.ts'
import type { ProtocolVersion, Qos } from '../packet.ts'
import { decodePublish, PublishView } from './decode-publish.ts'
import { PublishFrame, packetIdOffset, patchPacketId } from './encode-publish.ts'
import { scanFrame } from './frame.ts'

const GUARD = 3

/** Bytes from hex, `'text'` (raw) and `s'text'` (with a two-byte length). */
function wire(notation: string): Uint8Array {
  const out: number[] = []
  for (const token of notation.match(/s?'[^']*'|[0-9a-f]{2}/gi) ?? []) {
    if (!token.includes("'")) {
      out.push(Number.parseInt(token, 16))
      continue
    }
    const raw = new TextEncoder().encode(token.slice(token.indexOf("'") + 1, -1))
    if (token.startsWith('s')) out.push(raw.length >> 8, raw.length & 0xff)
    out.push(...raw)
  }
  return Uint8Array.from(out)
}

function decode(view: PublishView, firstByte: number, notation: string, version: ProtocolVersion): number {
  const body = wire(notation)
  // Bytes of other packets around the body: reading over its end gives a wrong result, not `undefined`.
  const buf = new Uint8Array(body.length + 2 * GUARD).fill(0x01)
  buf.set(body, GUARD)
  return decodePublish(view, firstByte, buf, GUARD, GUARD + body.length, version)
}

const invalid: [name: string, code: number, version: ProtocolVersion, firstByte: number, body: string][] = [
  ['[MQTT-3.3.1-4] QoS 3', 0x81, 4, 0x36, "s'topic' 0001 'x'"],
  ['[MQTT-3.3.1-4] QoS 3, v5', 0x81, 5, 0x36, "s'topic' 0001 00"],
  ['[MQTT-3.3.1-2] DUP at QoS 0', 0x81, 4, 0x38, "s'topic'"],
  ['[MQTT-3.3.1-2] DUP at QoS 0, v5', 0x81, 5, 0x38, "s'topic' 00"],
  ['packet identifier 0', 0x82, 4, 0x32, "s'topic' 0000"],
  ['packet identifier 0, v5', 0x82, 5, 0x34, "s'topic' 0000 00"],
  ['empty body', 0x81, 4, 0x30, ''],
  ['half a topic length', 0x81, 4, 0x30, '00'],
  ['topic longer than the body', 0x81, 4, 0x30, "0006 'topic'"],
  ['packet identifier missing', 0x81, 4, 0x32, "s'topic'"],
  ['half a packet identifier', 0x81, 4, 0x32, "s'topic' 00"],
  ['v3.1.1 [MQTT-4.7.3-1] empty topic', 0x81, 4, 0x30, "0000 'x'"],
  ['v5 empty topic without alias', 0x82, 5, 0x30, "0000 00 'x'"],
  ['v5 without Property Length', 0x81, 5, 0x30, "s'topic'"],
  ['Property Length beyond the body', 0x81, 5, 0x30, "s'topic' 03 01 00"],
  ['Property Length beyond the body, where another packet begins', 0x81, 5, 0x30, "s'topic' 02"],
  ['Property Length not in shortest form', 0x81, 5, 0x30, "s'topic' 80 00"],
  ['Property Length with a fifth byte', 0x81, 5, 0x30, "s'topic' ff ff ff ff 01"],
  ['unknown property 00', 0x81, 5, 0x30, "s'topic' 02 00 01"],
  ['unknown property 7f', 0x81, 5, 0x30, "s'topic' 02 7f 01"],
  ['two-byte property identifier', 0x81, 5, 0x30, "s'topic' 03 81 00 01"],
  ['misplaced Session Expiry Interval', 0x81, 5, 0x30, "s'topic' 05 11 00000001"],
  ['misplaced Reason String', 0x81, 5, 0x30, "s'topic' 04 1f s'p'"],
  ['Payload Format Indicator 2', 0x82, 5, 0x30, "s'topic' 02 01 02"],
  ['Payload Format Indicator twice', 0x82, 5, 0x30, "s'topic' 04 01 01 01 01"],
  ['Payload Format Indicator without value', 0x81, 5, 0x30, "s'topic' 01 01 'x'"],
  ['Message Expiry Interval twice', 0x82, 5, 0x30, "s'topic' 0a 02 00000001 02 00000001"],
  ['Message Expiry Interval truncated', 0x81, 5, 0x30, "s'topic' 04 02 000000 'x'"],
  ['v5 [MQTT-3.3.2-8] Topic Alias 0', 0x94, 5, 0x30, "s'topic' 03 23 0000"],
  ['Topic Alias twice', 0x82, 5, 0x30, "s'topic' 06 23 0001 23 0002"],
  ['v5 [MQTT-3.3.4-6] Subscription Identifier', 0x82, 5, 0x30, "s'topic' 02 0b 01"],
  ['Subscription Identifier malformed', 0x81, 5, 0x30, "s'topic' 03 0b 80 00"],
  ['v5 [MQTT-3.3.2-14] Response Topic with +', 0x82, 5, 0x30, "s'topic' 06 08 s'a/+'"],
  ['v5 [MQTT-3.3.2-14] Response Topic with #', 0x82, 5, 0x30, "s'topic' 04 08 s'#'"],
  ['v5 [MQTT-3.3.2-13] Response Topic not UTF-8', 0x81, 5, 0x30, "s'topic' 04 08 0001 ff"],
  ['empty Response Topic', 0x82, 5, 0x30, "s'topic' 03 08 0000"],
  ['Response Topic without value', 0x81, 5, 0x30, "s'topic' 01 08 'payload'"],
  ['Response Topic twice', 0x82, 5, 0x30, "s'topic' 08 08 s'p' 08 s'p'"],
  ['v5 [MQTT-3.3.2-19] Content Type not UTF-8', 0x81, 5, 0x30, "s'topic' 04 03 0001 80"],
  ['Correlation Data beyond the list', 0x81, 5, 0x30, "s'topic' 04 09 0002 61 'x'"],
  ['User Property without value', 0x81, 5, 0x30, "s'topic' 04 26 s'k' 'payload'"],
  ['v5 [MQTT-1.5.4-2] U+0000 in a User Property', 0x81, 5, 0x30, "s'topic' 07 26 0001 00 s'v'"],
  ['surrogate in the value of a User Property', 0x81, 5, 0x30, "s'topic' 09 26 s'k' 0003 eda080"],
]

for (const [name, code, version, firstByte, body] of invalid) {
  test(`decodePublish() refuses, v${version}: ${name}`, () => {
    assert.equal(decode(new PublishView(), firstByte, body, version), code)
  })
}

test('decodePublish() reads a 3.1.1 PUBLISH and leaves the topic bytes alone', () => {
  const view = new PublishView()
  assert.equal(decode(view, 0x3b, "s'a/b' 04d2 'hello'", 4), 0)
  assert.deepEqual(
    { ...view },
    {
      qos: 1,
      dup: true,
      retain: true,
      packetId: 1234,
      topicStart: GUARD + 2,
      topicEnd: GUARD + 5,
      topicAlias: 0,
      messageExpirySeconds: -1,
      payloadFormat: -1,
      properties: EMPTY_BYTES,
      payloadStart: GUARD + 7,
      payloadEnd: GUARD + 12,
    },
  )
})

test('decodePublish() leaves nothing of the packet before in the view', () => {
  const view = new PublishView()
  assert.equal(decode(view, 0x35, "s't' 0007 12 01 01 02 0000000a 23 0005 26 s'k' s''  'x'", 5), 0x81)
  assert.equal(decode(view, 0x35, "s't' 0007 10 01 01 02 0000000a 23 0005 26 s'k' s''  'x'", 5), 0)
  assert.equal(view.topicAlias, 5)
  assert.equal(view.messageExpirySeconds, 10)
  assert.equal(view.payloadFormat, 1)
  assert.equal(decode(view, 0x30, "s't' 00", 5), 0)
  const { topicAlias, messageExpirySeconds, payloadFormat, properties, packetId, payloadStart, payloadEnd } = view
  assert.deepEqual([topicAlias, messageExpirySeconds, payloadFormat, packetId], [0, -1, -1, 0])
  assert.equal(properties, EMPTY_BYTES)
  assert.equal(payloadStart, payloadEnd)
})

test('decodePublish() takes an empty topic with an alias, in v5 only', () => {
  const view = new PublishView()
  assert.equal(decode(view, 0x30, "0000 03 23 000a 'x'", 5), 0)
  assert.equal(view.topicAlias, 10)
  assert.equal(view.topicStart, view.topicEnd)
})

test('decodePublish() reads the largest Message Expiry Interval as unsigned', () => {
  const view = new PublishView()
  assert.equal(decode(view, 0x30, "s't' 05 02 ffffffff", 5), 0)
  assert.equal(view.messageExpirySeconds, 0xffff_ffff)
})

test('the forwardable block is a view of the input when its properties are adjacent, else a copy in order', () => {
  const list = "01 01 26 s'b' s'2' 26 s'a' s'1' 26 s'b' s'3' 03 s'text' 08 s'r' 09 0000"
  const size = wire(list).length
  const hex = (n: number) => n.toString(16).padStart(2, '0')
  const cases: [body: string, isView: boolean][] = [
    [`s't' ${hex(size)} ${list} 'x'`, true],
    [`s't' ${hex(size + 5)} 02 00000009 ${list} 'x'`, true],
    [`s't' ${hex(size + 8)} 23 0001 ${list} 02 00000009 'x'`, true],
    [`s't' ${hex(size + 5)} 01 01 02 00000009 ${list.slice(6)} 'x'`, false],
  ]
  for (const [notation, isView] of cases) {
    const body = wire(notation)
    const view = new PublishView()
    assert.equal(decodePublish(view, 0x30, body, 0, body.length, 5), 0)
    assert.deepEqual(Uint8Array.from(view.properties), wire(list))
    assert.equal(view.properties.buffer === body.buffer, isView)
  }
})

test('decodePublish() returns a reason code for any bytes, and stays inside the body', () => {
  const versions = fc.constantFrom<ProtocolVersion>(3, 4, 5)
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.uint8Array({ maxLength: 40 }).map(list => Uint8Array.from([0, 1, 0x74, list.length, ...list])),
  )
  fc.assert(
    fc.property(body, fc.integer({ min: 0x30, max: 0x3f }), versions, (bytes, firstByte, version) => {
      const view = new PublishView()
      const code = decodePublish(view, firstByte, bytes, 0, bytes.length, version)
      assert.ok([0, 0x81, 0x82, 0x94].includes(code), `code ${code}`)
      if (code !== 0) return
      assert.ok(view.topicStart <= view.topicEnd && view.topicEnd <= view.payloadStart)
      assert.ok(view.payloadStart <= view.payloadEnd && view.payloadEnd === bytes.length)
    }),
    { numRuns: 5000 },
  )
})

const published = fc.record({
  version: fc.constantFrom<ProtocolVersion>(3, 4, 5),
  topic: fc.uint8Array({ minLength: 1, maxLength: 200 }),
  payload: fc.uint8Array({ maxLength: 300 }),
  qos: fc.constantFrom<Qos>(0, 1, 2),
  dup: fc.boolean(),
  retain: fc.boolean(),
  packetId: fc.integer({ min: 1, max: 0xffff }),
  properties: fc.constantFrom(EMPTY_BYTES, wire("01 01 26 s'k' s'v' 26 s'k' s'u' 03 s'text/plain'"), wire("09 s'zzz'")),
  expiry: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 0xffff_ffff })),
  alias: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 0xffff })),
  sendTopic: fc.boolean(),
})

test('a written PUBLISH has the announced size and decodes to the same fields, whatever the frame was used for before', () => {
  const frame = new PublishFrame()
  fc.assert(
    fc.property(published, fc.nat(7), fc.integer({ min: 1, max: 0xffff }), (p, offset, patchedId) => {
      const alias = p.version === 5 ? p.alias : 0
      const sendTopic = p.sendTopic || alias === 0
      const dup = p.dup && p.qos > 0
      Object.assign(frame, {
        ...{ version: p.version, topicBytes: p.topic, payload: p.payload, qos: p.qos, dup, retain: p.retain },
        ...{ packetId: p.packetId, properties: p.properties, expirySeconds: p.expiry, topicAlias: alias, sendTopic },
      })
      const size = frame.measure()
      const buf = new Uint8Array(offset + size + 1).fill(0xee)
      const end = frame.writeTo(buf, offset)
      assert.equal(end, offset + size)
      assert.equal(buf[end], 0xee)
      if (p.qos > 0) patchPacketId(buf, packetIdOffset(buf, offset), patchedId)
      const scanned = scanFrame(buf, offset, end)
      const bodyStart = offset + (scanned & 7)
      assert.equal(bodyStart + (scanned >>> 3), end)
      const view = new PublishView()
      assert.equal(decodePublish(view, buf[offset] ?? 0, buf, bodyStart, end, p.version), 0)
      assert.deepEqual(buf.slice(view.topicStart, view.topicEnd), sendTopic ? p.topic : new Uint8Array(0))
      assert.deepEqual(buf.slice(view.payloadStart, view.payloadEnd), p.payload)
      assert.deepEqual(
        [view.qos, view.dup, view.retain, view.packetId, view.topicAlias, view.messageExpirySeconds],
        [p.qos, dup, p.retain, p.qos === 0 ? 0 : patchedId, alias, p.version === 5 ? p.expiry : -1],
      )
      assert.deepEqual(Uint8Array.from(view.properties), p.version === 5 ? p.properties : new Uint8Array(0))
    }),
  )
})

test('a PUBLISH frame has its v5 properties in the fixed order, with every Subscription Identifier', () => {
  const frame = Object.assign(new PublishFrame(), {
    ...{ version: 5, topicBytes: wire("'t'"), payload: wire("'x'"), qos: 1, dup: true, retain: true, packetId: 9 },
    ...{ properties: wire("26 s'k' s'v'"), expirySeconds: 1, subscriptionIds: [1, 200], topicAlias: 2 },
  })
  const buf = new Uint8Array(100)
  const size = frame.measure()
  assert.equal(frame.writeTo(buf, 0), size)
  const expected = wire("3b 1b s't' 0009 14 02 00000001 23 0002 0b 01 0b c8 01 26 s'k' s'v' 'x'")
  assert.deepEqual(buf.slice(0, size), expected)
})

test('a PUBLISH frame has no properties before v5', () => {
  const frame = Object.assign(new PublishFrame(), {
    ...{ version: 4, topicBytes: wire("'t'"), payload: wire("'x'"), packetId: 9 },
    ...{ properties: wire('01 01'), expirySeconds: 5, subscriptionIds: [1] },
  })
  const buf = new Uint8Array(100)
  const size = frame.measure()
  assert.equal(frame.writeTo(buf, 0), size)
  assert.deepEqual(buf.slice(0, size), wire("30 04 s't' 'x'"))
})
