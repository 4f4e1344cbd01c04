import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { BrokerError } from '@midge/protocol-core'
import { DISCONNECT, PINGREQ, publishPacket, unsubscribePacket } from '../testing/raw-client.ts'
import { Gate, overriding, poll, startBroker, type TestBroker, type TestBrokerOptions } from '../testing/test-broker.ts'
import type { MidgeClient } from './midge-client.ts'
import type { AedesPublishInput } from './translate.ts'

async function start(t: TestContext, options: TestBrokerOptions = {}): Promise<TestBroker> {
  const made = await startBroker(options)
  t.after(() => made.stop())
  return made
}

test('authenticate: a return code becomes CONNACK of each version', async t => {
  const node = await start(t, {
    authenticate: (client, username, password, done) => {
      assert.equal(client.connecting, true)
      if (username === 'good' && password?.toString() === 'secret') done(null, true)
      else if (username === 'none') done(null, false)
      else done(Object.assign(new Error('no'), { returnCode: 4 }), null)
    },
  })
  const good = await node.dial(4)
  assert.equal(await good.open({ clientId: 'a', username: 'good', password: 'secret' }), 0)
  const bad4 = await node.dial(4)
  assert.equal(await bad4.open({ clientId: 'b', username: 'bad', password: 'x' }), 4)
  await bad4.closed()
  const bad5 = await node.dial(5)
  assert.equal(await bad5.open({ clientId: 'c', username: 'bad', password: 'x' }), 0x86)
  const none5 = await node.dial(5)
  assert.equal(await none5.open({ clientId: 'd', username: 'none' }), 0x87)
  assert.equal(node.counters.authenticationFailures, 3)
  assert.equal(node.counters.sessionsCurrent, 1)
})

test('a hook that throws while a client connects refuses that client alone', async t => {
  const node = await start(t, {
    authenticate: (client, _username, _password, done) => {
      if (client.id === 'bad') throw new Error('bug in a hook')
      done(null, true)
    },
  })
  const bad = await node.dial()
  assert.notEqual(await bad.open({ clientId: 'bad' }), 0)
  await bad.closed()
  const good = await node.dial()
  assert.equal(await good.open({ clientId: 'good' }), 0)
})

test('preConnect refuses; a hook that never answers ends with the connect timeout', async t => {
  const node = await start(t, {
    preConnect: (_client, packet, done) => {
      const { clientId } = packet as { clientId: string }
      if (clientId !== 'hangs') done(null, clientId !== 'refused')
    },
  })
  const refused = await node.dial(5)
  assert.equal(await refused.open({ clientId: 'refused' }), 0x87)
  const hanging = await node.dial(5)
  const answer = hanging.open({ clientId: 'hangs' })
  await poll(() => node.broker.core.connections.size > 0, 'connected')
  for (const connection of node.broker.core.connections) connection.checkTimeouts(connection.openedAtMs + 10_001)
  await assert.rejects(answer)
  assert.equal(node.counters.connectTimeouts, 1)
})

for (const isAsync of [false, true]) {
  test(`authorizePublish that answers ${isAsync ? 'later' : 'at once'}: denied messages are answered and counted`, async t => {
    const asked: string[] = []
    const node = await start(t, {
      authorizePublish: (_client, packet, done) => {
        asked.push(packet.topic)
        const error = packet.topic.startsWith('no') ? new Error('no') : null
        if (isAsync) setImmediate(() => done(error))
        else done(error)
      },
    })
    const client = await node.dial()
    await client.open()
    await client.subscribe([{ filter: '#', options: 1 }])
    client.send(
      publishPacket('no', '0'),
      publishPacket('yes', '0'),
      publishPacket('no', '1', { qos: 1, packetId: 1 }),
      publishPacket('yes', '1', { qos: 1, packetId: 2 }),
      publishPacket('no', '2', { qos: 2, packetId: 3 }),
      publishPacket('yes', 'end'),
    )
    await client.until(() => client.deliveries().some(delivery => delivery.payload === 'end'))
    assert.deepEqual(
      client.deliveries().map(({ topic, payload }) => topic + payload),
      ['yes0', 'yes1', 'yesend'],
    )
    const answers = client.frames.filter(found => found.type === 4 || found.type === 5)
    assert.deepEqual(
      answers.map(({ type, body }) => [type, body[1], body[2] ?? 0]),
      [
        [4, 1, 0x87],
        [4, 2, 0],
        [5, 3, 0x87],
      ],
    )
    // Every message, as Aedes does: a hook may look at the payload.
    assert.deepEqual(asked, ['no', 'yes', 'no', 'yes', 'no', 'yes'])
    assert.equal(node.counters.dropped.get('publish_denied'), 3)
    assert.equal(node.counters.packetsReceived[3], 6)
    assert.deepEqual(node.counters.messagesReceived, [3, 2, 1])
  })
}

