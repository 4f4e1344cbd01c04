import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ackPacket, connectPacket, publishPacket, type RawClient } from '../testing/raw-client.ts'
import { ScriptedStream } from '../testing/scripted-stream.ts'
import { poll, startBroker, TEST_INFO, type TestBroker } from '../testing/test-broker.ts'

const RECEIVE_MAX_2 = [0x21, 0, 2]
const TOPIC_ALIAS_1 = [0x23, 0, 1]

function seen(client: RawClient): unknown[] {
  return client.deliveries().map(({ topic, payload, qos, dup, packetId }) => ({ topic, payload, qos, dup, packetId }))
}

for (const version of [4, 5] as const) {
  test(`a v${version} QoS 1 frame reaches every kind of subscriber in its own form`, async t => {
    const node = await startBroker()
    t.after(() => node.stop())
    const same = await node.dial(version)
    const other = await node.dial(version === 4 ? 5 : 4)
    const lower = await node.dial(version)
    const marked = await node.dial(5)
    await same.open({ clientId: 'same' })
    await other.open({ clientId: 'other' })
    await lower.open({ clientId: 'lower' })
    await marked.open({ clientId: 'marked' })
    await same.subscribe([{ filter: 't/+', options: 1 }])
    await other.subscribe([{ filter: 't/+', options: 1 }])
    await lower.subscribe([{ filter: 't/+', options: 0 }])
    await marked.subscribe([{ filter: 't/+', options: 1 }], 9)
    const publisher = await node.dial(version)
    await publisher.open({ clientId: 'publisher' })
    publisher.send(publishPacket('t/1', 'a', { version, qos: 1, packetId: 500 }))
    publisher.send(publishPacket('t/1', 'b', { version, qos: 1, packetId: 501, dup: true }))
    publisher.send(publishPacket('t/2', 'c', { version, qos: 1, packetId: 502 }))
    const clients = [same, other, lower, marked]
    await publisher.until(() => publisher.frames.filter(({ type }) => type === 4).length === 3)
    for (const client of clients) await client.until(() => client.deliveries().length === 3)
    const atQos1 = [
      { topic: 't/1', payload: 'a', qos: 1, dup: false, packetId: 1 },
      { topic: 't/1', payload: 'b', qos: 1, dup: false, packetId: 2 },
      { topic: 't/2', payload: 'c', qos: 1, dup: false, packetId: 3 },
    ]
    assert.deepEqual(seen(same), atQos1)
    assert.deepEqual(seen(other), atQos1)
    assert.deepEqual(seen(marked), atQos1)
    assert.deepEqual(
      seen(lower),
      atQos1.map(found => ({ ...found, qos: 0, packetId: 0 })),
    )
    assert.deepEqual(
      marked.deliveries().map(({ properties }) => [...properties]),
      [
        [0x0b, 9],
        [0x0b, 9],
        [0x0b, 9],
      ],
    )
    assert.deepEqual([node.counters.messagesReceived[1], node.counters.messagesSent[1]], [3, 9])
  })
}

/** A client whose every packet is read into the same buffer, as sockets of a listener are. */
async function openReader(node: TestBroker): Promise<(packet: Buffer) => void> {
  const stream = new ScriptedStream()
  const reads = node.broker.acceptReads(stream, TEST_INFO)
  const shared = Buffer.alloc(65_536)
  const read = (packet: Buffer): void => {
    packet.copy(shared)
    reads.onRead(shared, packet.length)
    shared.fill(0xff)
  }
  read(connectPacket({ version: 5, clientId: 'publisher' }))
  await poll(() => stream.frames.length === 1, 'CONNACK')
  return read
}

test('a QoS 1 frame that waits for the window survives the next read into the same buffer', async t => {
  const node = await startBroker()
  t.after(() => node.stop())
  const subscriber = await node.dial(5)
  await subscriber.open({ clientId: 'slow', properties: RECEIVE_MAX_2 })
  await subscriber.subscribe([{ filter: 't', options: 1 }])
  const read = await openReader(node)
  for (let i = 1; i <= 5; i++) read(publishPacket('t', `message ${i}`, { qos: 1, packetId: i }))
  await subscriber.until(() => subscriber.deliveries().length === 2)
  for (let i = 1; i <= 3; i++) subscriber.send(ackPacket(0x40, i))
  await subscriber.until(() => subscriber.deliveries().length === 5)
  assert.deepEqual(
    subscriber.deliveries().map(({ payload }) => payload),
    [1, 2, 3, 4, 5].map(i => `message ${i}`),
  )
})

test('a QoS 1 frame whose acknowledgement is awaited survives the next read into the same buffer', async t => {
  const node = await startBroker()
  t.after(() => node.stop())
  const acknowledged: string[] = []
  node.broker.on('ack', packet => {
    if (packet !== undefined && 'payload' in packet) acknowledged.push(packet.payload.toString())
  })
  const subscriber = await node.dial(5)
  await subscriber.open({ clientId: 'subscriber' })
  await subscriber.subscribe([{ filter: 't', options: 1 }])
  const read = await openReader(node)
  read(publishPacket('t', 'first', { qos: 1, packetId: 1 }))
  read(publishPacket('t', 'second', { qos: 1, packetId: 2 }))
  await subscriber.until(() => subscriber.deliveries().length === 2)
  subscriber.send(ackPacket(0x40, 1), ackPacket(0x40, 2))
  await poll(() => acknowledged.length === 2, 'ack events')
  assert.deepEqual(acknowledged, ['first', 'second'])
})

test('a topic alias of the publisher is not passed on', async t => {
  const node = await startBroker({ limits: { topicAliasMax: 4 } })
  t.after(() => node.stop())
  const subscriber = await node.dial(5)
  await subscriber.open({ clientId: 'subscriber' })
  await subscriber.subscribe([{ filter: 't', options: 1 }])
  const publisher = await node.dial(5)
  await publisher.open({ clientId: 'publisher' })
  const body = Buffer.from([0, 1, 0x74, 0, 7, TOPIC_ALIAS_1.length, ...TOPIC_ALIAS_1, 0x78])
  publisher.send(Buffer.from([0x32, body.length]), body)
  const { topic, payload, properties } = await subscriber.delivery()
  assert.deepEqual([topic, payload, [...properties]], ['t', 'x', []])
})
