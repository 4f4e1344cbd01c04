import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import type { ListenerOptions } from './options.ts'
import { type Bench, CONNECT_PACKET, makeCertificateFolder, startBench, until } from './testing/probe.ts'

function startWs(overrides: Partial<ListenerOptions> = {}): Promise<Bench> {
  return startBench({
    kind: 'ws',
    setting: 'listeners.ws.port',
    webSocket: { payloadBytesMax: 1_100_000 },
    ...overrides,
  })
}

async function open(bench: Bench, path = '/mqtt', protocols: string[] = ['mqtt']): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${bench.port}${path}`, protocols)
  client.on('error', () => {})
  await once(client, 'open')
  return client
}

/** Status of a refused upgrade. */
async function refusedWith(bench: Bench, path: string, protocols: string[]): Promise<number> {
  const client = new WebSocket(`ws://127.0.0.1:${bench.port}${path}`, protocols)
  client.on('error', () => {})
  const [request, response] = await once(client, 'unexpected-response')
  request.destroy()
  return response.statusCode
}

/** Neither the stream nor the kernel takes more for now. */
async function staysFull(stream: Duplex): Promise<boolean> {
  if (!stream.writableNeedDrain) return false
  await new Promise(resolve => setTimeout(resolve, 50))
  return stream.writableNeedDrain
}

for (const [offered, selected] of [
  [['mqtt'], 'mqtt'],
  [['mqttv3.1'], 'mqttv3.1'],
  [['mqttv3.1', 'mqtt'], 'mqtt'],
  [['other', 'mqtt'], 'mqtt'],
] as const) {
  test(`[MQTT-6.0.0-4] of ${offered.join(' and ')} the server selects ${selected}`, async t => {
    const bench = await startWs()
    t.after(() => bench.close())
    for (const path of ['/', '/mqtt', '/mqtt?token=x']) {
      const client = await open(bench, path, [...offered])
      assert.equal(client.protocol, selected)
      client.send(CONNECT_PACKET)
      const accepted = await bench.acceptor.next()
      assert.deepEqual(await accepted.received(CONNECT_PACKET.length), CONNECT_PACKET)
      assert.equal(accepted.info.transport, 'ws')
      assert.equal(accepted.info.remoteAddress, '127.0.0.1')
      client.terminate()
    }
  })
}

test('[MQTT-6.0.0-3] without the subprotocol the upgrade is refused with 400; another path with 404', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  assert.equal(await refusedWith(bench, '/mqtt', []), 400)
  assert.equal(await refusedWith(bench, '/mqtt', ['soap']), 400)
  assert.equal(await refusedWith(bench, '/admin', ['mqtt']), 404)
  const answer = await fetch(`http://127.0.0.1:${bench.port}/mqtt`)
  assert.equal(answer.status, 426)
  assert.equal(bench.acceptor.accepted.length, 0)
})

test('the paths can be chosen', async t => {
  const bench = await startWs({ webSocket: { payloadBytesMax: 1000, paths: ['/broker'] } })
  t.after(() => bench.close())
  assert.equal(await refusedWith(bench, '/mqtt', ['mqtt']), 404)
  ;(await open(bench, '/broker')).terminate()
})

test('[MQTT-6.0.0-2] packets are split and merged over frames anywhere', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  const bytes = Buffer.concat([CONNECT_PACKET, randomBytes(20_000)])
  const client = await open(bench)
  const cuts: number[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const length = offset < 30 ? 1 : randomInt(0, 700)
    cuts.push(length)
    const isFragment = length > 2
    // A WebSocket message may itself come in several frames.
    if (isFragment) client.send(bytes.subarray(offset, offset + 1), { fin: false })
    client.send(bytes.subarray(isFragment ? offset + 1 : offset, offset + length), { fin: true })
    offset += length
  }
  const accepted = await bench.acceptor.next()
  assert.ok((await accepted.received(bytes.length)).equals(bytes), `cut at ${cuts.join()}`)
  client.terminate()
})

test('[MQTT-6.0.0-1] a text frame closes the connection with 1003', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  const client = await open(bench)
  client.send(CONNECT_PACKET)
  const accepted = await bench.acceptor.next()
  client.send('text')
  const [code] = await once(client, 'close')
  assert.equal(code, 1003)
  await until(() => accepted.stream.destroyed, 'the stream to close')
  assert.deepEqual(accepted.bytes, CONNECT_PACKET)
  assert.equal(bench.counters.wrongProtocol.get('websocket_text'), 1)
})

