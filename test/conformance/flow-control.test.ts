import assert from 'node:assert/strict'
import { conform, connectBytes, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, type Packet, type Property, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage, type RawClient, untilMarker } from '../support/raw-client.ts'

useBroker()

/** Takes PUBLISH packets until a PINGREQ round trip shows that no more were sent. */
async function drain(client: RawClient): Promise<Packet[]> {
  const out: Packet[] = []
  client.send(mqtt.pingreq())
  for (let p = await client.next(); p?.type !== Type.PINGRESP; p = await client.next()) {
    assert.equal(p?.type, Type.PUBLISH)
    if (p) out.push(p)
  }
  return out
}

conform(
  ['v5 MQTT-3.3.4-9 MQTT-4.9.0-1 MQTT-4.9.0-2 MQTT-3.1.2-24'],
  "the broker keeps to the client's Receive Maximum",
  async s => {
    const topic = s.topic()
    const publisher = await s.connect()
    for (const window of [1, 2, 7]) {
      const subscriber = await s.connect({ properties: [[P.receiveMaximum, window]] })
      await subscriber.subscribe(topic, 2)
      for (let i = 0; i < 20; i++) await publisher.publish(topic, `${i}`, { qos: 1 + (i % 2) })
      const open: Packet[] = []
      while (open.length < window) open.push(await subscriber.expect(Type.PUBLISH))
      await subscriber.expectSilence()
      for (let i = window; i < 20; i++) {
        const oldest = open.shift()
        assert.ok(oldest)
        await subscriber.acknowledge(oldest)
        open.push(await subscriber.expect(Type.PUBLISH))
        await subscriber.expectSilence()
      }
      assert.equal(open.at(-1)?.text, '19')
      for (const p of open) await subscriber.acknowledge(p)
      await subscriber.disconnect()
    }
  },
)

conform(['v5 MQTT-4.9.0-2'], 'QoS 2 occupies the window until PUBCOMP', async s => {
  const topic = s.topic()
  const [publisher, subscriber] = [await s.connect(), await s.connect({ properties: [[P.receiveMaximum, 1]] })]
  await subscriber.subscribe(topic, 2)
  for (const text of ['a', 'b']) await publisher.publish(topic, text, { qos: 2 })
  const first = await subscriber.expect(Type.PUBLISH)
  subscriber.send(mqtt.ack(Type.PUBREC, first.packetId))
  await subscriber.expect(Type.PUBREL)
  await subscriber.expectSilence()
  subscriber.send(mqtt.ack(Type.PUBCOMP, first.packetId))
  assert.equal((await subscriber.receive()).text, 'b')
})

conform(['v5 MQTT-4.9.0-2'], 'an error code in PUBREC frees the window', async s => {
  const topic = s.topic()
  const [publisher, subscriber] = [await s.connect(), await s.connect({ properties: [[P.receiveMaximum, 1]] })]
  await subscriber.subscribe(topic, 2)
  for (const text of ['a', 'b']) await publisher.publish(topic, text, { qos: 2 })
  const first = await subscriber.expect(Type.PUBLISH)
  subscriber.send(mqtt.ack(Type.PUBREC, first.packetId, 0x83))
  assert.equal((await subscriber.expect(Type.PUBLISH)).text, 'b')
})

conform(['v5 MQTT-3.3.4-10 MQTT-4.9.0-3'], 'a full window delays nothing but QoS 1 and 2 messages', async s => {
  const topic = s.topic()
  const [publisher, subscriber] = [await s.connect(), await s.connect({ properties: [[P.receiveMaximum, 1]] })]
  await subscriber.subscribe(topic, 1)
  for (const text of ['held', 'waiting']) await publisher.publish(topic, text, { qos: 1 })
  const held = await subscriber.expect(Type.PUBLISH)
  await publisher.publish(topic, 'zero')
  assert.equal((await subscriber.waitFor(Type.PUBLISH)).text, 'zero')
  await subscriber.subscribe(s.topic(), 1)
  await subscriber.unsubscribe(s.topic())
  await subscriber.publish(s.topic(), 'out', { qos: 1 })
  await subscriber.publish(s.topic(), 'out', { qos: 2 })
  await subscriber.expectSilence()
  await subscriber.acknowledge(held)
  assert.equal((await subscriber.receive()).text, 'waiting')
})

