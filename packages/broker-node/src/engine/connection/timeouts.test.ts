import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectPacket, publishPacket } from '../testing/raw-client.ts'
import { ScriptedStream } from '../testing/scripted-stream.ts'
import { Gate, overriding, poll, startBroker, TEST_INFO } from '../testing/test-broker.ts'

test('a clock that jumps closes nobody; a client that stays silent after it is closed', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let skewMs = 0
  const node = await startBroker({ nowMs: () => 1_000_000 + skewMs })
  t.after(() => node.stop())
  const client = await node.dial()
  await client.open({ keepAliveSeconds: 10 })
  t.mock.timers.tick(1000)
  // An hour passes between two looks: the process stood still, or somebody has set the clock.
  skewMs += 3_600_000
  t.mock.timers.tick(1000)
  skewMs += 1000
  t.mock.timers.tick(1000)
  assert.equal(node.counters.keepAliveTimeouts, 0)
  for (let second = 0; second < 16; second++) {
    skewMs += 1000
    t.mock.timers.tick(1000)
  }
  assert.equal(node.counters.keepAliveTimeouts, 1)
  assert.equal((await client.expect(14)).body[0], 0x8d)
})

test('a publisher of retained messages at QoS 0 is read no further while the store is behind', async t => {
  const gate = new Gate()
  const node = await startBroker({
    wrapStore: store =>
      overriding(store, {
        commit: async items => {
          await gate.passed
          return store.commit(items)
        },
      }),
  })
  t.after(() => node.stop())
  const stream = new ScriptedStream()
  node.broker.core.accept(stream, TEST_INFO)
  stream.feed(connectPacket({ clientId: 'flood' }))
  await poll(() => stream.frames.length === 1, 'CONNACK')
  const packet = publishPacket('r', 'x', { retain: true })
  for (let i = 0; i < 30; i++) stream.feed(Buffer.concat(new Array<Buffer>(1000).fill(packet)))
  const received = (): number => node.counters.messagesReceived[0] ?? 0
  assert.ok(received() < 21_000, `${received()} messages wait`)
  assert.equal(stream.isPaused(), true)
  gate.open()
  await poll(() => received() === 30_000 && !stream.isPaused(), 'everything is stored')
})

test('output that a client does not take is bounded: QoS 0 is dropped and counted, QoS 1 waits', async t => {
  const node = await startBroker({ limits: { outputBufferBytesMax: 100_000, drainTimeoutMs: 5000 } })
  t.after(() => node.stop())
  const stream = new ScriptedStream()
  const connection = node.broker.core.accept(stream, TEST_INFO)
  stream.feed(connectPacket({ clientId: 'stuck' }))
  stream.feed(Buffer.from([0x82, 7, 0, 1, 0, 0, 1, 0x61, 1]))
  await poll(() => stream.frames.length === 2, 'SUBACK')
  stream.takes = false
  const publisher = await node.dial()
  await publisher.open({ clientId: 'publisher' })
  const payload = Buffer.alloc(1000)
  for (let i = 0; i < 200; i++) publisher.send(publishPacket('a', payload))
  publisher.send(publishPacket('a', 'last', { qos: 1 }))
  await publisher.expect(4)
  assert.ok(stream.writableLength < 250_000)
  const dropped = node.counters.dropped.get('output_full') ?? 0
  assert.ok(dropped > 0)
  stream.release()
  await poll(() => stream.deliveries(5).some(delivery => delivery.payload === 'last'), 'QoS 1 arrives')
  assert.equal(stream.deliveries(5).length, 201 - dropped)
  assert.equal(node.counters.packetsSent[3], 201 - dropped)
  stream.takes = false
  publisher.send(publishPacket('a', 'stuck'))
  await poll(() => stream.writableLength > 0, 'written')
  connection.checkTimeouts(Date.now() + 6000)
  assert.equal(connection.isClosed, true)
  assert.equal(node.counters.drainTimeouts, 1)
})
