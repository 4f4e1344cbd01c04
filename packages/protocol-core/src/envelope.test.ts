import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  decodeMessage,
  decodeQueueEntry,
  decodeSubscription,
  decodeSubscriptionOptions,
  decodeWill,
  detachMessage,
  encodeMessage,
  encodeQueueEntryHeader,
  encodeSubscription,
  encodeSubscriptionOptions,
  encodeWill,
  messageSize,
  writeMessage,
} from './envelope.ts'
import { BrokerError } from './errors.ts'
import { Message } from './message.ts'
import type { Qos } from './packet.ts'
import type { Subscription } from './ports/subscription.ts'
import type { StoredWill } from './ports/wills.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x7fff_ffff))
const runs = { seed, numRuns: 500 }
console.log(`envelope.test seed ${seed}`)

// Plain copies, so that a view (which may be a Buffer) equals the array it was made from.
const plain = (bytes: Uint8Array): number[] => [...bytes]

const anyQos = fc.constantFrom<Qos>(0, 1, 2)
const anyText = fc.string({ unit: 'grapheme', maxLength: 60 })
const anyBytes = fc.uint8Array({ maxLength: 200 })
const anyMessage = fc
  .record({
    topicName: anyText,
    payload: anyBytes,
    qos: anyQos,
    retain: fc.boolean(),
    properties: fc.oneof(fc.constant(new Uint8Array(0)), anyBytes),
    expiresAtMs: fc.oneof(fc.constant(0), fc.nat(), fc.integer({ min: 1, max: 2 ** 48 - 1 })),
    publisherId: anyText,
  })
  .map(fields => new Message({ ...fields, topicBytes: new TextEncoder().encode(fields.topicName) }))
const anySubscriptionIds = fc.option(fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1 }), {
  nil: undefined,
})
const anySubscription = fc.record(
  {
    topicFilter: anyText,
    qos: anyQos,
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    retainHandling: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    subscriptionId: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 268_435_455 })),
  },
  { noNullPrototype: true },
)

function assertSameMessage(actual: Message, expected: Message): void {
  const comparable = (message: Message): object => ({
    ...message,
    topicBytes: plain(message.topicBytes),
    payload: plain(message.payload),
    properties: plain(message.properties),
  })
  assert.deepEqual(comparable(actual), comparable(expected))
}

function isEnvelopeInvalid(error: unknown): boolean {
  return error instanceof BrokerError && error.code === 'MIDGE_ENVELOPE_INVALID'
}

test('a message comes back as it was, also from the middle of a larger buffer', () => {
  fc.assert(
    fc.property(anyMessage, fc.nat(20), fc.nat(20), (message, before, after) => {
      const size = messageSize(message)
      const frame = new Uint8Array(before + size + after).fill(0xee)
      assert.equal(writeMessage(message, frame, before), before + size)
      assertSameMessage(decodeMessage(frame, before, before + size), message)
      assert.ok(frame.subarray(0, before).every(byte => byte === 0xee))
      assert.ok(frame.subarray(before + size).every(byte => byte === 0xee))
      assert.deepEqual(plain(encodeMessage(message)), plain(frame.subarray(before, before + size)))
    }),
    runs,
  )
})

test('a detached message is the same message, on bytes of its own', () => {
  fc.assert(
    fc.property(anyMessage, message => {
      const { message: copy, bytes } = detachMessage(message)
      assertSameMessage(copy, message)
      assertSameMessage(decodeMessage(bytes), message)
      for (const part of [copy.topicBytes, copy.payload, copy.properties]) {
        assert.ok(part.length === 0 || part.buffer === bytes.buffer)
      }
    }),
    runs,
  )
})

test('a decoded message shares the bytes it was read from', () => {
  const bytes = encodeMessage(
    new Message({
      topicName: 'a',
      topicBytes: Uint8Array.of(0x61),
      payload: Uint8Array.of(1, 2, 3),
      qos: 1,
      retain: false,
      properties: new Uint8Array(0),
      expiresAtMs: 0,
      publisherId: '',
    }),
  )
  assert.equal(decodeMessage(bytes).payload.buffer, bytes.buffer)
})

test('a queue entry keeps its own QoS, RETAIN and all subscription identifiers', () => {
  fc.assert(
    fc.property(anyMessage, anyQos, fc.boolean(), anySubscriptionIds, (message, qos, retain, subscriptionIds) => {
      const header = encodeQueueEntryHeader(qos, retain, subscriptionIds)
      const entry = decodeQueueEntry(Buffer.concat([header, encodeMessage(message)]))
      assert.deepEqual(
        { qos: entry.qos, retain: entry.retain, subscriptionIds: entry.subscriptionIds },
        { qos, retain, subscriptionIds },
      )
      assertSameMessage(entry.message, message)
    }),
    runs,
  )
})

