import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { test } from 'node:test'
import { parseProxyHeader } from './proxy-protocol.ts'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

function v2(command: number, family: number, body: Buffer): Buffer {
  const fixed = Buffer.from([command, family, body.length >> 8, body.length & 0xff])
  return Buffer.concat([SIGNATURE, fixed, body])
}

function tlv(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), value])
}

const INET = Buffer.from('c000020a7f00000115b3075b', 'hex')
const INET6 = Buffer.from(`20010db8${'00'.repeat(11)}01${'00'.repeat(15)}0115b3075b`, 'hex')

function ssl(client: number, verify: number, name: string): Buffer {
  const head = Buffer.from([client, 0, 0, 0, verify])
  return tlv(0x20, Buffer.concat([head, tlv(0x21, Buffer.from('TLSv1.3')), tlv(0x22, Buffer.from(name))]))
}

test('version 1: TCP4, TCP6 and UNKNOWN', () => {
  assert.deepEqual(parseProxyHeader(Buffer.from('PROXY TCP4 192.0.2.10 10.0.0.1 5555 1883\r\n\x10')), {
    length: 42,
    source: { address: '192.0.2.10', port: 5555 },
    certCommonName: undefined,
  })
  assert.deepEqual(parseProxyHeader(Buffer.from('PROXY TCP6 2001:db8::1 ::1 65535 1883\r\n')), {
    length: 39,
    source: { address: '2001:db8::1', port: 65_535 },
    certCommonName: undefined,
  })
  assert.deepEqual(parseProxyHeader(Buffer.from('PROXY UNKNOWN\r\n')), {
    length: 15,
    source: undefined,
    certCommonName: undefined,
  })
})

test('version 2: TCP4 and TCP6 with TLVs after the addresses', () => {
  const inet = v2(0x21, 0x11, Buffer.concat([INET, tlv(0x04, Buffer.alloc(7)), tlv(0xea, Buffer.from('vpce'))]))
  assert.deepEqual(parseProxyHeader(Buffer.concat([inet, Buffer.from([0x10])])), {
    length: inet.length,
    source: { address: '192.0.2.10', port: 5555 },
    certCommonName: undefined,
  })
  const inet6 = v2(0x21, 0x21, INET6)
  assert.deepEqual(parseProxyHeader(inet6), {
    length: inet6.length,
    source: { address: '2001:db8::1', port: 5555 },
    certCommonName: undefined,
  })
})

test('version 2: LOCAL and Unix sockets tell no address', () => {
  for (const header of [v2(0x20, 0x00, Buffer.alloc(0)), v2(0x20, 0x11, INET), v2(0x21, 0x31, Buffer.alloc(216))]) {
    assert.deepEqual(parseProxyHeader(header), { length: header.length, source: undefined, certCommonName: undefined })
  }
})

test('version 2: a Common Name counts only when the certificate was shown and verified', () => {
  const nameOf = (tlvs: Buffer): string | undefined => {
    const header = parseProxyHeader(v2(0x21, 0x11, Buffer.concat([INET, tlvs])))
    assert.ok(typeof header === 'object')
    return header.certCommonName
  }
  assert.equal(nameOf(ssl(0x03, 0, 'device-7')), 'device-7')
  assert.equal(nameOf(ssl(0x05, 0, 'device-7')), 'device-7')
  assert.equal(nameOf(ssl(0x01, 0, 'device-7')), undefined)
  assert.equal(nameOf(ssl(0x03, 1, 'device-7')), undefined)
})

const MALFORMED: [string, Buffer][] = [
  ['MQTT instead', Buffer.from([0x10, 0x0d])],
  ['lower case', Buffer.from('proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n')],
  ['a missing field', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n')],
  ['a port that is too large', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n')],
  ['an address that is none', Buffer.from('PROXY TCP4 1.2.3.999 1.2.3.4 1 2\r\n')],
  ['an IPv6 address under TCP4', Buffer.from('PROXY TCP4 ::1 ::1 1 2\r\n')],
  ['no carriage return', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n')],
  ['a line without end', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(100)}`)],
  ['version 1 in the binary form', v2(0x11, 0x11, INET)],
  ['an unknown command', v2(0x22, 0x11, INET)],
  ['too few address bytes', v2(0x21, 0x11, INET.subarray(0, 11))],
  ['a TLV that is longer than the header', v2(0x21, 0x11, Buffer.concat([INET, Buffer.from([4, 0, 9, 1])]))],
  ['half a TLV', v2(0x21, 0x11, Buffer.concat([INET, Buffer.from([4, 0])]))],
  ['an SSL TLV without its fixed part', v2(0x21, 0x11, Buffer.concat([INET, tlv(0x20, Buffer.alloc(4))]))],
  ['a header over the bound', v2(0x21, 0x11, Buffer.alloc(4097)).subarray(0, 20)],
]

for (const [name, bytes] of MALFORMED) {
  test(`refuses ${name}`, () => assert.equal(parseProxyHeader(bytes), 'malformed'))
}

test('asks for more at every point where a good header is cut', () => {
  const headers = [
    Buffer.from('PROXY TCP4 192.0.2.10 10.0.0.1 5555 1883\r\n'),
    v2(0x21, 0x11, Buffer.concat([INET, ssl(3, 0, 'x')])),
    v2(0x20, 0x00, Buffer.alloc(0)),
  ]
  for (const header of headers) {
    for (let end = 1; end < header.length; end++) {
      assert.equal(parseProxyHeader(header.subarray(0, end)), undefined, `cut at ${end}`)
    }
  }
})

test('never throws, whatever follows the signature (a failure prints its bytes)', () => {
  for (let round = 0; round < 5000; round++) {
    const start = round % 2 === 0 ? SIGNATURE : Buffer.from('PROXY ')
    const bytes = Buffer.concat([start, randomBytes(randomInt(120))])
    if (round % 4 === 0) bytes.writeUInt8(0x21, Math.min(12, bytes.length - 1))
    assert.doesNotThrow(() => parseProxyHeader(bytes), bytes.toString('hex'))
  }
})
