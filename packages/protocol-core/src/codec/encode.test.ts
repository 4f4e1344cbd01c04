import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PacketType, type Properties, type ProtocolVersion } from '../packet.ts'
import {
  encodeAck,
  encodeAuth,
  encodeConnack,
  encodeDisconnect,
  encodeSuback,
  encodeUnsuback,
  PINGRESP_BYTES,
  writeAck,
} from './encode.ts'

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
}

const reason: Properties = { reasonString: 'no' }

const table: [name: string, bytes: Uint8Array, expected: string][] = [
  ['CONNACK 3.1.1', encodeConnack(4, true, 0), '20020100'],
  ['CONNACK 3.1.1 refused, v3.1.1 [MQTT-3.2.2-4]', encodeConnack(4, true, 5), '20020005'],
  ['CONNACK 3.1, whose first byte is unused', encodeConnack(3, true, 0), '20020000'],
  ['CONNACK v5', encodeConnack(5, true, 0), '2003010000'],
  ['CONNACK v5 refused, [MQTT-3.2.2-6]', encodeConnack(5, true, 0x84), '2003008400'],
  [
    'CONNACK v5 with properties',
    encodeConnack(5, false, 0, { topicAliasMaximum: 10, receiveMaximum: 100 }),
    '20090000062100642200 0a',
  ],
  ['PUBACK 3.1.1 never has a code', encodeAck(4, PacketType.puback, 1234, 0x87, reason), '400204d2'],
  ['PUBACK v5 short form', encodeAck(5, PacketType.puback, 1234, 0), '400204d2'],
  ['PUBACK v5 without Property Length', encodeAck(5, PacketType.puback, 1234, 0x10), '400304d210'],
  ['PUBACK v5 with empty properties', encodeAck(5, PacketType.puback, 1234, 0, {}), '400204d2'],
  ['PUBREC v5 with properties', encodeAck(5, PacketType.pubrec, 1, 0x87, reason), '50090001870 51f00026e6f'],
  ['PUBREL has the flags 0010', encodeAck(4, PacketType.pubrel, 65535, 0), '6202ffff'],
  ['PUBREL v5', encodeAck(5, PacketType.pubrel, 1, 0x92), '6203000192'],
  ['PUBCOMP', encodeAck(5, PacketType.pubcomp, 1, 0), '70020001'],
  ['SUBACK 3.1.1, every failure is 0x80', encodeSuback(4, 1, [0, 1, 2, 0x8f, 0x80], reason), '90070001000102 8080'],
  ['SUBACK v5', encodeSuback(5, 1, [2, 0x8f]), '90050001 00 028f'],
  ['SUBACK v5 with properties', encodeSuback(5, 1, [0x87], reason), '90090001051f00026e6f87'],
  ['UNSUBACK 3.1.1', encodeUnsuback(4, 1, [0, 0x11]), 'b0020001'],
  ['UNSUBACK v5', encodeUnsuback(5, 1, [0, 0x11]), 'b00500010000 11'],
  ['PINGRESP', PINGRESP_BYTES, 'd000'],
  ['DISCONNECT normal', encodeDisconnect(0), 'e000'],
  ['DISCONNECT', encodeDisconnect(0x8e), 'e0018e'],
  ['DISCONNECT with properties', encodeDisconnect(0x9c, { serverReference: 'b' }), 'e0069c041c000162'],
  ['AUTH success without properties', encodeAuth(0), 'f000'],
  [
    'AUTH',
    encodeAuth(0x18, { authenticationMethod: 'm', authenticationData: Uint8Array.of(1) }),
    'f00a18081500016d16000101',
  ],
]

for (const [name, bytes, expected] of table) {
  test(`encodes ${name}`, () => assert.equal(hex(bytes), expected.replaceAll(' ', '')))
}

test('writeAck() writes at the offset and returns the next', () => {
  const target = new Uint8Array(12).fill(0xee)
  const next = writeAck(target, 1, 5, PacketType.pubrec, 0x1234, 0)
  assert.equal(writeAck(target, next, 5, PacketType.puback, 2, 0x97), 10)
  assert.equal(hex(target), 'ee50021234' + '4003000297' + 'eeee')
})