conform(['v5 MQTT-3.3.4-9'], 'a resumed session keeps to the Receive Maximum of its new connection', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const first = await s.connect({ ...durable, clientId })
  await first.subscribe(topic, 1)
  const publisher = await s.connect()
  for (let i = 0; i < 10; i++) await publisher.publish(topic, `${i}`, { qos: 1 })
  for (let i = 0; i < 10; i++) await first.expect(Type.PUBLISH)
  first.drop()
  const properties: Property[] = [
    [P.sessionExpiry, 300],
    [P.receiveMaximum, 3],
  ]
  const second = await s.connect({ clientId, clean: false, properties })
  const got = [await second.expect(Type.PUBLISH), await second.expect(Type.PUBLISH), await second.expect(Type.PUBLISH)]
  await second.expectSilence()
  assert.deepEqual(
    got.map(p => [p.text, p.dup]),
    [
      ['0', true],
      ['1', true],
      ['2', true],
    ],
  )
  for (const p of got) await second.acknowledge(p)
  assert.deepEqual(await second.receiveTexts(7), ['3', '4', '5', '6', '7', '8', '9'])
})

/** The Receive Maximum that the broker has announced. */
function receiveMaximumOf(client: RawClient): number {
  const maximum = client.connack?.properties.find(([id]) => id === P.receiveMaximum)?.[1] ?? 65_535
  assert.ok(typeof maximum === 'number' && maximum < 65_535, 'the broker announces a Receive Maximum')
  return maximum
}

conform(
  ['v5 MQTT-3.3.4-7'],
  "more unacknowledged QoS 2 messages than the broker's Receive Maximum end the connection with 0x93",
  async s => {
    const client = await s.connect()
    const maximum = receiveMaximumOf(client)
    const topic = s.topic()
    for (let i = 1; i <= maximum; i++) client.send(mqtt.publish(5, { topic, qos: 2, packetId: i }))
    for (let i = 1; i <= maximum; i++) await client.expect(Type.PUBREC)
    await client.expectSilence()
    client.send(mqtt.publish(5, { topic, qos: 2, packetId: maximum + 1 }))
    await client.expectClose({ reason: 0x93 })
  },
)

conform(
  ['v5 MQTT-3.3.4-7'],
  'a client that sends more than the Receive Maximum before it could see an acknowledgement is held back',
  async s => {
    const [topic, kept, clientId] = [s.topic(), s.topic(), s.id()]
    const stored = await s.connect({ ...durable, clientId })
    await stored.subscribe([topic, kept], 1)
    const client = await s.connect()
    const count = receiveMaximumOf(client) * 5
    const publishes = (qos: number): Uint8Array[] =>
      Array.from({ length: count }, (_, i) =>
        mqtt.publish(5, {
          topic: i % 2 ? topic : kept,
          payload: `${qos}/${i}`,
          qos,
          packetId: i + 1,
          retain: i % 2 === 0,
        }),
      )
    client.send(...publishes(1))
    for (let i = 1; i <= count; i++) assert.equal((await client.expect(Type.PUBACK)).packetId, i)
    // PUBREL stands behind every PUBLISH, as a client writes it that does not count.
    client.send(...publishes(2))
    for (let i = 1; i <= count; i++) {
      assert.equal((await client.waitFor(Type.PUBREC)).packetId, i)
      client.send(mqtt.ack(Type.PUBREL, i))
    }
    for (let i = 1; i <= count; i++) assert.equal((await client.waitFor(Type.PUBCOMP)).packetId, i)
    await client.expectSilence()
    for (const qos of [1, 2]) {
      for (let i = 0; i < count; i++) assert.equal((await stored.receive()).text, `${qos}/${i}`)
    }
    await client.publish(kept, '', { qos: 1, retain: true })
  },
)

conform(['v5 MQTT-3.3.4-8'], 'PUBREL makes room for the next QoS 2 message, for as long as one likes', async s => {
  const client = await s.connect()
  const topic = s.topic()
  for (let i = 1; i <= 300; i++) await client.publish(topic, `${i}`, { qos: 2, packetId: i })
  await client.expectSilence()
})

conform(
  ['v3.1.1', 'v5'],
  'a client that acknowledges nothing still gets at most the window, and all of it later',
  async s => {
    const topic = s.topic()
    const [publisher, subscriber] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 1)
    for (let i = 0; i < 300; i++) await publisher.publish(topic, `${i}`, { qos: 1 })
    const first = await drain(subscriber)
    for (const p of first) subscriber.send(mqtt.ack(Type.PUBACK, p.packetId))
    const rest = await subscriber.receiveTexts(300 - first.length)
    assert.deepEqual(
      [...first.map(p => p.text), ...rest],
      Array.from({ length: 300 }, (_, i) => `${i}`),
    )
  },
)

