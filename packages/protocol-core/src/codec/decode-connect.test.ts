import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ProtocolError } from '../errors.ts'
import { PACKET_BYTES_MAX } from '../limits.ts'
import type { ConnectPacket } from '../packet.ts'
import { decodeConnect, peekConnect, UnsupportedProtocolError } from './decode-connect.ts'

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

function decode(notation: string, firstByte = 0x10): ConnectPacket {
  const body = wire(notation)
  const buf = Buffer.alloc(body.length + 6, 0x01)
  buf.set(body, 3)
  const packet = decodeConnect(firstByte, buf, 3, 3 + body.length)
  buf.fill(0xff)
  return packet
}

const V31 = "s'MQIsdp' 03"
const V311 = "s'MQTT' 04"
const V5 = "s'MQTT' 05"

const invalid: [name: string, code: number, body: string][] = [
  ['empty body', 0x81, ''],
  ['name longer than the body', 0x81, '0009 4d515454'],
  ['no level', 0x81, "s'MQTT'"],
  ['[MQTT-3.1.2-3] reserved flag, 3.1.1', 0x81, `${V311} 03 003c s'c'`],
  ['[MQTT-3.1.2-3] reserved flag, v5', 0x81, `${V5} 03 003c 00 s'c'`],
  ['v3.1.1 [MQTT-3.1.2-13] will QoS without will', 0x81, `${V311} 0a 003c s'c'`],
  ['v3.1.1 [MQTT-3.1.2-15] will retain without will', 0x81, `${V311} 22 003c s'c'`],
  ['v5 [MQTT-3.1.2-11] will QoS without will', 0x81, `${V5} 12 003c 00 s'c'`],
  ['v5 [MQTT-3.1.2-13] will retain without will', 0x81, `${V5} 22 003c 00 s'c'`],
  ['v3.1.1 [MQTT-3.1.2-14] will QoS 3', 0x81, `${V311} 1e 003c s'c' s't' s'm'`],
  ['v5 [MQTT-3.1.2-12] will QoS 3', 0x81, `${V5} 1e 003c 00 s'c' 00 s't' s'm'`],
  ['3.1 will QoS 3', 0x81, `${V31} 1e 003c s'c' s't' s'm'`],
  ['v3.1.1 [MQTT-3.1.2-22] password without user name', 0x81, `${V311} 42 003c s'c' s'p'`],
  ['3.1 password without user name', 0x81, `${V31} 42 003c s'c' s'p'`],
  ['client identifier missing', 0x81, `${V311} 02 003c`],
  ['client identifier truncated', 0x81, `${V311} 02 003c 0002 63`],
  ['client identifier with U+0000', 0x81, `${V311} 02 003c 0001 00`],
  ['client identifier with a surrogate', 0x81, `${V311} 02 003c 0003 eda080`],
  ['v3.1.1 [MQTT-3.1.3-8] empty client identifier without clean session', 0x85, `${V311} 00 003c 0000`],
  ['3.1 empty client identifier', 0x85, `${V31} 02 003c 0000`],
  ['will topic missing', 0x81, `${V311} 06 003c s'c'`],
  ['will payload missing', 0x81, `${V311} 06 003c s'c' s't'`],
  ['empty will topic, 3.1.1', 0x81, `${V311} 06 003c s'c' 0000 s'm'`],
  ['empty will topic, v5', 0x90, `${V5} 06 003c 00 s'c' 00 0000 s'm'`],
  ['will topic with #, 3.1.1', 0x81, `${V311} 06 003c s'c' s'a/#' s'm'`],
  ['will topic with +, v5', 0x90, `${V5} 06 003c 00 s'c' 00 s'+' s'm'`],
  ['will topic not UTF-8', 0x81, `${V311} 06 003c s'c' 0001 ff s'm'`],
  ['user name missing', 0x81, `${V311} 82 003c s'c'`],
  ['user name not UTF-8', 0x81, `${V311} 82 003c s'c' 0001 ff`],
  ['password missing', 0x81, `${V311} c2 003c s'c' s'u'`],
  ['bytes behind the payload', 0x81, `${V311} 02 003c s'c' 00`],
  ['bytes behind the payload, 3.1', 0x81, `${V31} 02 003c s'c' 00`],
  ['v5 without properties', 0x81, `${V5} 02 003c`],
  ['v5 property list beyond the body', 0x81, `${V5} 02 003c 7f s'c'`],
  ['v5 unknown property', 0x81, `${V5} 02 003c 02 7f 01 s'c'`],
  ['v5 misplaced property', 0x81, `${V5} 02 003c 03 13 0001 s'c'`],
  ['v5 will property among those of CONNECT', 0x81, `${V5} 02 003c 05 18 00000001 s'c'`],
  ['v5 Session Expiry Interval twice', 0x82, `${V5} 02 003c 0a 11 00000001 11 00000001 s'c'`],
  ['v5 Receive Maximum 0', 0x82, `${V5} 02 003c 03 21 0000 s'c'`],
  ['v5 Maximum Packet Size 0', 0x82, `${V5} 02 003c 05 27 00000000 s'c'`],
  ['v5 Request Problem Information 2', 0x82, `${V5} 02 003c 02 17 02 s'c'`],
  ['v5 Request Response Information 2', 0x82, `${V5} 02 003c 02 19 02 s'c'`],
  ['v5 Authentication Data without Method', 0x82, `${V5} 02 003c 04 16 s'd' s'c'`],
  ['v5 Will Delay Interval twice', 0x82, `${V5} 06 003c 00 s'c' 0a 18 00000001 18 00000001 s't' s'm'`],
  ['v5 Session Expiry Interval of a will', 0x81, `${V5} 06 003c 00 s'c' 05 11 00000001 s't' s'm'`],
  ['v5 Topic Alias of a will', 0x81, `${V5} 06 003c 00 s'c' 03 23 0001 s't' s'm'`],
  ['v5 Payload Format Indicator 2 of a will', 0x82, `${V5} 06 003c 00 s'c' 02 01 02 s't' s'm'`],
  ['v5 Response Topic with wildcard of a will', 0x82, `${V5} 06 003c 00 s'c' 04 08 s'#' s't' s'm'`],
  ['v5 will payload that is not the UTF-8 it claims', 0x99, `${V5} 06 003c 00 s'c' 02 01 01 s't' 0001 ff`],
]