test('a text frame before CONNECT closes with 1003 too', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  const client = await open(bench)
  client.send('text')
  assert.equal((await once(client, 'close'))[0], 1003)
})

test('one write is one binary frame', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  const client = await open(bench)
  client.send(CONNECT_PACKET)
  const { stream } = await bench.acceptor.next()
  const frames: Buffer[] = []
  client.on('message', (data, isBinary) => {
    assert.ok(isBinary && Buffer.isBuffer(data))
    frames.push(data)
  })
  stream.cork()
  const sizes = [2, 4, 70_000, 1, 200_000, 3]
  for (const size of sizes) stream.write(Buffer.alloc(size, size & 0xff))
  stream.uncork()
  await until(() => frames.length === sizes.length, 'all frames')
  assert.deepEqual(
    frames.map(frame => frame.length),
    sizes,
  )
  client.terminate()
})

test('a client that does not read makes write() say so, and nothing is lost when it reads', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  const client = await open(bench)
  client.send(CONNECT_PACKET)
  const { stream } = await bench.acceptor.next()
  client.pause()
  const chunk = Buffer.alloc(262_144, 7)
  let sent = 0
  while (!(await staysFull(stream))) {
    stream.write(chunk)
    sent += chunk.length
  }
  let received = 0
  client.on('message', (data: Buffer) => {
    received += data.length
  })
  client.resume()
  await until(() => received === sent, `${sent} bytes`)
  assert.equal(stream.writableNeedDrain, false)
  client.terminate()
})

test('a reader that pauses stops the client, in bounded memory', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  const client = await open(bench)
  client.send(CONNECT_PACKET)
  const accepted = await bench.acceptor.next()
  await accepted.received(CONNECT_PACKET.length)
  accepted.stream.pause()
  const chunk = randomBytes(65_536)
  const count = 400
  for (let index = 0; index < count; index++) client.send(chunk)
  // The buffers of two kernels hold a few megabytes; 26 MB do not fit.
  await until(() => accepted.stream.readableLength >= 65_536, 'the stream to fill')
  await new Promise(resolve => setTimeout(resolve, 50))
  assert.ok(accepted.stream.readableLength <= 4 * 65_536, `${accepted.stream.readableLength} bytes held`)
  assert.ok(client.bufferedAmount > 0)
  accepted.stream.resume()
  await accepted.received(CONNECT_PACKET.length + count * chunk.length)
  client.terminate()
})

test('a frame over the bound closes with 1009', async t => {
  const bench = await startWs({ webSocket: { payloadBytesMax: 1000 } })
  t.after(() => bench.close())
  const client = await open(bench)
  client.send(CONNECT_PACKET)
  const { stream } = await bench.acceptor.next()
  client.send(Buffer.alloc(1001))
  assert.equal((await once(client, 'close'))[0], 1009)
  await until(() => stream.destroyed, 'the stream to close')
})

test('end() closes with 1000 after the last bytes; the client leaving ends the stream; destroy() drops it', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  const ended = await open(bench)
  ended.send(CONNECT_PACKET)
  const first = (await bench.acceptor.next()).stream
  first.end(Buffer.from([0xe0, 0x00]))
  const [[last], [code]] = await Promise.all([once(ended, 'message'), once(ended, 'close')])
  assert.deepEqual(last, Buffer.from([0xe0, 0x00]))
  assert.equal(code, 1000)
  await until(() => first.destroyed, 'the stream to close')

  const left = await open(bench)
  left.send(CONNECT_PACKET)
  const second = await bench.acceptor.next()
  let hasEnded = false
  second.stream.on('end', () => {
    hasEnded = true
  })
  left.close()
  await until(() => second.stream.destroyed, 'the stream to close')
  assert.ok(hasEnded)

  const dropped = await open(bench)
  dropped.send(CONNECT_PACKET)
  const third = (await bench.acceptor.next()).stream
  third.destroy()
  assert.equal((await once(dropped, 'close'))[0], 1006)
})

