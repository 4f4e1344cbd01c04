import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ProtocolError } from '../errors.ts'
import type { ClientPacket, ProtocolVersion } from '../packet.ts'
import { decodePacket, shortAckPacketId } from './decode.ts'
import { decodeForwardableProperties } from './decode-properties.ts'
import { encodeForwardableProperties } from './encode-properties.ts'

const GUARD = 3

/** Bytes from hex and `s'text'` (with a two-byte length). */
function wire(notation: string): Uint8Array {
  const out: number[] = []
  for (const token of notation.match(/s'[^']*'|[0-9a-f]{2}/gi) ?? []) {
    if (!token.startsWith('s')) {
      out.push(Number.parseInt(token, 16))
      continue
    }
    const raw = new TextEncoder().encode(token.slice(2, -1))
    out.push(raw.length >> 8, raw.length & 0xff, ...raw)
  }
  return Uint8Array.from(out)
}

function decode(firstByte: number, notation: string, version: ProtocolVersion): ClientPacket {
  const body = wire(notation)
  const buf = Buffer.alloc(body.length + 2 * GUARD, 0x01)
  buf.set(body, GUARD)
  const packet = decodePacket(firstByte, buf, GUARD, GUARD + body.length, version)
  // The receive buffer (a Buffer, whose `slice` does not copy) is used again: nothing in the result may be a view of it.
  buf.fill(0xff)
  return packet
}

type Refusal = [name: string, code: number, version: ProtocolVersion, firstByte: number, body: string]