for (const [name, code, body] of invalid) {
  test(`decodeConnect() refuses ${name}`, () => {
    assert.throws(
      () => decode(body),
      (error: unknown) => error instanceof ProtocolError && error.reasonCode === code,
    )
  })
}

const unsupported: [body: string, nameIsValid: boolean, isLater: boolean][] = [
  ["s'MQTT' 03 02 003c s'c'", true, false],
  ["s'MQTT' 06 02 003c s'c'", true, true],
  ["s'MQTT' 83 02 003c s'c'", true, true],
  ["s'MQTT' 85 02 003c 00 s'c'", true, true],
  ["s'MQIsdp' 02 02 003c s'c'", true, false],
  ["s'MQIsdp' 04 02 003c s'c'", true, false],
  ["s'MQIsdp' 84 02 003c s'c'", true, false],
  ["s'mqtt' 04 02 003c s'c'", false, false],
  ["s'MQTTX' 04 02 003c s'c'", false, false],
  ["0000 04 02 003c s'c'", false, false],
]

for (const [body, nameIsValid, isLater] of unsupported) {
  test(`[MQTT-3.1.2-1] decodeConnect() refuses ${body.slice(0, 12)} with 0x84`, () => {
    assert.throws(
      () => decode(body),
      (error: unknown) => {
        assert.ok(error instanceof UnsupportedProtocolError)
        assert.deepEqual([error.reasonCode, error.nameIsValid, error.isLater], [0x84, nameIsValid, isLater])
        return true
      },
    )
    assert.equal(peekConnect(wire(body), 0, wire(body).length).version, 0)
  })
}

const bare = {
  isBridge: false,
  keepAliveSeconds: 60,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: {},
}

test('decodeConnect() reads 3.1', () => {
  const long = 'a-client-id-of-23-chars'
  assert.deepEqual(decode(`${V31} 02 003c s'${long}'`), {
    ...bare,
    type: 1,
    version: 3,
    cleanStart: true,
    clientId: long,
  })
})

test('MQTT 3.1 leaves the reserved flag and unused will bits alone, and forgives missing credentials', () => {
  assert.deepEqual(decode(`${V31} 3b 003c s'c'`), { ...bare, type: 1, version: 3, cleanStart: true, clientId: 'c' })
  assert.equal(decode(`${V31} c0 003c s'c'`).username, undefined)
  const halfway = decode(`${V31} c0 003c s'c' s'u'`)
  assert.deepEqual([halfway.username, halfway.password], ['u', undefined])
})

test('decodeConnect() reads 3.1.1 with will, user name and password', () => {
  assert.deepEqual(decode(`${V311} f4 ffff s'c' s'w/t' 0002 00ff s'u' 0001 00`), {
    type: 1,
    version: 4,
    isBridge: false,
    cleanStart: false,
    keepAliveSeconds: 65535,
    clientId: 'c',
    will: {
      topicName: 'w/t',
      payload: Uint8Array.of(0, 255),
      qos: 2,
      retain: true,
      willDelaySeconds: 0,
      messageExpirySeconds: undefined,
      properties: new Uint8Array(0),
    },
    username: 'u',
    password: Uint8Array.of(0),
    properties: {},
  })
})

