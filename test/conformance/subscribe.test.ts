import assert from 'node:assert/strict'
import { conform, eachOf, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, packet, str, Type, u16 } from '../support/mqtt-bytes.ts'
import { expectNoMessage, untilMarker } from '../support/raw-client.ts'

useBroker()

conform(
  ['v3.1', 'v3.1.1 MQTT-3.8.4-1 MQTT-3.8.4-2 MQTT-2.3.1-7', 'v5 MQTT-3.8.4-1 MQTT-3.8.4-2 MQTT-2.2.1-6'],
  'SUBSCRIBE gets SUBACK with its Packet Identifier',
  async s => {
    const client = await s.connect()
    for (const packetId of [1, 256, 65_535]) {
      client.send(mqtt.subscribe(s.v, packetId, [[s.topic(), 0]]))
      assert.equal((await client.expect(Type.SUBACK)).packetId, packetId)
    }
    await client.expectSilence()
  },
)

conform(
  [
    'v3.1',
    'v3.1.1 MQTT-3.8.4-4 MQTT-3.8.4-5 MQTT-3.9.3-1 MQTT-3.9.3-2',
    'v5 MQTT-3.8.4-5 MQTT-3.8.4-6 MQTT-3.8.4-7 MQTT-3.9.3-1 MQTT-3.9.3-2',
  ],
  'one SUBSCRIBE with many filters gets one SUBACK with a code for each, in order',
  async s => {
    const client = await s.connect()
    const root = s.topic()
    const wanted = [0, 2, 1, 0, 1, 2, 2]
    client.send(
      mqtt.subscribe(
        s.v,
        5,
        wanted.map((q, i) => [`${root}/${i}`, q] as const),
      ),
    )
    const suback = await client.expect(Type.SUBACK)
    assert.deepEqual(suback.codes, wanted)
    await client.expectSilence()
    for (const [i, qos] of wanted.entries()) {
      await client.publish(`${root}/${i}`, `${i}`, { qos: 2 })
      const p = await client.receive()
      assert.deepEqual([p.text, p.qos], [`${i}`, qos])
    }
  },
)

conform(
  ['v3.1.1 MQTT-3.8.4-4 MQTT-3.8.4-5', 'v5 MQTT-3.8.4-5 MQTT-3.8.4-6'],
  'the same filter twice in one SUBSCRIBE gets two codes and the last one counts',
  async s => {
    const client = await s.connect()
    const topic = s.topic()
    client.send(
      mqtt.subscribe(s.v, 5, [
        [topic, 2],
        [topic, 0],
      ]),
    )
    assert.deepEqual((await client.expect(Type.SUBACK)).codes, [2, 0])
    await client.publish(topic, 'x', { qos: 2 })
    assert.equal((await client.receive()).qos, 0)
    await expectNoMessage(client)
  },
)

conform(['v3.1.1 MQTT-3.8.3-3', 'v5 MQTT-3.8.3-2'], 'SUBSCRIBE without a filter is refused', async s => {
  await s.refuses(mqtt.subscribe(s.v, 1, []), [0x81, 0x82])
})

conform(['v3.1.1 MQTT-3.8.1-1', 'v5 MQTT-3.8.1-1'], 'SUBSCRIBE with wrong flags is refused', async s => {
  const body = [u16(1), s.v === 5 ? [0] : [], str(s.topic()), [0]]
  for (const first of [0x80, 0x81, 0x83, 0x86, 0x8a]) await s.refuses(packet(first, ...body), 0x81)
})

conform(['v3.1.1 MQTT-2.3.1-1', 'v5 MQTT-2.2.1-3'], 'SUBSCRIBE with Packet Identifier 0 is refused', async s => {
  await s.refuses(mqtt.subscribe(s.v, 0, [[s.topic(), 0]]), [0x81, 0x82])
})

conform(['v3.1.1 MQTT-3.8.3-4'], 'reserved bits of the requested QoS, or QoS 3, are refused', async s => {
  for (const options of [3, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff]) {
    await s.refuses(mqtt.subscribe(4, 1, [[s.topic(), options]]), [])
  }
})

conform(['v5 MQTT-3.8.3-5'], 'reserved bits of the options, QoS 3 or Retain Handling 3 are refused', async s => {
  for (const options of [0x03, 0x30, 0x40, 0x80, 0xc0, 0xff]) {
    await s.refuses(mqtt.subscribe(5, 1, [[s.topic(), options]]), [0x81, 0x82])
  }
})