test('a value that no packet can carry is refused', () => {
  assert.throws(() => encodeDisconnect(0x80, { reasonString: 'x'.repeat(65_536) }), RangeError)
  assert.equal(encodeDisconnect(0x80, { reasonString: 'x'.repeat(65_535) }).length, 1 + 3 + 1 + 3 + 3 + 65_535)
})

/* A second reading of the standard, for these tests only: identifier → name and data type. */
const names: Record<number, [keyof Properties, 'u8' | 'u16' | 'u32' | 'var' | 'text' | 'bin' | 'pair']> = {
  1: ['payloadFormatIndicator', 'u8'],
  2: ['messageExpiryInterval', 'u32'],
  3: ['contentType', 'text'],
  8: ['responseTopic', 'text'],
  9: ['correlationData', 'bin'],
  11: ['subscriptionIdentifiers', 'var'],
  17: ['sessionExpiryInterval', 'u32'],
  18: ['assignedClientIdentifier', 'text'],
  19: ['serverKeepAlive', 'u16'],
  21: ['authenticationMethod', 'text'],
  22: ['authenticationData', 'bin'],
  23: ['requestProblemInformation', 'u8'],
  24: ['willDelayInterval', 'u32'],
  25: ['requestResponseInformation', 'u8'],
  26: ['responseInformation', 'text'],
  28: ['serverReference', 'text'],
  31: ['reasonString', 'text'],
  33: ['receiveMaximum', 'u16'],
  34: ['topicAliasMaximum', 'u16'],
  35: ['topicAlias', 'u16'],
  36: ['maximumQos', 'u8'],
  37: ['retainAvailable', 'u8'],
  38: ['userProperties', 'pair'],
  39: ['maximumPacketSize', 'u32'],
  40: ['wildcardSubscriptionAvailable', 'u8'],
  41: ['subscriptionIdentifierAvailable', 'u8'],
  42: ['sharedSubscriptionAvailable', 'u8'],
}

/** Reads a server's packet by DataView, apart from everything in this folder. */
class Judge {
  readonly view: DataView
  at = 0

  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  u8(): number {
    return this.view.getUint8(this.at++)
  }

  u16(): number {
    this.at += 2
    return this.view.getUint16(this.at - 2)
  }

  u32(): number {
    this.at += 4
    return this.view.getUint32(this.at - 4)
  }

  varint(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.u8()
      value += (byte % 128) * factor
      if (byte < 128) return value
      assert.ok(factor < 128 ** 3, 'at most four bytes')
    }
  }

  bin(): Uint8Array {
    const length = this.u16()
    this.at += length
    return new Uint8Array(
      this.view.buffer.slice(this.view.byteOffset + this.at - length, this.view.byteOffset + this.at),
    )
  }

  text(): string {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.bin())
  }

  properties(): Record<string, unknown> {
    const length = this.varint()
    const end = this.at + length
    const found: Record<string, unknown> = {}
    while (this.at < end) {
      const [name, kind] = names[this.u8()] ?? assert.fail('unknown property')
      if (kind === 'var') found[name] = [...((found[name] as number[] | undefined) ?? []), this.varint()]
      else if (kind === 'pair')
        found[name] = [...((found[name] as unknown[] | undefined) ?? []), [this.text(), this.text()]]
      else {
        assert.ok(!(name in found), 'property twice')
        found[name] = this[kind]()
      }
    }
    assert.equal(this.at, end)
    return found
  }

  fixedHeader(): number {
    const firstByte = this.u8()
    const length = this.varint()
    assert.equal(this.at + length, this.view.byteLength, 'Remaining Length')
    return firstByte
  }

  get isAtEnd(): boolean {
    return this.at === this.view.byteLength
  }
}