test('authorizePublish that throws or never answers concerns its client alone', async t => {
  const node = await start(t, {
    authorizePublish: (_client, packet, done) => {
      if (packet.topic === 'throws') throw new Error('bug in a hook')
      if (packet.topic !== 'hangs') done(null)
    },
  })
  const throwing = await node.dial()
  await throwing.open({ clientId: 'throwing' })
  throwing.send(publishPacket('throws', ''))
  await throwing.closed()
  const hanging = await node.dial()
  await hanging.open({ clientId: 'hanging' })
  hanging.send(publishPacket('hangs', ''))
  const good = await node.dial()
  await good.open({ clientId: 'good' })
  good.send(publishPacket('fine', '', { qos: 1 }))
  await good.expect(4)
})

test('authorizeSubscribe: null refuses, a lower QoS is granted', async t => {
  const node = await start(t, {
    authorizeSubscribe: (_client, subscription, done) => {
      if (subscription.topic === 'null') done(null, null)
      else if (subscription.topic === 'error') done(new Error('no'))
      else if (subscription.topic === 'lower') done(null, { ...subscription, qos: 0 })
      else done(null, subscription)
    },
  })
  const client = await node.dial()
  await client.open()
  const filters = ['null', 'error', 'lower', 'as asked'].map(filter => ({ filter, options: 2 }))
  assert.deepEqual(await client.subscribe(filters), [0x87, 0x87, 0, 2])
  assert.equal(node.counters.subscriptionsCurrent, 2)
})

test('authorizeForward refuses single deliveries, whatever way they take, and they are counted', async t => {
  const node = await start(t, {
    authorizeForward: (client, packet) => (client.id.startsWith('deaf') ? null : packet),
  })
  const ids = ['deaf0', 'deaf-stored', 'deaf-shared', 'hears']
  const clients = await Promise.all(ids.map(() => node.dial()))
  for (const [i, client] of clients.entries()) {
    const keep = ids[i] === 'deaf-stored' ? { properties: [0x11, 0, 0, 0, 9] } : {}
    await client.open({ clientId: ids[i] ?? '', ...keep })
    await client.subscribe([{ filter: ids[i] === 'deaf-shared' ? '$share/g/a' : 'a', options: 1 }])
  }
  const publisher = await node.dial()
  await publisher.open({ clientId: 'publisher' })
  publisher.send(publishPacket('a', '0'), publishPacket('a', '1', { qos: 1 }))
  await publisher.expect(4)
  const hears = clients[3]
  assert.ok(hears)
  await hears.until(() => hears.deliveries().length === 2)
  await poll(() => node.counters.dropped.get('forward_denied') === 6, 'all refusals are counted')
  for (const client of clients.slice(0, 3)) assert.equal(client.deliveries().length, 0)
})