conform(
  ['v5 MQTT-3.1.2-24 MQTT-3.1.2-25'],
  "a message beyond the client's Maximum Packet Size is dropped as if it had been delivered",
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const properties: Property[] = [
      [P.maximumPacketSize, 200],
      [P.sessionExpiry, 300],
    ]
    const subscriber = await s.connect({ clientId, clean: false, properties })
    await subscriber.subscribe(topic, 2)
    const publisher = await s.connect()
    for (const qos of [0, 1, 2]) {
      await publisher.publish(topic, 'x'.repeat(500), { qos })
      await publisher.publish(topic, `small ${qos}`, { qos })
      const p = await subscriber.receive()
      assert.equal(p.text, `small ${qos}`)
      assert.ok(p.length <= 200)
    }
    await subscriber.disconnect()
    const again = await s.connect({ ...durable, clientId })
    await expectNoMessage(again, publisher)
  },
)

conform(['v5 MQTT-3.1.2-24'], 'the Maximum Packet Size of one client does not concern another', async s => {
  const topic = s.topic()
  const small = await s.connect({ properties: [[P.maximumPacketSize, 100]] })
  const large = await s.connect()
  await small.subscribe(topic, 1)
  await large.subscribe(topic, 1)
  await large.publish(topic, 'x'.repeat(1000), { qos: 1 })
  assert.equal((await large.receive()).payload.length, 1000)
  await expectNoMessage(small, large)
})

conform(
  ['v5 MQTT-3.1.2-24'],
  'a message of exactly the Maximum Packet Size is delivered, one byte more is not',
  async s => {
    const topic = s.topic()
    const overhead = mqtt.publish(5, { topic, payload: new Uint8Array(150), qos: 1, packetId: 1 }).length - 150
    const client = await s.connect({ properties: [[P.maximumPacketSize, overhead + 150]] })
    await client.subscribe(topic, 1)
    await client.publish(topic, new Uint8Array(151), { qos: 1 })
    await client.publish(topic, new Uint8Array(150), { qos: 1 })
    assert.equal((await client.receive()).payload.length, 150)
    await expectNoMessage(client)
  },
)

conform(
  [
    'v5 MQTT-3.4.2-2 MQTT-3.4.2-3 MQTT-3.5.2-2 MQTT-3.5.2-3 MQTT-3.6.2-2 MQTT-3.6.2-3 MQTT-3.7.2-2 MQTT-3.7.2-3 MQTT-3.9.2-1 MQTT-3.9.2-2 MQTT-3.11.2-1 MQTT-3.11.2-2',
  ],
  'every answer stays within a tiny Maximum Packet Size',
  async s => {
    const size = 24
    const client = await s.connect({ properties: [[P.maximumPacketSize, size]] })
    const received: Packet[] = []
    client.send(mqtt.subscribe(5, 1, [[Array(2000).fill('x').join('/'), 0]]))
    received.push(await client.expect(Type.SUBACK))
    client.send(mqtt.subscribe(5, 2, [['a', 0]]), mqtt.unsubscribe(5, 3, ['none']))
    received.push(await client.waitFor(Type.SUBACK), await client.waitFor(Type.UNSUBACK))
    client.send(
      mqtt.publish(5, { topic: 'b', qos: 1, packetId: 4 }),
      mqtt.publish(5, { topic: 'b', qos: 2, packetId: 5 }),
    )
    received.push(await client.waitFor(Type.PUBACK), await client.waitFor(Type.PUBREC))
    client.send(mqtt.ack(Type.PUBREL, 6), mqtt.ack(Type.PUBREC, 7))
    received.push(await client.waitFor(Type.PUBCOMP), await client.waitFor(Type.PUBREL))
    await client.ping()
    for (const p of received) assert.ok(p.length <= size, `type ${p.type}: ${p.length} bytes`)
  },
)

conform(
  ['v5 MQTT-3.14.2-3 MQTT-3.14.2-4'],
  'the DISCONNECT of the broker stays within a tiny Maximum Packet Size',
  async s => {
    const client = await s.connect({ properties: [[P.maximumPacketSize, 24]] })
    client.send(connectBytes(5, {}))
    const p = await client.expect(Type.DISCONNECT)
    assert.ok(p.length <= 24, `${p.length} bytes`)
  },
)

