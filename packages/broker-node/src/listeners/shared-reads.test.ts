import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { READS_ARE_SHARED } from './shared-reads.ts'
import { CONNECT_PACKET, startBench, until } from './testing/probe.ts'

const MAJOR = Number(process.versions.node.split('.')[0])
/** Versions on which the slots have been looked at; a later one may have to read sockets as streams. */
const MAJORS_KNOWN = [20, 22, 24]

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

test('which way sockets are read on this runtime', t => {
  t.diagnostic(`Node.js ${process.version}: ${READS_ARE_SHARED ? 'one buffer for all reads' : 'streams'}`)
  if (MAJORS_KNOWN.includes(MAJOR)) assert.equal(READS_ARE_SHARED, true)
})

test('connections that take turns get their own bytes, without data events', async t => {
  const bench = await startBench()
  t.after(() => bench.close())
  const clients = await Promise.all(Array.from({ length: 20 }, () => dial(bench.port)))
  for (const client of clients) client.write(CONNECT_PACKET)
  const byPort = new Map<number, Buffer[]>()
  for (let round = 0; round < 50; round++) {
    clients.forEach((client, i) => {
      const bytes = Buffer.alloc(1 + ((round * 97 + i * 31) % 3000), i * 50 + round)
      byPort.set(client.localPort ?? 0, [...(byPort.get(client.localPort ?? 0) ?? []), bytes])
      client.write(bytes)
    })
    await new Promise(resolve => setImmediate(resolve))
  }
  for (const _ of clients) {
    const accepted = await bench.acceptor.next()
    const expected = Buffer.concat([CONNECT_PACKET, ...(byPort.get(accepted.info.remotePort) ?? [])])
    assert.deepEqual(await accepted.received(expected.length), expected)
    assert.equal(accepted.dataEvents, READS_ARE_SHARED ? 0 : accepted.dataEvents)
  }
  for (const client of clients) client.destroy()
})

test('pause holds bytes and the end back, resume brings them', async t => {
  const bench = await startBench()
  t.after(() => bench.close())
  const client = await dial(bench.port)
  client.write(CONNECT_PACKET)
  const accepted = await bench.acceptor.next()
  await accepted.received(CONNECT_PACKET.length)
  let hasEnded = false
  accepted.stream.on('end', () => {
    hasEnded = true
  })
  accepted.stream.pause()
  const more = Buffer.alloc(200_000, 7)
  client.end(more)
  // A later connection is served, so the bytes of this one would have been read by then.
  const other = await dial(bench.port)
  other.write(CONNECT_PACKET)
  await (await bench.acceptor.next()).received(CONNECT_PACKET.length)
  assert.equal(accepted.bytes.length, CONNECT_PACKET.length)
  accepted.stream.resume()
  await accepted.received(CONNECT_PACKET.length + more.length)
  await until(() => hasEnded, 'the end')
  other.destroy()
})

test('a PROXY header in pieces is put together although other connections are read between them', async t => {
  const bench = await startBench({ proxyProtocol: true })
  t.after(() => bench.close())
  const clients = await Promise.all(Array.from({ length: 10 }, () => dial(bench.port)))
  const texts = clients.map((_, i) => `PROXY TCP4 203.0.113.${i} 198.51.100.1 ${5000 + i} 1883\r\n`)
  for (let at = 0; at < 60; at += 7) {
    clients.forEach((client, i) => {
      if (at < (texts[i]?.length ?? 0)) client.write(texts[i]?.slice(at, at + 7) ?? '')
    })
    await new Promise(resolve => setImmediate(resolve))
  }
  for (const client of clients) client.write(CONNECT_PACKET)
  const addresses: string[] = []
  for (const _ of clients) {
    const accepted = await bench.acceptor.next()
    addresses.push(`${accepted.info.remoteAddress}:${accepted.info.remotePort}`)
    assert.deepEqual(await accepted.received(CONNECT_PACKET.length), CONNECT_PACKET)
  }
  assert.deepEqual(addresses.sort(), clients.map((_, i) => `203.0.113.${i}:${5000 + i}`).sort())
  for (const client of clients) client.destroy()
})
