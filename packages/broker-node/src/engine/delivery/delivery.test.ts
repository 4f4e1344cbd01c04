import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Store } from '@midge/protocol-core'
import { type AedesPublishInput, toMessage } from '../aedes/translate.ts'
import {
  ackPacket,
  connectPacket,
  DISCONNECT,
  publishPacket,
  type RawClient,
  subscribePacket,
} from '../testing/raw-client.ts'
import { ScriptedStream } from '../testing/scripted-stream.ts'
import {
  Gate,
  overriding,
  poll,
  startBroker,
  TEST_INFO,
  type TestBroker,
  type TestBrokerOptions,
} from '../testing/test-broker.ts'
import { doorThat, letIn } from '../testing/test-door.ts'

const KEEP = [0x11, 0, 0, 0, 100]
const RECEIVE_MAX_10 = [0x21, 0, 10]

async function start(t: TestContext, options: TestBrokerOptions = {}): Promise<TestBroker> {
  const made = await startBroker(options)
  t.after(() => made.stop())
  return made
}

function publish(node: TestBroker, packet: AedesPublishInput): void {
  void node.broker.core.publisher.publish('default', toMessage(packet))
}

/** Acknowledges every QoS 1 delivery from here on. */
function acknowledging(client: RawClient): void {
  let done = 0
  client.stream.on('data', () => {
    for (; done < client.frames.length; done++) {
      const found = client.frames[done]
      if (found?.type !== 3 || (found.flags & 6) !== 2) continue
      const topicEnd = 2 + found.body.readUInt16BE(0)
      client.send(ackPacket(0x40, found.body.readUInt16BE(topicEnd)))
    }
  })
}

for (const isStored of [false, true]) {
  test(`all retained messages reach a slow ${isStored ? 'stored' : 'clean'} session through a small queue`, async t => {
    const node = await start(t, { limits: { onlineQueueMessages: 300 } })
    const count = 2000
    for (let i = 0; i < count; i++) {
      publish(node, { topic: `r/${i}`, payload: `${i}`, retain: true })
      publish(node, { topic: `q/${i}`, payload: `${i}`, qos: 1, retain: true })
    }
    await node.broker.core.publisher.settled()
    const client = await node.dial()
    await client.open({ clientId: 'slow', properties: [...(isStored ? KEEP : []), ...RECEIVE_MAX_10] })
    acknowledging(client)
    client.send(subscribePacket(5, 1, [{ filter: 'r/#' }, { filter: 'q/#', options: 1 }]))
    await client.until(() => client.deliveries().length === 2 * count)
    assert.ok(client.deliveries().every(({ retain }) => retain))
    assert.equal(new Set(client.deliveries().map(({ topic }) => topic)).size, 2 * count)
    assert.equal(node.counters.dropped.size, 0)
  })
}

test('retain handling, Retain As Published and No Local with retained messages', async t => {
  const node = await start(t)
  const client = await node.dial()
  await client.open({ clientId: 'own' })
  client.send(publishPacket('a', 'own', { retain: true, qos: 1 }))
  await client.expect(4)
  // No Local: not even from the store. v5 [MQTT-3.8.3-3]
  assert.deepEqual(await client.subscribe([{ filter: 'a', options: 0x04 }]), [0])
  // Retain handling 1: only when new. 2: never. 0: always.
  await client.subscribe([{ filter: 'a', options: 0x10 }])
  await client.subscribe([{ filter: 'a', options: 0x20 }])
  await client.subscribe([{ filter: 'b/+', options: 0x10 }])
  await client.subscribe([{ filter: 'a', options: 0x08 }])
  assert.deepEqual(await client.delivery().then(({ payload, retain }) => [payload, retain]), ['own', true])
  client.send(publishPacket('a', 'live', { retain: true }))
  assert.deepEqual(await client.delivery().then(({ payload, retain }) => [payload, retain]), ['live', true])
  await client.subscribe([{ filter: '$share/g/a' }])
  client.send(Buffer.from([0xc0, 0]))
  await client.expect(13)
})

test('unsubscribing ends the replay of retained messages', async t => {
  const reading = new Gate()
  const read = new Gate()
  let pages = 0
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        matchRetained: async (...call: Parameters<Store['matchRetained']>) => {
          if (++pages === 2) {
            reading.open()
            await read.passed
          }
          return store.matchRetained(...call)
        },
      }),
  })
  const client = await node.dial()
  await client.open()
  for (let i = 0; i < 250; i++)
    client.send(publishPacket(`r/${i}`, '', { retain: true }), publishPacket(`r/${i}`, 'x', { retain: true }))
  client.send(subscribePacket(5, 1, [{ filter: 'r/#' }]))
  await reading.passed
  client.send(Buffer.from([0xa2, 8, 0, 2, 0, 0, 3, 0x72, 0x2f, 0x23]))
  await client.until(() => client.frames.some(({ type }) => type === 11))
  read.open()
  client.send(Buffer.from([0xc0, 0]))
  await client.until(() => client.frames.some(({ type }) => type === 13))
  await new Promise(resolve => setTimeout(resolve, 20))
  assert.equal(client.deliveries().length, 100)
  assert.equal(pages, 2)
})

