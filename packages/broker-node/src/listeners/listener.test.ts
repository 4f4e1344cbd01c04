import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, Socket } from 'node:net'
import { test } from 'node:test'
import { BrokerError } from '@midge/protocol-core'
import { CONNECT_PACKET, startBench, until } from './testing/probe.ts'

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Resolves when the other side has closed. */
async function closed(socket: Socket): Promise<void> {
  socket.resume()
  if (!socket.destroyed) await once(socket, 'close')
}

test('a plain connection is handed over as a bare socket with all its bytes', async t => {
  const bench = await startBench()
  t.after(() => bench.close())
  const client = await dial(bench.port)
  client.write(CONNECT_PACKET)
  const accepted = await bench.acceptor.next()
  assert.ok(accepted.stream.constructor === Socket)
  assert.deepEqual(accepted.listenersLeft, [])
  assert.deepEqual(await accepted.received(CONNECT_PACKET.length), CONNECT_PACKET)
  client.write(Buffer.from([0xc0, 0x00]))
  assert.deepEqual((await accepted.received(CONNECT_PACKET.length + 2)).subarray(-2), Buffer.from([0xc0, 0x00]))
  assert.equal(accepted.info.transport, 'tcp')
  assert.equal(accepted.info.remoteAddress, '127.0.0.1')
  assert.equal(accepted.info.remotePort, client.localPort)
  assert.equal(accepted.info.localPort, bench.port)
  const second = await dial(bench.port)
  second.write(CONNECT_PACKET)
  assert.notEqual((await bench.acceptor.next()).info.connectionId, accepted.info.connectionId)
  client.destroy()
  second.destroy()
})

test('a CONNECT in single bytes arrives whole', async t => {
  const bench = await startBench()
  t.after(() => bench.close())
  const client = await dial(bench.port)
  for (const byte of CONNECT_PACKET) {
    await new Promise<void>(resolve => client.write(Buffer.from([byte]), () => resolve()))
  }
  assert.deepEqual(await (await bench.acceptor.next()).received(CONNECT_PACKET.length), CONNECT_PACKET)
  client.destroy()
})

const WRONG: [string, Buffer, string, RegExp][] = [
  [
    'a TLS hello',
    Buffer.from([0x16, 0x03, 0x01, 0x02]),
    'tls',
    /TLS client on the plain port \d+; use the TLS port 8883/,
  ],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'http', /HTTP client on the plain port \d+; use a WebSocket port/],
  ['a PROXY header', Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n'), 'proxy', /set proxyProtocol/],
  ['a PUBLISH', Buffer.from([0x30, 0x02, 0x00, 0x00]), 'unknown', /does not speak MQTT/],
]

for (const [name, bytes, kind, text] of WRONG) {
  test(`${name} on a plain port is recognised, counted, logged and closed`, async t => {
    const bench = await startBench({ otherPorts: { tls: 8883 } })
    t.after(() => bench.close())
    const client = await dial(bench.port)
    client.write(bytes)
    await closed(client)
    assert.deepEqual([...bench.counters.wrongProtocol], [[kind, 1]])
    assert.equal(bench.logger.lines.length, 1)
    assert.match(bench.logger.lines[0]?.text ?? '', text)
    assert.equal(bench.acceptor.accepted.length, 0)
  })
}

test('a storm of wrong clients is counted in full and logged once', async t => {
  const bench = await startBench()
  t.after(() => bench.close())
  const clients = await Promise.all(Array.from({ length: 50 }, () => dial(bench.port)))
  for (const client of clients) client.write('GET / HTTP/1.0\r\n\r\n')
  await Promise.all(clients.map(closed))
  assert.equal(bench.counters.wrongProtocol.get('http'), 50)
  assert.equal(bench.logger.lines.length, 1)
})

test('connections over connectionsMax are closed and counted; a free place is used again', async t => {
  const bench = await startBench({ connectionsMax: 2 })
  t.after(() => bench.close())
  const first = await dial(bench.port)
  const second = await dial(bench.port)
  first.write(CONNECT_PACKET)
  await bench.acceptor.next()
  const third = await dial(bench.port)
  await closed(third)
  assert.equal(bench.counters.connectionsRefusedTotal, 1)
  const accepted = bench.acceptor.accepted[0]
  assert.ok(accepted)
  first.destroy()
  await until(() => accepted.stream.destroyed, 'the place to be free')
  const fourth = await dial(bench.port)
  fourth.write(CONNECT_PACKET)
  await bench.acceptor.next()
  second.destroy()
  fourth.destroy()
})

test('1,000 connections that say nothing are closed by the timeout and leave nothing behind', async t => {
  const bench = await startBench({ connectTimeoutMs: 1500 })
  t.after(() => bench.close())
  const handlesBefore = process.getActiveResourcesInfo().length
  const clients = await Promise.all(Array.from({ length: 1000 }, () => dial(bench.port)))
  await Promise.all(clients.map(closed))
  assert.equal(bench.counters.connectTimeouts, 1000)
  await until(() => process.getActiveResourcesInfo().length <= handlesBefore + 5, 'sockets and timers to go')
})

