import assert from 'node:assert/strict'
import { test } from 'node:test'
import { classifyFirstBytes, describeWrongProtocol } from './first-bytes.ts'
import type { ListenerOptions } from './options.ts'

const TABLE: [string, Buffer, string][] = [
  ['CONNECT', Buffer.from([0x10, 0x0d]), 'mqtt'],
  ['CONNECT with the flags that MQTT 3.1 leaves unused', Buffer.from([0x1f, 0x0d]), 'mqtt'],
  ['PUBLISH', Buffer.from([0x30, 0x05]), 'unknown'],
  ['TLS hello', Buffer.from([0x16, 0x03, 0x01]), 'tls'],
  ['first byte of a TLS hello', Buffer.from([0x16]), 'tls'],
  ['a CONNECT that begins like a TLS hello', Buffer.from([0x16, 0x09]), 'mqtt'],
  ['GET', Buffer.from('GET / HTTP/1.1'), 'http'],
  ['OPTIONS', Buffer.from('OPTIONS * HTTP/1.1'), 'http'],
  ['CONNECT of HTTP', Buffer.from('CONNECT a:1 HTTP/1.1'), 'http'],
  ['HTTP/2 preface', Buffer.from('PRI * HTTP/2.0'), 'http'],
  ['PROXY v1', Buffer.from('PROXY TCP4 1.2.3.4'), 'proxy'],
  ['PROXY v2', Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00]), 'proxy'],
  ['SSH', Buffer.from('SSH-2.0-OpenSSH'), 'unknown'],
]

for (const [name, bytes, expected] of TABLE) {
  test(`classifyFirstBytes() takes ${name} for ${expected}`, () => {
    assert.equal(classifyFirstBytes(bytes), expected)
  })
}

const PLAIN: ListenerOptions = {
  kind: 'tcp',
  host: '::',
  port: 1883,
  setting: 'listeners.tcp.port',
  connectionsMax: 1,
  connectTimeoutMs: 1,
  proxyProtocol: false,
}

test('describeWrongProtocol() names the right port when there is one', () => {
  assert.equal(
    describeWrongProtocol('tls', { ...PLAIN, otherPorts: { tls: 8883 } }, 1883),
    'TLS client on the plain port 1883; use the TLS port 8883',
  )
  assert.equal(describeWrongProtocol('tls', PLAIN, 1883), 'TLS client on the plain port 1883; use a TLS port')
  assert.equal(
    describeWrongProtocol('mqtt', { ...PLAIN, kind: 'ws', otherPorts: { tcp: 1883 } }, 8080),
    'Plain MQTT client on the WebSocket port 8080; use the plain port 1883',
  )
})