test('a message that expires while it waits for the window is dropped and counted', async t => {
  let skewMs = 0
  const node = await start(t, { nowMs: () => Date.now() + skewMs })
  const client = await node.dial()
  await client.open({ clientId: 'slow', properties: [0x21, 0, 1] })
  await client.subscribe([{ filter: 'a', options: 1 }])
  const publisher = await node.dial()
  await publisher.open({ clientId: 'publisher' })
  publisher.send(
    publishPacket('a', 'first', { qos: 1, packetId: 1 }),
    publishPacket('a', 'mayfly', { qos: 1, packetId: 2, expirySeconds: 5 }),
  )
  publisher.send(publishPacket('a', 'last', { qos: 1, packetId: 3 }))
  const first = await client.delivery()
  await publisher.until(() => publisher.frames.length === 4)
  skewMs = 6000
  client.send(ackPacket(0x40, first.packetId))
  assert.equal((await client.delivery()).payload, 'last')
  assert.equal(node.counters.dropped.get('expired'), 1)
})

test('70,000 messages pass a clean session that never acknowledges one of them', async t => {
  const node = await start(t)
  const client = await node.dial()
  await client.open({ clientId: 'sloppy', properties: [0x21, 0, 50] })
  await client.subscribe([{ filter: 'a', options: 1 }])
  let seen = 0
  let held = 0
  client.stream.on('data', () => {
    const fresh = client.deliveries().slice(seen)
    seen += fresh.length
    for (const { packetId } of fresh) {
      if (held === 0) held = packetId
      else client.send(ackPacket(0x40, packetId))
    }
    client.frames.length = 0
    total += fresh.length
    seen = 0
    for (const { packetId } of fresh.slice(1)) if (packetId === held) collisions++
  })
  let total = 0
  let collisions = 0
  let packetId = 0
  const session = node.broker.core.sessions.sessionOf('default', 'sloppy')
  assert.ok(session)
  const publisher = node.broker.core.publisher
  const message = toMessage({ topic: 'a', payload: 'x', qos: 1 })
  while (packetId < 70_000) {
    for (let i = 0; i < 500; i++, packetId++) await publisher.publish('default', message)
    await poll(() => total === packetId, `${packetId} messages`)
  }
  assert.equal(collisions, 0)
})

test('a v3.1.1 client may send more than it is acknowledged: it is read more slowly, not closed', async t => {
  const node = await start(t, { limits: { inflightInboundMax: 10 } })
  const client = await node.dial(4)
  await client.open()
  const count = 500
  for (let packetId = 1; packetId <= count; packetId++)
    client.send(
      publishPacket(`r/${packetId}`, 'x', { version: 4, qos: packetId % 5 === 0 ? 2 : 1, packetId, retain: true }),
    )
  await client.until(() => client.frames.length === count + 1)
  assert.equal(client.frames.filter(({ type }) => type === 4).length, count * 0.8)
})

test('PUBREL for messages of an earlier connection does not widen the Receive Maximum', async t => {
  const node = await start(t, { limits: { receiveMax: 2 } })
  const first = await node.dial()
  await first.open({ clientId: 'c', properties: KEEP })
  first.send(publishPacket('a', 'x', { qos: 2, packetId: 1 }), publishPacket('a', 'x', { qos: 2, packetId: 2 }))
  await first.expect(5)
  await first.expect(5)
  first.stream.destroy()
  const second = await node.dial()
  await second.open({ clientId: 'c', clean: false, properties: KEEP })
  second.send(ackPacket(0x62, 1), ackPacket(0x62, 2))
  await second.expect(7)
  await second.expect(7)
  for (let packetId = 3; packetId <= 5; packetId++) second.send(publishPacket('a', 'x', { qos: 2, packetId }))
  await second.until(() => second.frames.some(({ type, body }) => type === 14 && body[0] === 0x93))
})

test('acknowledgements for nothing: answered where the standard says so, else ignored', async t => {
  const node = await start(t)
  const client = await node.dial()
  await client.open()
  client.send(ackPacket(0x40, 9), ackPacket(0x70, 9), ackPacket(0x50, 9, 0x80))
  client.send(ackPacket(0x50, 10))
  const pubrel = await client.expect(6)
  assert.deepEqual([...pubrel.body.subarray(0, 3)], [0, 10, 0x92])
  client.send(ackPacket(0x62, 11))
  const pubcomp = await client.expect(7)
  assert.deepEqual([...pubcomp.body.subarray(0, 3)], [0, 11, 0x92])
})

test('PUBREC with an error ends the exchange and frees the window', async t => {
  const node = await start(t)
  const client = await node.dial()
  await client.open({ clientId: 'c', properties: [...KEEP, 0x21, 0, 1] })
  await client.subscribe([{ filter: 'a', options: 2 }])
  client.send(publishPacket('a', '1', { qos: 2, packetId: 1 }), publishPacket('a', '2', { qos: 2, packetId: 2 }))
  await client.until(() => client.deliveries().length === 1)
  client.send(ackPacket(0x50, client.deliveries()[0]?.packetId ?? 0, 0x80))
  await client.until(() => client.deliveries().length === 2)
  assert.equal(client.frames.filter(({ type }) => type === 6).length, 0)
})