test('clients that go before their first byte leave nothing behind', async t => {
  const bench = await startBench({ connectTimeoutMs: 60_000 })
  t.after(() => bench.close())
  const handlesBefore = process.getActiveResourcesInfo().length
  const clients = await Promise.all(Array.from({ length: 200 }, () => dial(bench.port)))
  for (const [index, client] of clients.entries()) {
    if (index % 2 === 0) client.resetAndDestroy()
    else client.end()
  }
  await Promise.all(clients.map(closed))
  await until(() => process.getActiveResourcesInfo().length <= handlesBefore + 5, 'sockets and timers to go')
  assert.equal(bench.counters.connectTimeouts, 0)
})

test('a port in use is an error that names address and setting', async t => {
  const bench = await startBench()
  t.after(() => bench.close())
  await assert.rejects(startBench({ port: bench.port }), (error: unknown) => {
    assert.ok(error instanceof BrokerError)
    assert.equal(error.code, 'MIDGE_PORT_IN_USE')
    assert.match(
      error.message,
      new RegExp(`^127\\.0\\.0\\.1:${bench.port} is in use: set listeners\\.tcp\\.port to a free port, or to 0`),
    )
    return true
  })
})

test('stopAccepting() frees the port and keeps connections; close() ends the ones that wait', async t => {
  const bench = await startBench()
  t.after(() => bench.close())
  const served = await dial(bench.port)
  served.write(CONNECT_PACKET)
  const accepted = await bench.acceptor.next()
  const waiting = await dial(bench.port)
  await bench.listener.stopAccepting()
  const again = await startBench({ port: bench.port })
  await again.close()
  assert.equal(accepted.stream.destroyed, false)
  assert.equal(waiting.destroyed, false)
  await bench.listener.close()
  await closed(waiting)
  assert.equal(accepted.stream.destroyed, false)
  served.destroy()
})

test('an acceptor that throws costs one connection, not the node', async t => {
  const bench = await startBench()
  t.after(() => bench.close())
  const refuse = (): never => {
    throw new Error('bug')
  }
  bench.acceptor.accept = refuse
  bench.acceptor.acceptReads = refuse
  const client = await dial(bench.port)
  client.write(CONNECT_PACKET)
  await closed(client)
  assert.equal(bench.logger.lines[0]?.level, 'error')
})

const V1 = Buffer.from('PROXY TCP4 192.0.2.10 10.0.0.1 5555 1883\r\n')
const V2 = Buffer.from('0d0a0d0a000d0a515549540a2111000cc000020a7f00000115b3075b', 'hex')

for (const [name, header] of [
  ['version 1', V1],
  ['version 2', V2],
] as const) {
  test(`PROXY ${name}: in one piece with CONNECT, and in single bytes`, async t => {
    const bench = await startBench({ proxyProtocol: true })
    t.after(() => bench.close())
    const whole = await dial(bench.port)
    whole.write(Buffer.concat([header, CONNECT_PACKET]))
    const pieces = await dial(bench.port)
    for (const byte of Buffer.concat([header, CONNECT_PACKET])) {
      await new Promise<void>(resolve => pieces.write(Buffer.from([byte]), () => resolve()))
    }
    for (const _ of [whole, pieces]) {
      const accepted = await bench.acceptor.next()
      assert.ok(accepted.stream.constructor === Socket)
      assert.deepEqual(accepted.listenersLeft, [])
      assert.deepEqual(await accepted.received(CONNECT_PACKET.length), CONNECT_PACKET)
      assert.equal(accepted.info.remoteAddress, '192.0.2.10')
      assert.equal(accepted.info.remotePort, 5555)
    }
    whole.destroy()
    pieces.destroy()
  })
}

test('a Common Name in the PROXY header is believed only where the listener says so', async t => {
  const tlv = Buffer.from('20000b0300000000220003616263', 'hex')
  const header = Buffer.concat([V2.subarray(0, 14), Buffer.from([0, 12 + tlv.length]), V2.subarray(16), tlv])
  for (const tellCertCommonName of [true, false]) {
    const bench = await startBench({ proxyProtocol: true, tellCertCommonName })
    t.after(() => bench.close())
    const client = await dial(bench.port)
    client.write(Buffer.concat([header, CONNECT_PACKET]))
    const accepted = await bench.acceptor.next()
    assert.equal(accepted.info.certCommonName, tellCertCommonName ? 'abc' : undefined)
    client.destroy()
  }
})

test('a listener with proxyProtocol refuses a connection without the header', async t => {
  const bench = await startBench({ proxyProtocol: true })
  t.after(() => bench.close())
  const client = await dial(bench.port)
  client.write(CONNECT_PACKET)
  await closed(client)
  assert.equal(bench.counters.wrongProtocol.get('proxy_malformed'), 1)
})

test('half a PROXY header does not hold a connection beyond the timeout', async t => {
  const bench = await startBench({ proxyProtocol: true, connectTimeoutMs: 150 })
  t.after(() => bench.close())
  const client = await dial(bench.port)
  client.write(V2.subarray(0, 20))
  await closed(client)
  assert.equal(bench.counters.connectTimeouts, 1)
})

test('a header with nothing after it does not hold a connection either', async t => {
  const bench = await startBench({ proxyProtocol: true, connectTimeoutMs: 150 })
  t.after(() => bench.close())
  const client = await dial(bench.port)
  client.write(V1)
  await closed(client)
  assert.equal(bench.counters.connectTimeouts, 1)
})