conform(['v3.1.1', 'v5'], 'a SUBSCRIBE that ends inside a filter is refused and changes nothing', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  const head = [u16(1), s.v === 5 ? [0] : []]
  await s.refuses(packet(0x82), [0x81, 0x82])
  await s.refuses(packet(0x82, [1]), [0x81, 0x82])
  await s.refuses(packet(0x82, ...head, str(topic)), [0x81, 0x82])
  await s.refuses(packet(0x82, ...head, [0, 50], topic), [0x81, 0x82])
  await watcher.expectSilence()
})

/** Filters whose wildcards are out of place. */
const illFormed = ['a#', 'a/#b', '#/a', '#a', '##', 'a/##', 'a/#/b', 'a+', '+a', 'a/b+', 'a/+b/c', '++', 'a/++']

conform(
  ['v3.1', 'v3.1.1 MQTT-4.7.1-2 MQTT-4.7.1-3 MQTT-4.8.0-1', 'v5 MQTT-4.7.1-1 MQTT-4.7.1-2 MQTT-4.13.1-1'],
  'SUBSCRIBE with a misplaced wildcard is malformed and ends the connection',
  async s => {
    const topic = s.topic()
    await eachOf(
      illFormed.map(filter => [filter, filter] as const),
      async filter => {
        await s.refuses(mqtt.subscribe(s.v, 1, [[filter, 0]]), 0x81)
        const among = mqtt.subscribe(s.v, 1, [
          [topic, 0],
          [filter, 0],
        ])
        await s.refuses(among, 0x81)
      },
    )
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-4.7.3-1 MQTT-4.8.0-1', 'v5 MQTT-4.7.3-1 MQTT-4.13.1-1'],
  'an empty filter is malformed and ends the connection',
  async s => {
    await s.refuses(mqtt.subscribe(s.v, 1, [['', 0]]), 0x81)
    await s.refuses(mqtt.unsubscribe(s.v, 1, ['']), 0x81)
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-3.9.3-2', 'v5 MQTT-3.9.3-2'],
  'a well-formed filter that is not accepted is refused in SUBACK, and the others are granted',
  async s => {
    const [client, deep] = [await s.connect(), Array(2000).fill('x').join('/')]
    const filters = [s.topic(), deep, s.topic()]
    assert.deepEqual((await client.subscribe(filters, 1)).codes, [1, s.v === 5 ? 0x8f : 0x80, 1])
    const unsuback = await client.unsubscribe(filters)
    if (s.v === 5) assert.deepEqual(unsuback.codes, [0, 0x8f, 0])
    await client.expectSilence()
  },
)

conform(['v3.1', 'v3.1.1'], 'what only MQTT 5 calls an ill-formed share name is refused in SUBACK', async s => {
  const client = await s.connect()
  for (const filter of ['$share//a', '$share/g', '$share/+/a']) {
    assert.deepEqual((await client.subscribe(filter)).codes, [0x80], filter)
    await client.unsubscribe(filter)
  }
})

conform(['v3.1.1 MQTT-3.8.3-2', 'v5'], 'wildcard subscriptions are supported', async s => {
  const client = await s.connect()
  const root = s.topic()
  assert.deepEqual((await client.subscribe([`${root}/#`, `${root}/+/a`], 1)).codes, [1, 1])
  await client.publish(`${root}/x/a`, 'x', { qos: 1 })
  assert.equal((await client.receive()).text, 'x')
})

conform(
  ['v3.1.1 MQTT-3.8.4-3', 'v5 MQTT-3.8.4-3'],
  'a repeated filter replaces the subscription: one delivery, the new QoS',
  async s => {
    const client = await s.connect()
    const topic = s.topic()
    for (const qos of [0, 1, 2, 1]) {
      assert.deepEqual((await client.subscribe(topic, qos)).codes, [qos])
      await client.publish(topic, 'x', { qos: 2 })
      assert.equal((await client.receive()).qos, qos)
      await expectNoMessage(client)
    }
  },
)

conform(
  ['v3.1.1 MQTT-3.8.4-3', 'v5 MQTT-3.8.4-4'],
  'repeating a SUBSCRIBE loses no message that is being published',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 1)
    for (let i = 0; i < 60; i++) {
      publisher.send(mqtt.publish(s.v, { topic, payload: `${i}`, qos: 1, packetId: i + 1 }))
      subscriber.send(mqtt.subscribe(s.v, 1000 + i, [[topic, 1]]))
      await publisher.expect(Type.PUBACK)
    }
    assert.deepEqual(
      await subscriber.receiveTexts(60),
      Array.from({ length: 60 }, (_, i) => `${i}`),
    )
  },
)