conform(
  ['v5 MQTT-3.1.2-24'],
  'a SUBACK or UNSUBACK that the client does not take is not sent: the connection ends with 0x95, and nothing is changed',
  async s => {
    const topics = Array.from({ length: 20 }, () => s.topic())
    const [clientId, size] = [s.id(), 24]
    const properties: Property[] = [
      [P.maximumPacketSize, size],
      [P.sessionExpiry, 300],
    ]
    const small = await s.connect({ clientId, clean: false, properties })
    small.send(
      mqtt.subscribe(
        5,
        1,
        topics.map(topic => [topic, 1] as const),
      ),
    )
    await small.expectClose({ reason: 0x95 })
    const large = await s.connect({ ...durable, clientId })
    const publisher = await s.connect()
    await publisher.publish(topics[0] ?? '', 'not subscribed', { qos: 1 })
    await large.subscribe(topics, 1)
    await large.disconnect()
    const again = await s.connect({ clientId, clean: false, properties })
    again.send(mqtt.unsubscribe(5, 1, topics))
    await again.expectClose({ reason: 0x95 })
    await publisher.publish(topics[0] ?? '', 'still subscribed', { qos: 1 })
    const last = await s.connect({ ...durable, clientId })
    assert.equal((await last.receive()).text, 'still subscribed')
  },
)

conform(
  ['v5 MQTT-3.1.2-29'],
  'without Request Problem Information only CONNACK, PUBLISH and DISCONNECT may explain themselves',
  async s => {
    const client = await s.connect({ properties: [[P.requestProblemInfo, 0]] })
    const explain = (p: Packet): void => {
      const text = p.properties.filter(([id]) => id === P.reasonString || id === P.userProperty)
      assert.deepEqual(text, [], `packet of type ${p.type}`)
    }
    client.send(mqtt.unsubscribe(5, 1, [s.topic()]))
    explain(await client.expect(Type.UNSUBACK))
    client.send(mqtt.ack(Type.PUBREL, 9))
    explain(await client.expect(Type.PUBCOMP))
    client.send(mqtt.ack(Type.PUBREC, 9))
    explain(await client.expect(Type.PUBREL))
    client.send(mqtt.publish(5, { topic: s.topic(), qos: 1, packetId: 3 }))
    explain(await client.expect(Type.PUBACK))
    client.send(mqtt.publish(5, { topic: s.topic(), qos: 2, packetId: 4 }))
    explain(await client.expect(Type.PUBREC))
    client.send(mqtt.subscribe(5, 5, [[Array(2000).fill('x').join('/'), 0]]))
    explain(await client.expect(Type.SUBACK))
  },
)

conform(
  ['v5 MQTT-3.3.2-6'],
  'a queued message is delivered with the time that is left, an unexpired one at once with all of it',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const subscriber = await s.connect({ ...durable, clientId })
    await subscriber.subscribe(topic, 1)
    const publisher = await s.connect()
    const expiry = (p: Packet): unknown => p.properties.find(([id]) => id === P.messageExpiry)?.[1]
    await publisher.publish(topic, 'now', { qos: 1, properties: [[P.messageExpiry, 100]] })
    const now = Number(expiry(await subscriber.receive()))
    assert.ok(now >= 99 && now <= 100, `${now} s left`)
    await subscriber.disconnect()
    await publisher.publish(topic, 'later', { qos: 1, properties: [[P.messageExpiry, 100]] })
    await publisher.publish(topic, 'for ever', { qos: 1 })
    await new Promise(resolve => setTimeout(resolve, 2100))
    const again = await s.connect({ ...durable, clientId })
    const later = Number(expiry(await again.receive()))
    assert.ok(later >= 96 && later <= 98, `${later} s left`)
    assert.equal(expiry(await again.receive()), undefined)
  },
)

conform(['v5 MQTT-3.3.2-5'], 'a queued message whose delivery has not started is deleted when it expires', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const subscriber = await s.connect({ ...durable, clientId })
  await subscriber.subscribe(topic, 1)
  await subscriber.disconnect()
  const publisher = await s.connect()
  await publisher.publish(topic, 'short', { qos: 1, properties: [[P.messageExpiry, 1]] })
  await publisher.publish(topic, 'long', { qos: 1, properties: [[P.messageExpiry, 100]] })
  await new Promise(resolve => setTimeout(resolve, 2200))
  const again = await s.connect({ ...durable, clientId })
  const got = await untilMarker(again, publisher)
  assert.deepEqual(
    got.map(p => p.text),
    ['long'],
  )
})