test('half-open WebSockets, at every stage, are closed by the timeout and leave nothing behind', async t => {
  const bench = await startWs({ connectTimeoutMs: 1000 })
  t.after(() => bench.close())
  const before = process.getActiveResourcesInfo().length
  const upgrade =
    'GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
    'Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'
  const beginnings = ['', 'GET /mqtt HT', upgrade, `${upgrade}\x82`]
  const clients: Socket[] = []
  for (let index = 0; index < 400; index++) {
    const client = connect({ port: bench.port, host: '127.0.0.1' })
    client.on('error', () => {})
    client.resume()
    const beginning = beginnings[index % beginnings.length] ?? ''
    if (beginning !== '') client.write(Buffer.from(beginning, 'latin1'))
    clients.push(client)
  }
  await until(() => clients.every(client => client.destroyed), 'all to be closed')
  assert.equal(bench.counters.connectTimeouts, 400)
  await until(() => process.getActiveResourcesInfo().length <= before + 5, 'sockets and timers to go')
})

test('clients that vanish without a close frame end the stream', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  const clients = await Promise.all(Array.from({ length: 50 }, () => open(bench)))
  for (const client of clients) client.send(CONNECT_PACKET)
  await until(() => bench.acceptor.accepted.length === 50, '50 connections')
  for (const client of clients) client.terminate()
  await until(() => bench.acceptor.accepted.every(({ stream }) => stream.destroyed), 'all streams to close')
})

test('plain MQTT on a WebSocket port is recognised', async t => {
  const bench = await startWs({ otherPorts: { tcp: 1883 } })
  t.after(() => bench.close())
  const client = connect({ port: bench.port, host: '127.0.0.1' })
  client.write(CONNECT_PACKET)
  client.resume()
  await once(client, 'close')
  assert.match(
    bench.logger.lines[0]?.text ?? '',
    /Plain MQTT client on the WebSocket port \d+; use the plain port 1883/,
  )
})

test('a PROXY header comes before the upgrade, and X-Forwarded-For is not believed', async t => {
  const bench = await startWs({ proxyProtocol: true })
  t.after(() => bench.close())
  const client = new WebSocket(`ws://127.0.0.1:${bench.port}/mqtt`, ['mqtt'], {
    headers: { 'x-forwarded-for': '203.0.113.9' },
    createConnection: () => {
      const socket = connect({ port: bench.port, host: '127.0.0.1' })
      socket.write('PROXY TCP4 192.0.2.10 10.0.0.1 5555 8080\r\n')
      return socket
    },
  })
  await once(client, 'open')
  client.send(CONNECT_PACKET)
  const accepted = await bench.acceptor.next()
  assert.equal(accepted.info.remoteAddress, '192.0.2.10')
  client.terminate()
})

test('the host and the path that a client asks for are told', async t => {
  const bench = await startWs()
  t.after(() => bench.close())
  for (const [host, told] of [
    ['Tenant-A.Example:8080', 'tenant-a.example'],
    ['[::1]:8080', '[::1]'],
    ['tenant-b.example', 'tenant-b.example'],
  ]) {
    const client = new WebSocket(`ws://127.0.0.1:${bench.port}/mqtt?x=1`, ['mqtt'], { headers: { host } })
    await once(client, 'open')
    client.send(CONNECT_PACKET)
    const { info } = await bench.acceptor.next()
    assert.deepEqual([info.host, info.path], [told, '/mqtt'])
    client.terminate()
  }
})

test('secure WebSocket: client certificate, PROXY header and data', async t => {
  const files = await makeCertificateFolder('device-7')
  t.after(() => files.remove())
  const bench = await startWs({
    kind: 'wss',
    tellCertCommonName: true,
    tls: { certFile: files.path('server.pem'), keyFile: files.path('server.key'), caFile: files.path('ca.pem') },
  })
  t.after(() => bench.close())
  const pem = (name: string): Buffer => readFileSync(files.path(name))
  const client = new WebSocket(`wss://127.0.0.1:${bench.port}/`, ['mqtt'], {
    ca: pem('ca.pem'),
    cert: pem('client.pem'),
    key: pem('client.key'),
  })
  await once(client, 'open')
  client.send(CONNECT_PACKET)
  const accepted = await bench.acceptor.next()
  assert.deepEqual(await accepted.received(CONNECT_PACKET.length), CONNECT_PACKET)
  assert.equal(accepted.info.transport, 'wss')
  assert.equal(accepted.info.certCommonName, 'device-7')
  accepted.stream.write('pong')
  assert.equal(String((await once(client, 'message'))[0]), 'pong')
  client.close()
  await until(() => accepted.stream.destroyed, 'the stream to close')
})