const invalid: Refusal[] = [
  ['reserved type 0', 0x81, 5, 0x00, ''],
  ['reserved flags', 0x81, 4, 0x41, '0001'],
  ['v3.1.1 [MQTT-3.8.1-1] flags of SUBSCRIBE', 0x81, 4, 0x80, "0001 s'a' 00"],
  ['v3.1.1 [MQTT-3.6.1-1] flags of PUBREL', 0x81, 4, 0x60, '0001'],
  ['v3.1.1 [MQTT-3.10.1-1] flags of UNSUBSCRIBE', 0x81, 4, 0xa0, "0001 s'a'"],
  ['DUP on SUBSCRIBE, which is 3.1 only', 0x81, 4, 0x8a, "0001 s'a' 00"],
  ['[MQTT-3.1.0-2] second CONNECT', 0x82, 4, 0x10, "s'MQTT' 04 02 003c s'c'"],
  ['CONNACK from a client', 0x82, 5, 0x20, '0000'],
  ['AUTH before v5', 0x81, 4, 0xf0, ''],

  ['PUBACK without packet identifier', 0x81, 4, 0x40, ''],
  ['PUBACK with half a packet identifier', 0x81, 4, 0x40, '00'],
  ['PUBACK with packet identifier 0', 0x82, 4, 0x40, '0000'],
  ['PUBREL with packet identifier 0', 0x82, 5, 0x62, '0000'],
  ['3.1.1 PUBACK with a reason code', 0x81, 4, 0x40, '0001 00'],
  ['v5 [MQTT-3.4.2-1] code of PUBACK', 0x82, 5, 0x40, '0001 92'],
  ['v5 [MQTT-3.5.2-1] code of PUBREC', 0x82, 5, 0x50, '0001 01'],
  ['v5 [MQTT-3.6.2-1] code of PUBREL', 0x82, 5, 0x62, '0001 80'],
  ['v5 [MQTT-3.7.2-1] code of PUBCOMP', 0x82, 5, 0x70, '0001 10'],
  ['PUBACK with bytes behind its properties', 0x81, 5, 0x40, '0001 00 00 00'],
  ['PUBACK with a truncated property list', 0x81, 5, 0x40, "0001 00 05 1f s'p'"],
  ['PUBACK with two Reason Strings', 0x82, 5, 0x40, "0001 00 08 1f s'p' 1f s'p'"],
  ['PUBACK with a misplaced property', 0x81, 5, 0x40, '0001 00 02 01 00'],

  ['SUBSCRIBE with packet identifier 0', 0x82, 4, 0x82, "0000 s'a' 00"],
  ['[MQTT-3.8.3-3] SUBSCRIBE without filter', 0x82, 4, 0x82, '0001'],
  ['v5 [MQTT-3.8.3-2] SUBSCRIBE without filter', 0x82, 5, 0x82, '0001 00'],
  ['SUBSCRIBE without options', 0x81, 4, 0x82, "0001 s'a'"],
  ['SUBSCRIBE with an empty filter', 0x81, 4, 0x82, '0001 0000 00'],
  ['v3.1.1 [MQTT-3.8.3-4] QoS 3', 0x81, 4, 0x82, "0001 s'a' 03"],
  ['v3.1.1 [MQTT-3.8.3-4] reserved bits', 0x81, 4, 0x82, "0001 s'a' 04"],
  ['v5 QoS 3', 0x82, 5, 0x82, "0001 00 s'a' 03"],
  ['v5 Retain Handling 3', 0x82, 5, 0x82, "0001 00 s'a' 30"],
  ['v5 [MQTT-3.8.3-5] reserved option bit 6', 0x81, 5, 0x82, "0001 00 s'a' 40"],
  ['v5 [MQTT-3.8.3-5] reserved option bit 7', 0x81, 5, 0x82, "0001 00 s'a' 80"],
  ['v5 [MQTT-3.8.3-4] No Local on a shared subscription', 0x82, 5, 0x82, "0001 00 s'$share/g/a' 04"],
  ['v5 Subscription Identifier 0', 0x82, 5, 0x82, "0001 02 0b 00 s'a' 00"],
  ['v5 Subscription Identifier twice', 0x82, 5, 0x82, "0001 04 0b 01 0b 02 s'a' 00"],
  ['v5 Subscription Identifier of five bytes', 0x81, 5, 0x82, "0001 06 0b 80 80 80 80 01 s'a' 00"],
  ['v5 Topic Alias in SUBSCRIBE', 0x81, 5, 0x82, "0001 03 23 0001 s'a' 00"],
  ['v5 Reason String in SUBSCRIBE', 0x81, 5, 0x82, "0001 04 1f s'p' s'a' 00"],
  ['v3.1.1 [MQTT-4.7.1-2] SUBSCRIBE to a#', 0x81, 4, 0x82, "0001 s'a#' 00"],
  ['v3.1.1 [MQTT-4.7.1-3] UNSUBSCRIBE from a+', 0x81, 4, 0xa2, "0001 s'a+'"],
  ['v5 [MQTT-4.7.1-1] an ill-formed filter behind a good one', 0x81, 5, 0x82, "0001 00 s'a' 00 s'#/a' 00"],
  ['v5 [MQTT-4.8.2-1] SUBSCRIBE to $share//a', 0x81, 5, 0x82, "0001 00 s'$share//a' 00"],
  ['v5 [MQTT-4.8.2-2] UNSUBSCRIBE from $share/g', 0x81, 5, 0xa2, "0001 00 s'$share/g'"],
  ['filter that is not UTF-8', 0x81, 4, 0x82, '0001 0001 ff 00'],
  ['filter with U+0000', 0x81, 4, 0x82, '0001 0001 00 00'],
  ['filter with a surrogate', 0x81, 4, 0x82, '0001 0003 eda080 00'],

  ['[MQTT-3.10.3-2] UNSUBSCRIBE without filter', 0x82, 4, 0xa2, '0001'],
  ['v5 UNSUBSCRIBE without filter', 0x82, 5, 0xa2, '0001 00'],
  ['UNSUBSCRIBE with an empty filter', 0x81, 4, 0xa2, '0001 0000'],
  ['UNSUBSCRIBE with packet identifier 0', 0x82, 4, 0xa2, "0000 s'a'"],
  ['UNSUBSCRIBE with a truncated filter', 0x81, 4, 0xa2, '0001 0003 6161'],
  ['v5 Subscription Identifier in UNSUBSCRIBE', 0x81, 5, 0xa2, "0001 02 0b 01 s'a'"],

  ['PINGREQ with a body', 0x81, 4, 0xc0, '00'],
  ['3.1.1 DISCONNECT with a body', 0x81, 4, 0xe0, '00'],
  ['v5 [MQTT-3.14.2-1] code of DISCONNECT', 0x82, 5, 0xe0, '01'],
  ['DISCONNECT with bytes behind its properties', 0x81, 5, 0xe0, '00 00 00'],
  ['DISCONNECT with Session Expiry Interval twice', 0x82, 5, 0xe0, '00 0a 11 00000001 11 00000001'],
  ['DISCONNECT with a misplaced property', 0x81, 5, 0xe0, '00 03 21 0001'],

  ['AUTH without body, which means success', 0x82, 5, 0xf0, ''],
  ['v5 [MQTT-3.15.2-1] code of AUTH', 0x82, 5, 0xf0, "00 04 15 s'm'"],
  ['AUTH without Authentication Method', 0x82, 5, 0xf0, '18 00'],
  ['Authentication Data without Method', 0x82, 5, 0xf0, "18 04 16 s'd'"],
  ['AUTH with bytes behind its properties', 0x81, 5, 0xf0, "18 04 15 s'm' 00"],
]