test('subscription ids and QoS of overlapping filters are the same live, queued and resumed', async t => {
  const node = await start(t)
  const first = await node.dial()
  await first.open({ clientId: 'c', properties: KEEP })
  await first.subscribe([{ filter: 'a/#', options: 1 }], 5)
  await first.subscribe([{ filter: 'a/+', options: 2 }], 6)
  const publisher = await node.dial()
  await publisher.open({ clientId: 'publisher' })
  publisher.send(publishPacket('a/b', 'live', { qos: 2, packetId: 1 }))
  await publisher.expect(5)
  const live = await first.delivery()
  first.stream.destroy()
  await poll(() => node.broker.core.sessions.sessionOf('default', 'c') === undefined, 'offline')
  publisher.send(publishPacket('a/b', 'queued', { qos: 1, packetId: 2 }))
  await publisher.expect(4)
  const second = await node.dial()
  await second.open({ clientId: 'c', clean: false, properties: KEEP })
  const again = await second.delivery()
  const queued = await second.delivery()
  assert.deepEqual([live.qos, live.dup, again.qos, again.dup, queued.qos, queued.dup], [2, false, 2, true, 1, false])
  assert.equal(again.packetId, live.packetId)
  for (const { properties } of [live, again, queued]) assert.deepEqual([...properties], [0x0b, 5, 0x0b, 6])
})

test('a group message that is stored while a member looks into an empty queue is taken', async t => {
  const looking = new Gate()
  const look = new Gate()
  let isGated = false
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        takeGroup: async (...call: Parameters<Store['takeGroup']>) => {
          const taken = await store.takeGroup(...call)
          if (isGated) {
            isGated = false
            looking.open()
            await look.passed
          }
          return taken
        },
      }),
  })
  const client = await node.dial()
  await client.open()
  await client.subscribe([{ filter: '$share/g/a', options: 1 }])
  client.send(publishPacket('a', '1', { qos: 1 }))
  await client.until(() => client.deliveries().length === 1)
  isGated = true
  node.broker.core.groups.onGrew('default', '$share/g/a')
  await looking.passed
  client.send(publishPacket('a', '2', { qos: 1 }))
  await client.until(() => client.frames.filter(({ type }) => type === 4).length === 2)
  look.open()
  const before = Date.now()
  await client.until(() => client.deliveries().length === 2)
  assert.ok(Date.now() - before < 2000, 'not found by the sweep')
})

test('sessions that are gone leave nothing in the router, the routes or the counters', async t => {
  const node = await start(t)
  const router = node.broker.core.routers.of('default')
  for (let i = 0; i < 20; i++) {
    const client = await node.dial()
    await client.open({ clientId: `c${i}`, properties: i % 2 === 0 ? KEEP : [] })
    await client.subscribe([{ filter: 'a/#', options: 1 }, { filter: '$share/g/a' }])
    client.send(publishPacket('a/b', 'x', { qos: 1 }))
    if (i % 3 === 0) client.send(DISCONNECT)
    else client.stream.destroy()
    await client.closed()
  }
  await poll(() => node.counters.connectionsCurrent === 0, 'all gone')
  assert.equal(router.match('a/b').live.length, 0)
  assert.equal(node.counters.subscriptionsCurrent, 0)
  assert.equal(node.counters.sessionsCurrent, 0)
  await poll(() => node.broker.core.sessions.isSettled, 'no opening or ending is kept')
})

test('instances do not meet: the same client id in the same group of two of them', async t => {
  const acked: string[] = []
  const node = await start(t, {
    door: doorThat(({ info }) => letIn({ instance: info.host ?? '' })),
    wrapStore: store =>
      overriding(store, {
        ackGroup: (...call: Parameters<Store['ackGroup']>) => {
          acked.push(`${call[0]} ${call[3]}`)
          return store.ackGroup(...call)
        },
      }),
  })
  const streams = ['one', 'two'].map(instance => {
    const stream = new ScriptedStream()
    node.broker.core.accept(stream, { ...TEST_INFO, host: instance })
    stream.feed(connectPacket({ clientId: 'member' }))
    stream.feed(subscribePacket(5, 1, [{ filter: '$share/g/a', options: 1 }]))
    return stream
  })
  await poll(() => streams.every(stream => stream.frames.length === 2), 'both have SUBACK')
  for (const stream of streams) stream.feed(publishPacket('a', 'x', { qos: 1 }))
  await poll(() => streams.every(stream => stream.deliveries(5).length === 1), 'each has its own message')
  // In one turn, so that they share the flush of the tick.
  for (const stream of streams) stream.feed(ackPacket(0x40, stream.deliveries(5)[0]?.packetId ?? 0))
  await poll(() => acked.length === 2, 'both are told to the store')
  assert.deepEqual(acked.sort(), ['one 1', 'two 1'])
  assert.ok(streams.every(stream => stream.deliveries(5).length === 1))
})