test('an authorizeForward hook that throws stops neither the broker nor the publisher', async t => {
  const node = await start(t, {
    authorizeForward: (client, packet) => {
      if (client.id === 'poison') throw new Error('bug in a hook')
      return packet
    },
  })
  const poison = await node.dial()
  await poison.open({ clientId: 'poison' })
  await poison.subscribe([{ filter: 'a', options: 1 }])
  const stored = await node.dial()
  await stored.open({ clientId: 'stored', properties: [0x11, 0, 0, 0, 9] })
  await stored.subscribe([{ filter: 'a', options: 1 }])
  const publisher = await node.dial()
  await publisher.open({ clientId: 'publisher' })
  for (let packetId = 1; packetId <= 3; packetId++) {
    publisher.send(publishPacket('a', `${packetId}`, { qos: 1, packetId }))
    await publisher.expect(4)
  }
  await stored.until(() => stored.deliveries().length === 3)
  await node.broker.core.publisher.settled()
})

test('published and the events of a client, in order', async t => {
  const seen: string[] = []
  const node = await start(t, {
    published: (packet, client, done) => {
      seen.push(`published ${client?.id} ${packet.topic} ${packet.payload} ${packet.qos}`)
      done(null)
    },
  })
  const { broker } = node
  for (const event of ['client', 'clientReady', 'clientDisconnect', 'ping', 'subscribe', 'unsubscribe', 'publish']) {
    // One listener for events of several signatures.
    broker.on(event as 'client', (...args: unknown[]) => {
      const client = args.at(-1) as MidgeClient | null
      seen.push(
        event === 'ping' || args.length === 1 ? `${event} ${client?.id}` : `${event} ${JSON.stringify(args[0])}`,
      )
    })
  }
  const client = await node.dial()
  await client.open({ clientId: 'c' })
  await client.subscribe([{ filter: 'a', options: 1 }])
  client.send(publishPacket('a', 'x', { qos: 1 }), PINGREQ)
  await client.until(() => client.frames.some(found => found.type === 13))
  client.send(unsubscribePacket(5, 2, ['a']))
  await client.until(() => client.frames.some(found => found.type === 11))
  assert.equal(broker.connectedClients, 1)
  client.send(DISCONNECT)
  await client.closed()
  await poll(() => broker.connectedClients === 0, 'disconnected')
  const payload = { type: 'Buffer', data: [120] }
  const packet = { cmd: 'publish', topic: 'a', payload, qos: 1, retain: false, dup: false, clientId: 'c' }
  assert.deepEqual(seen, [
    'client c',
    'clientReady c',
    'subscribe [{"topic":"a","qos":1}]',
    'published c a x 1',
    `publish ${JSON.stringify(packet)}`,
    'ping c',
    'unsubscribe ["a"]',
    'clientDisconnect c',
  ])
})

test('listeners that throw harm nobody', async t => {
  const node = await start(t)
  const { broker } = node
  const events = [
    'client',
    'clientReady',
    'clientDisconnect',
    'clientError',
    'keepaliveTimeout',
    'publish',
    'subscribe',
    'ping',
  ]
  for (const event of events) {
    broker.on(event as 'client', () => {
      throw new Error(`bug in a listener of ${event}`)
    })
  }
  const client = await node.dial()
  assert.equal(await client.open({ clientId: 'c', keepAliveSeconds: 1, will: { topic: 'will', payload: 'x' } }), 0)
  await client.subscribe([{ filter: '#', options: 1 }])
  client.send(PINGREQ, publishPacket('a', 'x', { qos: 1 }))
  await client.until(() => client.frames.some(found => found.type === 4))
  for (const connection of broker.core.connections) connection.checkTimeouts(Date.now() + 3_600_000)
  await client.closed()
  await poll(() => node.counters.sessionsCurrent === 0, 'ended')
  await poll(() => node.counters.willsPublished === 1, 'the will is published')
  assert.equal(node.counters.keepAliveTimeouts, 1)
  assert.equal(broker.connectedClients, 0)
  assert.ok(node.logger.lines.some(line => line.event === 'connection.bug'))
})