test('a will comes back with its delay, expiry and owner', () => {
  const seconds = fc.integer({ min: 0, max: 0xffff_ffff })
  const owners = fc.record(
    { username: fc.oneof(fc.constant(undefined), anyText), isKnown: fc.boolean() },
    { noNullPrototype: true },
  )
  fc.assert(
    fc.property(
      anyMessage,
      seconds,
      fc.oneof(fc.constant(-1), seconds),
      fc.oneof(fc.constant(undefined), owners),
      (message, willDelaySeconds, messageExpirySeconds, owner) => {
        const will: StoredWill = { message, willDelaySeconds, messageExpirySeconds, owner }
        const decoded = decodeWill(encodeWill(will))
        assert.equal(decoded.willDelaySeconds, willDelaySeconds)
        assert.equal(decoded.messageExpirySeconds, messageExpirySeconds)
        assert.deepEqual(decoded.owner, owner)
        assertSameMessage(decoded.message, message)
      },
    ),
    runs,
  )
})

test('a subscription comes back, with its filter inside or beside', () => {
  fc.assert(
    fc.property(anySubscription, subscription => {
      assert.deepEqual(decodeSubscription(encodeSubscription(subscription)), subscription)
      assert.deepEqual(
        decodeSubscriptionOptions(subscription.topicFilter, encodeSubscriptionOptions(subscription)),
        subscription,
      )
    }),
    runs,
  )
})

const decoders = [
  ['decodeMessage', decodeMessage],
  ['decodeQueueEntry', decodeQueueEntry],
  ['decodeWill', decodeWill],
  ['decodeSubscription', decodeSubscription],
  ['decodeSubscriptionOptions', (bytes: Uint8Array): Subscription => decodeSubscriptionOptions('a', bytes)],
] as const

for (const [name, decode] of decoders) {
  test(`${name}: arbitrary bytes decode or throw MIDGE_ENVELOPE_INVALID, nothing else`, () => {
    // Half of the inputs begin with the right version: otherwise every run would end at the first byte.
    const bytes = fc.oneof(
      anyBytes,
      anyBytes.map(rest => Uint8Array.of(1, ...rest)),
    )
    fc.assert(
      fc.property(bytes, input => {
        try {
          decode(input)
        } catch (error) {
          assert.ok(isEnvelopeInvalid(error), String(error))
        }
      }),
      { seed, numRuns: 3_000 },
    )
  })
}

test('every cut into the head of a message is refused', () => {
  const message = new Message({
    topicName: 'room/1',
    topicBytes: new TextEncoder().encode('room/1'),
    payload: new Uint8Array(0),
    qos: 2,
    retain: true,
    properties: Uint8Array.of(1, 1),
    expiresAtMs: 1_700_000_000_000,
    publisherId: 'publisher',
  })
  const bytes = encodeMessage(message)
  for (let end = 0; end < bytes.length; end++) {
    assert.throws(() => decodeMessage(bytes, 0, end), isEnvelopeInvalid, `cut at ${end}`)
  }
})

test('an unknown version, unknown flags, QoS 3 and text that is not UTF-8 are refused', () => {
  const good = Uint8Array.of(1, 0, 0, 1, 0x61)
  assert.equal(decodeMessage(good).topicName, 'a')
  const patched = (index: number, value: number): Uint8Array => {
    const bytes = good.slice()
    bytes[index] = value
    return bytes
  }
  assert.throws(() => decodeMessage(patched(0, 2)), isEnvelopeInvalid)
  assert.throws(() => decodeMessage(patched(0, 0)), isEnvelopeInvalid)
  assert.throws(() => decodeMessage(patched(1, 0x40)), isEnvelopeInvalid)
  assert.throws(() => decodeMessage(patched(1, 0x03)), isEnvelopeInvalid)
  assert.throws(() => decodeMessage(patched(4, 0xff)), isEnvelopeInvalid)
  assert.throws(() => decodeMessage(good, 0, good.length + 1), isEnvelopeInvalid)
})

test('a topic over 65,535 bytes is refused rather than cut', () => {
  const topicName = 'x'.repeat(65_536)
  const message = new Message({
    topicName,
    topicBytes: new TextEncoder().encode(topicName),
    payload: new Uint8Array(0),
    qos: 1,
    retain: false,
    properties: new Uint8Array(0),
    expiresAtMs: 0,
    publisherId: '',
  })
  assert.throws(() => encodeMessage(message), isEnvelopeInvalid)
})