const text = fc.string({ unit: 'grapheme', maxLength: 60 })
const bit = fc.constantFrom<0 | 1>(0, 1)
const u16 = fc.integer({ min: 0, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const anyProperties: fc.Arbitrary<Properties> = fc.record(
  {
    payloadFormatIndicator: bit,
    messageExpiryInterval: u32,
    contentType: text,
    responseTopic: text,
    correlationData: fc.uint8Array({ maxLength: 30 }),
    subscriptionIdentifiers: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 3 }),
    sessionExpiryInterval: u32,
    assignedClientIdentifier: text,
    serverKeepAlive: u16,
    authenticationMethod: text,
    authenticationData: fc.uint8Array({ maxLength: 30 }),
    requestProblemInformation: bit,
    willDelayInterval: u32,
    requestResponseInformation: bit,
    responseInformation: text,
    serverReference: text,
    reasonString: text,
    receiveMaximum: u16,
    topicAliasMaximum: u16,
    topicAlias: u16,
    maximumQos: bit,
    retainAvailable: bit,
    userProperties: fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 }),
    maximumPacketSize: u32,
    wildcardSubscriptionAvailable: bit,
    subscriptionIdentifierAvailable: bit,
    sharedSubscriptionAvailable: bit,
  },
  { requiredKeys: [], noNullPrototype: true },
)

test('every property of a CONNACK, DISCONNECT and AUTH comes out as an independent reader expects', () => {
  fc.assert(
    fc.property(anyProperties, fc.nat(255), (properties, code) => {
      const connack = new Judge(encodeConnack(5, false, code, properties))
      assert.equal(connack.fixedHeader(), 0x20)
      assert.deepEqual([connack.u8(), connack.u8()], [0, code])
      assert.deepEqual(connack.properties(), properties)
      assert.ok(connack.isAtEnd)
      for (const [firstByte, bytes] of [
        [0xe0, encodeDisconnect(code, properties)],
        [0xf0, encodeAuth(code, properties)],
      ] as const) {
        const judge = new Judge(bytes)
        assert.equal(judge.fixedHeader(), firstByte)
        assert.equal(judge.isAtEnd ? 0 : judge.u8(), code)
        assert.deepEqual(judge.isAtEnd ? {} : judge.properties(), properties)
        assert.ok(judge.isAtEnd)
      }
    }),
  )
})

test('acknowledgements come out as an independent reader expects', () => {
  const types = fc.constantFrom(PacketType.puback, PacketType.pubrec, PacketType.pubrel, PacketType.pubcomp)
  const versions = fc.constantFrom<ProtocolVersion>(3, 4, 5)
  fc.assert(
    fc.property(types, versions, u16, fc.nat(255), anyProperties, (type, version, packetId, code, properties) => {
      const judge = new Judge(encodeAck(version, type, packetId, code, properties))
      assert.equal(judge.fixedHeader(), type * 16 + (type === 6 ? 2 : 0))
      assert.equal(judge.u16(), packetId)
      if (version === 5) {
        assert.equal(judge.isAtEnd ? 0 : judge.u8(), code)
        assert.deepEqual(judge.isAtEnd ? {} : judge.properties(), properties)
      }
      assert.ok(judge.isAtEnd)
    }),
  )
})

test('SUBACK and UNSUBACK keep the order of the codes', () => {
  const codes = fc.array(fc.nat(255), { minLength: 1, maxLength: 300 })
  fc.assert(
    fc.property(codes, u16, anyProperties, (wanted, packetId, properties) => {
      for (const [firstByte, encode] of [
        [0x90, encodeSuback],
        [0xb0, encodeUnsuback],
      ] as const) {
        const judge = new Judge(encode(5, packetId, wanted, properties))
        assert.equal(judge.fixedHeader(), firstByte)
        assert.equal(judge.u16(), packetId)
        assert.deepEqual(judge.properties(), properties)
        assert.deepEqual(
          wanted.map(() => judge.u8()),
          wanted,
        )
        assert.ok(judge.isAtEnd)
      }
    }),
  )
})