for (const [name, code, version, firstByte, body] of invalid) {
  test(`decodePacket() refuses, v${version}: ${name}`, () => {
    assert.throws(
      () => decode(firstByte, body, version),
      (error: unknown) => error instanceof ProtocolError && error.reasonCode === code,
    )
  })
}

type Acceptance = [name: string, version: ProtocolVersion, firstByte: number, body: string, packet: object]
const request3 = { noLocal: false, retainAsPublished: false, retainHandling: 0 }

const valid: Acceptance[] = [
  ['PUBACK', 4, 0x40, '04d2', { type: 4, packetId: 1234, reasonCode: 0, properties: {} }],
  ['PUBREC in short form', 5, 0x50, 'ffff', { type: 5, packetId: 65535, reasonCode: 0, properties: {} }],
  ['PUBREL without Property Length', 5, 0x62, '0001 92', { type: 6, packetId: 1, reasonCode: 0x92, properties: {} }],
  ['PUBREL with DUP', 3, 0x6a, '0001', { type: 6, packetId: 1, reasonCode: 0, properties: {} }],
  [
    'PUBCOMP with properties',
    5,
    0x70,
    "0001 00 13 1f s'why' 26 s'k' s'' 26 s'k' s'v'",
    {
      type: 7,
      packetId: 1,
      reasonCode: 0,
      properties: {
        reasonString: 'why',
        userProperties: [
          ['k', ''],
          ['k', 'v'],
        ],
      },
    },
  ],
  [
    'SUBSCRIBE',
    4,
    0x82,
    "0001 s'a/#' 00 s'+' 01 s'$SYS' 02",
    {
      type: 8,
      packetId: 1,
      subscriptionId: 0,
      properties: {},
      requests: [
        { topicFilter: 'a/#', qos: 0, ...request3 },
        { topicFilter: '+', qos: 1, ...request3 },
        { topicFilter: '$SYS', qos: 2, ...request3 },
      ],
    },
  ],
  [
    'SUBSCRIBE with DUP',
    3,
    0x8a,
    "0001 s'a' 00",
    { type: 8, packetId: 1, subscriptionId: 0, properties: {}, requests: [{ topicFilter: 'a', qos: 0, ...request3 }] },
  ],
  [
    'SUBSCRIBE with every option',
    5,
    0x82,
    "0001 05 0b ff ff ff 7f s'a/#' 2e s'$share/g/a' 18",
    {
      type: 8,
      packetId: 1,
      subscriptionId: 268_435_455,
      properties: { subscriptionIdentifiers: [268_435_455] },
      requests: [
        { topicFilter: 'a/#', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        { topicFilter: '$share/g/a', qos: 0, noLocal: false, retainAsPublished: true, retainHandling: 1 },
      ],
    },
  ],
  ['UNSUBSCRIBE', 4, 0xa2, "0001 s'a' s'b'", { type: 10, packetId: 1, topicFilters: ['a', 'b'], properties: {} }],
  [
    'UNSUBSCRIBE with User Property and U+FEFF',
    5,
    0xa2,
    "0001 07 26 s'k' s'v' s'\ufeffa'",
    { type: 10, packetId: 1, topicFilters: ['\ufeffa'], properties: { userProperties: [['k', 'v']] } },
  ],
  ['PINGREQ', 4, 0xc0, '', { type: 12 }],
  ['DISCONNECT', 4, 0xe0, '', { type: 14, reasonCode: 0, properties: {} }],
  ['DISCONNECT without body', 5, 0xe0, '', { type: 14, reasonCode: 0, properties: {} }],
  ['DISCONNECT with will', 5, 0xe0, '04', { type: 14, reasonCode: 4, properties: {} }],
  [
    'DISCONNECT with Session Expiry Interval',
    5,
    0xe0,
    '00 05 11 ffffffff',
    { type: 14, reasonCode: 0, properties: { sessionExpiryInterval: 0xffff_ffff } },
  ],
  [
    'DISCONNECT with Server Reference, which the type allows',
    5,
    0xe0,
    "00 04 1c s'b'",
    { type: 14, reasonCode: 0, properties: { serverReference: 'b' } },
  ],
  [
    'AUTH',
    5,
    0xf0,
    "18 09 15 s'SC' 16 0001 00",
    {
      type: 15,
      reasonCode: 0x18,
      properties: { authenticationMethod: 'SC', authenticationData: Uint8Array.of(0) },
    },
  ],
]

for (const [name, version, firstByte, body, packet] of valid) {
  test(`decodePacket() reads, v${version}: ${name}`, () => {
    assert.deepEqual(decode(firstByte, body, version), packet)
  })
}

test('shortAckPacketId() takes exactly the two-byte body', () => {
  assert.equal(shortAckPacketId(wire('ff 04d2 00'), 1, 3), 1234)
  assert.equal(shortAckPacketId(wire('04d2 00'), 0, 3), 0)
  assert.equal(shortAckPacketId(wire('04'), 0, 1), 0)
  assert.equal(shortAckPacketId(wire('0000'), 0, 2), 0)
})

test('a list may hold names like __proto__ without harm', () => {
  const packet = decode(0xe0, "00 13 26 s'__proto__' s'value'", 5)
  assert.ok('properties' in packet)
  assert.deepEqual(packet.properties, { userProperties: [['__proto__', 'value']] })
})

/** Property lists made of plausible pieces, so that random bytes get past the first property. */
const list = fc
  .array(
    fc.tuple(
      fc.integer({ min: 1, max: 0x2a }),
      fc.oneof(fc.uint8Array({ maxLength: 4 }), fc.constant(wire("s'a' s'b'"))),
    ),
    { maxLength: 4 },
  )
  .map(parts => parts.flatMap(([id, value]) => [id, ...value]))

test('decodePacket() throws nothing but ProtocolError, whatever the bytes', () => {
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 50 }),
    list.map(bytes => Uint8Array.from([0, 1, bytes.length, ...bytes, 0, 1, 0x61, 0])),
    list.map(bytes => Uint8Array.from([0, 1, 0, bytes.length, ...bytes])),
    list.map(bytes => Uint8Array.from([0x18, bytes.length, ...bytes])),
  )
  const versions = fc.constantFrom<ProtocolVersion>(3, 4, 5)
  const firstByte = fc.oneof(fc.nat(255), fc.constantFrom(0x40, 0x62, 0x82, 0xa2, 0xe0, 0xf0))
  fc.assert(
    fc.property(firstByte, body, versions, (first, bytes, version) => {
      try {
        decodePacket(first, bytes, 0, bytes.length, version)
      } catch (error) {
        assert.ok(error instanceof ProtocolError, String(error))
        assert.ok([0x81, 0x82].includes(error.reasonCode), `code ${error.reasonCode}`)
      }
    }),
    { numRuns: 10_000 },
  )
})

test('forwardable properties survive encoding, others are left out', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter(s => !s.includes('\0'))
  const topic = text.filter(s => s.length > 0 && !/[+#]/.test(s))
  const properties = fc.record(
    {
      payloadFormatIndicator: fc.constantFrom<0 | 1>(0, 1),
      contentType: text,
      responseTopic: topic,
      correlationData: fc.uint8Array({ maxLength: 20 }),
      userProperties: fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 }),
    },
    { requiredKeys: [], noNullPrototype: true },
  )
  fc.assert(
    fc.property(properties, wanted => {
      const block = encodeForwardableProperties({ ...wanted, topicAlias: 3, subscriptionIdentifiers: [1] })
      assert.deepEqual(decodeForwardableProperties(block), wanted)
    }),
  )
})

test('decodeForwardableProperties() refuses what does not belong there', () => {
  for (const block of ['23 0001', '02 00000001', '0b 01', '03 00', 'ff']) {
    assert.throws(() => decodeForwardableProperties(wire(block)), ProtocolError)
  }
})