conform(['v3.1.1', 'v5'], 'a filter longer than the topic level limit is refused without harm', async s => {
  const client = await s.connect()
  client.send(
    mqtt.subscribe(s.v, 1, [
      [Array(200).fill('a').join('/'), 0],
      [s.topic(), 1],
    ]),
  )
  const p = await client.next()
  if (p?.type !== Type.SUBACK) return
  assert.equal(p.codes.length, 2)
  assert.equal(p.codes[1], 1, 'the other filter is accepted')
})

conform(['v3.1.1', 'v5'], 'subscribing to names of object members is ordinary', async s => {
  const client = await s.connect()
  const names = ['__proto__', 'constructor', 'toString', '__proto__/constructor', 'hasOwnProperty/a']
  await client.subscribe(names, 1)
  for (const name of names) {
    await client.publish(name, name, { qos: 1, retain: true })
    const p = await client.receive()
    assert.deepEqual([p.topic, p.text], [name, name])
    await expectNoMessage(client)
    await client.publish(name, '', { retain: true })
    await client.receive()
  }
})

conform(
  ['v5 MQTT-3.8.3-3'],
  'No Local keeps a message from the connection that published it, and only from it',
  async s => {
    const topic = s.topic()
    const [self, other] = [await s.connect(), await s.connect()]
    await self.subscribe(topic, 0x05)
    await other.subscribe(topic, 0x05)
    await self.publish(topic, 'mine', { qos: 1 })
    assert.equal((await other.receive()).text, 'mine')
    await expectNoMessage(self)
    await other.publish(topic, 'theirs', { qos: 1 })
    assert.equal((await self.receive()).text, 'theirs')
  },
)

conform(['v5 MQTT-3.8.3-3'], 'No Local leaves an overlapping subscription alone', async s => {
  const topic = s.topic()
  const self = await s.connect()
  await self.subscribe(topic, 0x06)
  await self.subscribe(`${topic}/#`, 0x01)
  await self.publish(topic, 'mine', { qos: 2 })
  assert.equal((await self.receive()).qos, 1)
  await expectNoMessage(self)
})

conform(['v5 MQTT-3.3.4-3'], 'a message carries the identifier of the subscription that matched', async s => {
  const topic = s.topic()
  const client = await s.connect()
  for (const id of [1, 127, 128, 16_384, 268_435_455]) {
    await client.subscribe(topic, 0, [[P.subscriptionId, id]])
    await client.publish(topic, 'x')
    const p = await client.receive()
    assert.deepEqual(p.properties, [[P.subscriptionId, id]])
  }
  await client.subscribe(topic, 0)
  await client.publish(topic, 'x')
  assert.deepEqual((await client.receive()).properties, [], 'replaced by a subscription without an identifier')
})

conform(
  ['v5 MQTT-3.3.4-4 MQTT-3.3.4-5'],
  'overlapping subscriptions: all identifiers are on what is delivered',
  async s => {
    const root = s.topic()
    const client = await s.connect()
    await client.subscribe(`${root}/#`, 1, [[P.subscriptionId, 1]])
    await client.subscribe(`${root}/+`, 2, [[P.subscriptionId, 22]])
    await client.subscribe([`${root}/a`, `${root}/b`], 0, [[P.subscriptionId, 333]])
    await client.subscribe(`${root}/a/#`, 0)
    await client.publish(`${root}/a`, 'x', { qos: 2 })
    const got = await untilMarker(client, client)
    const ids = got.flatMap(p => p.properties.filter(([id]) => id === P.subscriptionId).map(([, v]) => v))
    assert.deepEqual(
      ids.map(Number).sort((a, b) => a - b),
      [1, 22, 333],
    )
    if (s.broker.target !== 'mosquitto') assert.equal(got.length, 1, 'one copy')
  },
)

conform(['v5'], 'a Subscription Identifier of 0 or beyond its range is refused', async s => {
  await s.refuses(mqtt.subscribe(5, 1, [[s.topic(), 0]], [[P.subscriptionId, 0]]), [0x81, 0x82])
  const five = packet(0x82, u16(1), [6, P.subscriptionId, 0xff, 0xff, 0xff, 0xff, 0x01], str(s.topic()), [0])
  await s.refuses(five, [0x81, 0x82])
})

conform(['v5'], 'the Subscription Identifier is remembered with the session', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const fields = { clientId, clean: false, properties: [[P.sessionExpiry, 60] as const] }
  const first = await s.connect(fields)
  await first.subscribe(topic, 1, [[P.subscriptionId, 42]])
  await first.disconnect()
  const publisher = await s.connect()
  await publisher.publish(topic, 'x', { qos: 1 })
  const second = await s.connect(fields)
  assert.deepEqual((await second.receive()).properties, [[P.subscriptionId, 42]])
})
