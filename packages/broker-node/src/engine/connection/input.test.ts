import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Qos } from '@midge/protocol-core'
import fc from 'fast-check'
import { connectPacket, PINGREQ, publishPacket, subscribePacket } from '../testing/raw-client.ts'
import { ScriptedStream } from '../testing/scripted-stream.ts'
import { poll, startBroker, TEST_INFO, type TestBroker } from '../testing/test-broker.ts'
import type { Connection } from './connection.ts'

let node: TestBroker
let clients = 0

before(async () => {
  node = await startBroker({ limits: { maxPacketBytes: 20_000 } })
})
after(() => node.stop())

/** A connected client whose bytes the test sends itself. */
async function attach(
  version: 4 | 5,
  keepAliveSeconds = 0,
): Promise<{ stream: ScriptedStream; connection: Connection }> {
  const stream = new ScriptedStream()
  const connection = node.broker.core.accept(stream, TEST_INFO)
  stream.feed(connectPacket({ version, clientId: `c${clients++}`, keepAliveSeconds }))
  await poll(() => stream.frames.length > 0, 'CONNACK')
  return { stream, connection }
}

async function subscriber(version: 4 | 5, subscriptionId: number): Promise<ScriptedStream> {
  const { stream } = await attach(version)
  stream.feed(subscribePacket(version, 1, [{ filter: 'r/#', options: 1 }], subscriptionId))
  await poll(() => stream.frames.length > 1, 'SUBACK')
  return stream
}

function inChunks(bytes: Buffer, sizes: number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : Math.max(1, sizes[i % sizes.length] ?? 1)
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

const frameArbitrary = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      topic: fc.constantFrom('r/a', 'r/a', 'r/a', 'r/b', 'nobody', 'r/ü'),
      size: fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 0, max: 40 }) },
        { weight: 1, arbitrary: fc.integer({ min: 100, max: 9000 }) },
      ),
      qos: fc.constantFrom<Qos>(0, 0, 0, 0, 0, 1),
    }),
  },
  { weight: 1, arbitrary: fc.constant('ping' as const) },
)

for (const version of [4, 5] as const) {
  test(`v${version} frames arrive the same, however the stream is cut into chunks`, async () => {
    const receivers = [
      { version: 4 as const, stream: await subscriber(4, 0) },
      { version: 5 as const, stream: await subscriber(5, 0) },
      { version: 5 as const, stream: await subscriber(5, 9) },
    ]
    let round = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(frameArbitrary, { maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 12 }),
        async (frames, sizes) => {
          const { stream } = await attach(version)
          const end = `end ${version} ${round++}`
          const expected: string[] = []
          const packets: Buffer[] = []
          let packetId = 0
          for (const [i, found] of frames.entries()) {
            if (found === 'ping') {
              packets.push(PINGREQ)
              continue
            }
            const payload = `${i}:`.padEnd(found.size, 'x')
            if (found.qos > 0) packetId++
            packets.push(
              publishPacket(found.topic, payload, { version, qos: found.qos, packetId: found.qos && packetId }),
            )
            if (found.topic !== 'nobody') expected.push(`${found.topic} ${found.qos} ${payload}`)
          }
          packets.push(publishPacket('r/end', end, { version }))
          expected.push(`r/end 0 ${end}`)
          const before = receivers.map(receiver => receiver.stream.deliveries(receiver.version).length)
          for (const chunk of inChunks(Buffer.concat(packets), sizes)) stream.feed(chunk)
          for (const [i, receiver] of receivers.entries()) {
            const news = () => receiver.stream.deliveries(receiver.version).slice(before[i])
            await poll(() => news().some(({ payload }) => payload === end), 'the last message')
            assert.deepEqual(
              news().map(({ topic, qos, payload }) => `${topic} ${qos} ${payload}`),
              expected,
            )
            if (i === 2) assert.ok(news().every(({ properties }) => properties.equals(Buffer.from([0x0b, 9]))))
          }
          const pings = frames.filter(found => found === 'ping').length
          assert.equal(stream.frames.filter(({ type }) => type === 13).length, pings)
          assert.equal(stream.frames.filter(({ type }) => type === 4).length, packetId)
          stream.destroy()
          ackAll(receivers)
        },
      ),
      { numRuns: 40 },
    )
  })
}

/** Frees the windows of the receivers, so that the next round finds them open. */
function ackAll(receivers: { stream: ScriptedStream; version: 4 | 5 }[]): void {
  for (const { stream, version } of receivers) {
    for (const { qos, packetId } of stream.deliveries(version))
      if (qos === 1) stream.feed(Buffer.from([0x40, 2, packetId >>> 8, packetId & 0xff]))
  }
}