test('an empty client identifier is fine with clean session in 3.1.1, and in v5', () => {
  assert.equal(decode(`${V311} 02 003c 0000`).clientId, '')
  assert.equal(decode(`${V5} 00 003c 00 0000`).clientId, '')
})

test('v5 takes a password without user name', () => {
  const packet = decode(`${V5} 42 003c 00 s'c' s'p'`)
  assert.deepEqual([packet.username, packet.password], [undefined, Uint8Array.of(0x70)])
})

test('decodeConnect() reads every property of v5', () => {
  const packet = decode(
    `${V5} 06 003c 23 11 ffffffff 21 0001 27 00000014 22 000a 19 01 17 00 26 s'k' s'v' 15 s'm' 16 0001 64 ` +
      `s'c' 25 18 00000005 01 01 02 0000000a 26 s'b' s'2' 26 s'a' s'1' 03 s'x' 08 s'r' 09 0000 s't' s'm'`,
  )
  assert.deepEqual(packet.properties, {
    sessionExpiryInterval: 0xffff_ffff,
    receiveMaximum: 1,
    maximumPacketSize: 20,
    topicAliasMaximum: 10,
    requestResponseInformation: 1,
    requestProblemInformation: 0,
    userProperties: [['k', 'v']],
    authenticationMethod: 'm',
    authenticationData: Uint8Array.of(0x64),
  })
  assert.equal(packet.will?.willDelaySeconds, 5)
  assert.equal(packet.will?.messageExpirySeconds, 10)
  assert.deepEqual(packet.will?.properties, wire("01 01 26 s'b' s'2' 26 s'a' s'1' 03 s'x' 08 s'r' 09 0000"))
})

test('a will of UTF-8 may hold U+0000, and a Property Length of two bytes is stepped over', () => {
  const type = 'x'.repeat(150)
  const packet = decode(`${V5} 06 003c 00 s'c' 9b 01 01 01 03 s'${type}' s't' 0001 00`)
  assert.deepEqual(packet.will?.properties, wire(`01 01 03 s'${type}'`))
})

test('the flags of the fixed header are reserved in 3.1.1 and v5 and unused in 3.1', () => {
  for (let flags = 1; flags < 16; flags++) {
    assert.equal(decode(`${V31} 02 003c s'c'`, 0x10 | flags).clientId, 'c')
    for (const body of [`${V311} 02 003c s'c'`, `${V5} 02 003c 00 s'c'`]) {
      assert.throws(
        () => decode(body, 0x10 | flags),
        (error: unknown) => error instanceof ProtocolError && error.reasonCode === 0x81,
      )
    }
  }
})

test('a bridge marks itself with bit 7 of the level of 3.1 and 3.1.1', () => {
  for (const [body, version] of [
    ["s'MQIsdp' 83 02 003c s'c'", 3],
    ["s'MQTT' 84 02 003c s'c'", 4],
  ] as const) {
    const packet = decode(body)
    assert.deepEqual([packet.version, packet.isBridge], [version, true])
    assert.equal(peekConnect(wire(body), 0, wire(body).length).version, version)
  }
})

test('peekConnect() knows version and Maximum Packet Size of a CONNECT that is malformed later', () => {
  for (const [start, version, packetBytesMax] of [
    [`${V31} 03`, 3, PACKET_BYTES_MAX],
    [`${V311} 03`, 4, PACKET_BYTES_MAX],
    [`${V5} 03`, 5, PACKET_BYTES_MAX],
    [`${V5} 03 003c 05 27 00000014 ff`, 5, 20],
    [`${V5} 03 003c 08 27 00000014 21 0000`, 5, PACKET_BYTES_MAX],
    ['00', 0, PACKET_BYTES_MAX],
  ] as const) {
    const body = wire(start)
    assert.deepEqual(peekConnect(body, 0, body.length), { version, packetBytesMax })
  }
})

test('decodeConnect() throws nothing but ProtocolError, whatever the bytes', () => {
  const start = fc.constantFrom(wire(V31), wire(V311), wire(V5), new Uint8Array(0))
  const tail = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.tuple(fc.nat(255), fc.uint8Array({ maxLength: 30 })).map(([flags, list]) => [flags, 0, 9, list.length, ...list]),
    fc
      .tuple(fc.nat(255), fc.uint8Array({ maxLength: 30 }))
      .map(([flags, rest]) => [flags, 0, 9, 0, 0, 1, 0x63, 0, 0, 1, 0x74, ...rest]),
  )
  fc.assert(
    fc.property(start, tail, (head, rest) => {
      const body = Uint8Array.from([...head, ...rest])
      try {
        decodeConnect(0x10, body, 0, body.length)
      } catch (error) {
        assert.ok(error instanceof ProtocolError, String(error))
        assert.ok([0x81, 0x82, 0x84, 0x85, 0x90, 0x99].includes(error.reasonCode), `code ${error.reasonCode}`)
      }
    }),
    { numRuns: 10_000 },
  )
})