test('broker.publish reaches subscribers, the hook and the event', async t => {
  const seen: string[] = []
  const node = await start(t, {
    published: (packet, client, done) => {
      seen.push(`${client} ${packet.topic}`)
      done(null)
    },
  })
  const sent = (packet: AedesPublishInput): Promise<Error | null | undefined> =>
    new Promise(done => node.broker.publish(packet, done))
  const client = await node.dial()
  await client.open()
  await client.subscribe([{ filter: 'a/+', options: 2 }])
  assert.equal(await sent({ topic: 'a/1', payload: 'text', qos: 1, retain: true }), null)
  assert.equal(await sent({ topic: 'a/2', payload: Buffer.from('bytes'), qos: 0 }), null)
  assert.equal(await sent({ topic: 'a/3' }), null)
  await client.until(() => client.deliveries().length === 3)
  assert.deepEqual(
    client.deliveries().map(({ topic, payload, qos }) => [topic, payload, qos]),
    [
      ['a/1', 'text', 1],
      ['a/2', 'bytes', 0],
      ['a/3', '', 0],
    ],
  )
  assert.deepEqual(seen, ['null a/1', 'null a/2', 'null a/3'])
  assert.ok((await sent({ topic: 'a/+', payload: '' })) instanceof Error)
})

test('broker.publish says when the store did not take the message', async t => {
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, { commit: () => Promise.reject(new BrokerError('MIDGE_STORE_UNAVAILABLE', 'down')) }),
  })
  const error = await new Promise(done => node.broker.publish({ topic: 'a', payload: 'x', qos: 1, retain: true }, done))
  assert.ok(error instanceof BrokerError)
})

test('a store that fails closes the publisher unanswered and leaves QoS 0 alone', async t => {
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, { commit: () => Promise.reject(new BrokerError('MIDGE_STORE_UNAVAILABLE', 'down')) }),
  })
  const subscriber = await node.dial()
  await subscriber.open({ clientId: 'stored', properties: [0x11, 0, 0, 0, 9] })
  await subscriber.subscribe([{ filter: 'a', options: 1 }])
  const publisher = await node.dial()
  await publisher.open({ clientId: 'publisher' })
  publisher.send(publishPacket('a', 'zero'), publishPacket('a', 'one', { qos: 1 }))
  await publisher.closed()
  assert.deepEqual(
    publisher.frames.map(found => found.type),
    [2, 14],
  )
  assert.equal((await subscriber.delivery()).payload, 'zero')
  const other = await node.dial()
  await other.open({ clientId: 'other' })
  other.send(publishPacket('a', 'retained', { retain: true }), publishPacket('a', 'end'))
  await subscriber.until(() => subscriber.deliveries().length === 3)
  await poll(() => node.counters.dropped.get('store_failed') === 1, 'counted')
  assert.equal(other.isClosed, false)
})

test('PUBACK comes after the commit and in order, also for refused messages', async t => {
  const gate = new Gate()
  const committing = new Gate()
  const node = await start(t, {
    authorizePublish: (_client, packet, done) => done(packet.topic === 'no' ? new Error('no') : null),
    wrapStore: store =>
      overriding(store, {
        commit: async items => {
          committing.open()
          await gate.passed
          return store.commit(items)
        },
      }),
  })
  const client = await node.dial()
  await client.open()
  client.send(
    publishPacket('a', '1', { qos: 1, packetId: 1, retain: true }),
    publishPacket('no', '2', { qos: 1, packetId: 2 }),
    publishPacket('b', '3', { qos: 1, packetId: 3 }),
  )
  await committing.passed
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(client.frames.length, 1)
  gate.open()
  await client.until(() => client.frames.length === 4)
  assert.deepEqual(
    client.frames.slice(1).map(({ body }) => body[1]),
    [1, 2, 3],
  )
})

test('broker.close ends every client', async t => {
  const node = await start(t)
  const client = await node.dial()
  await client.open()
  await new Promise<void>(resolve => node.broker.close(() => resolve()))
  await client.closed()
  assert.equal(node.broker.closed, true)
  assert.equal(node.counters.sessionsCurrent, 0)
})