test('byte by byte, also through a CONNECT and a packet larger than any chunk', async () => {
  const stream = new ScriptedStream()
  node.broker.core.accept(stream, TEST_INFO)
  const bytes = Buffer.concat([
    connectPacket({ version: 5, clientId: 'drip' }),
    subscribePacket(5, 1, [{ filter: 'drip' }]),
    publishPacket('drip', 'y'.repeat(9000)),
    PINGREQ,
  ])
  for (const byte of bytes) stream.feed(Buffer.from([byte]))
  await poll(() => stream.frames.length === 4, 'all answers')
  assert.deepEqual(
    stream.frames.map(({ type }) => type),
    [2, 9, 3, 13],
  )
  assert.equal(stream.deliveries(5)[0]?.payload.length, 9000)
})

for (const size of [1, 2, 3, 7, 100_000]) {
  test(`a packet above the limit is refused from its header, ${size} bytes at a time`, async () => {
    const { stream, connection } = await attach(5)
    const packet = publishPacket('big', Buffer.alloc(20_001))
    for (const chunk of inChunks(packet.subarray(0, 200), [size])) stream.feed(chunk)
    assert.equal(connection.isClosed, true)
    await poll(() => stream.frames.length === 2, 'DISCONNECT')
    assert.equal(stream.frames[1]?.body[0], 0x95)
  })
}

test('what came before a malformed packet is delivered', async () => {
  const receiver = await subscriber(5, 0)
  const { stream, connection } = await attach(5)
  stream.feed(
    Buffer.concat([
      publishPacket('r/x', '1'),
      publishPacket('r/x', '2'),
      publishPacket('r/x', '3'),
      Buffer.alloc(6, 0xff),
    ]),
  )
  assert.equal(connection.isClosed, true)
  await poll(() => receiver.deliveries(5).length === 3, 'the three before')
})

test('no bytes whatever throw out of a connection or hurt another one', async () => {
  const witness = await attach(5)
  const valid = [
    publishPacket('a', 'b', { qos: 2, packetId: 3 }),
    subscribePacket(5, 3, [{ filter: 'a/#' }]),
    Buffer.from([0x62, 2, 0, 3]),
    Buffer.from([0x50, 2, 0, 9]),
    PINGREQ,
  ]
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(...valid)), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 5 }),
      async (isConnected, parts, sizes) => {
        const stream = isConnected ? (await attach(5)).stream : new ScriptedStream()
        if (!isConnected) node.broker.core.accept(stream, TEST_INFO)
        for (const chunk of inChunks(Buffer.concat(parts), sizes)) stream.feed(chunk)
        await new Promise(resolve => setImmediate(resolve))
        stream.destroy()
      },
    ),
    { numRuns: 200 },
  )
  witness.stream.feed(PINGREQ)
  await poll(() => witness.stream.frames.at(-1)?.type === 13, 'the witness is served')
  await poll(() => [...node.broker.core.connections].includes(witness.connection), 'the witness is there')
})

test('keep-alive counts packets, not bytes of one that never ends', async () => {
  const { stream, connection } = await attach(5, 1)
  const start = Date.now()
  const packet = publishPacket('a', 'x'.repeat(300))
  stream.feed(packet.subarray(0, 100))
  stream.feed(packet.subarray(100, 200))
  connection.checkTimeouts(start + 1400)
  assert.equal(connection.isClosed, false)
  connection.checkTimeouts(start + 60_000)
  assert.equal(connection.isClosed, true)
  await poll(() => stream.frames.at(-1)?.body[0] === 0x8d, 'told why')
})

test('the time in which the broker did not read does not count against the client', async () => {
  const { connection } = await attach(5, 1)
  connection.restartTimeouts(Date.now() - 60_000)
  let done: () => void = () => undefined
  connection.waitFor(new Promise<void>(resolve => (done = resolve)))
  connection.checkTimeouts(Date.now())
  assert.equal(connection.isClosed, false)
  done()
  await Promise.resolve()
  await Promise.resolve()
  connection.checkTimeouts(Date.now())
  assert.equal(connection.isClosed, false)
})

test('a client that ends its half of the connection still gets its answers', async () => {
  const { stream, connection } = await attach(5)
  stream.feed(publishPacket('a', 'b', { qos: 1 }))
  stream.push(null)
  await poll(() => connection.isClosed, 'ended')
  await poll(() => stream.frames.at(-1)?.type === 4, 'PUBACK')
})
