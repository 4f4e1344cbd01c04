import assert from 'node:assert/strict'
import { conform, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, packet, str, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage, untilMarker } from '../support/raw-client.ts'

useBroker()

conform(
  ['v3.1', 'v3.1.1 MQTT-4.3.1-1 MQTT-2.3.1-5 MQTT-3.3.1-2', 'v5 MQTT-4.3.1-1 MQTT-2.2.1-2 MQTT-3.3.1-2'],
  'a QoS 0 message is delivered with QoS 0, DUP 0 and no Packet Identifier',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 2)
    await publisher.publish(topic, 'zero')
    const p = await subscriber.expect(Type.PUBLISH)
    assert.deepEqual([p.text, p.qos, p.dup, p.packetId, p.topic], ['zero', 0, false, 0, topic])
    await expectNoMessage(subscriber, publisher)
  },
)

conform(['v3.1.1 MQTT-3.3.1-3', 'v5 MQTT-3.3.1-3'], "the publisher's DUP does not reach subscribers", async s => {
  const topic = s.topic()
  const [subscriber, publisher] = [await s.connect(), await s.connect()]
  await subscriber.subscribe(topic, 2)
  for (const qos of [1, 2]) {
    await publisher.publish(topic, `dup ${qos}`, { qos, dup: true })
    const p = await subscriber.receive()
    assert.deepEqual([p.text, p.dup], [`dup ${qos}`, false])
  }
})

conform(['v3.1.1 MQTT-3.3.1-2', 'v5 MQTT-3.3.1-2'], 'QoS 0 with DUP is refused', async s => {
  await s.refuses(mqtt.publish(s.v, { topic: s.topic(), payload: 'x', flags: 0x08 }), [0x81, 0x82])
})

conform(['v3.1', 'v3.1.1 MQTT-3.3.1-4', 'v5 MQTT-3.3.1-4'], 'QoS 3 is refused', async s => {
  for (const flags of [0x06, 0x07, 0x0e, 0x0f]) {
    await s.refuses(mqtt.publish(s.v, { topic: s.topic(), payload: 'x', flags, packetId: 1 }), 0x81)
  }
})

conform(['v3.1.1 MQTT-2.3.1-1', 'v5 MQTT-2.2.1-3'], 'a Packet Identifier of 0 is refused', async s => {
  const topic = s.topic()
  for (const qos of [1, 2]) await s.refuses(mqtt.publish(s.v, { topic, qos, packetId: 0 }), [0x81, 0x82])
})

conform(
  ['v3.1', 'v3.1.1 MQTT-3.3.2-2 MQTT-4.7.1-1', 'v5 MQTT-3.3.2-2 MQTT-4.7.0-1'],
  'wildcards in a Topic Name are refused',
  async s => {
    for (const topic of ['#', '+', 'a/#', 'a/+', '+/a', 'a/+/b', 'a#', 'a+b']) {
      await s.refuses(mqtt.publish(s.v, { topic, payload: 'x', qos: 1, packetId: 1 }), [0x81, 0x82, 0x90])
    }
  },
)

conform(['v3.1.1 MQTT-4.7.3-1', 'v5 MQTT-4.7.3-1'], 'an empty Topic Name is refused', async s => {
  for (const qos of [0, 1, 2]) {
    await s.refuses(mqtt.publish(s.v, { topic: '', payload: 'x', qos, packetId: 1 }), [0x81, 0x82, 0x90])
  }
})

conform(['v3.1.1 MQTT-3.3.2-1', 'v5'], 'a PUBLISH that ends inside its fields is refused', async s => {
  const cut = [
    packet(0x30),
    packet(0x30, [0]),
    packet(0x30, [0, 5], 'abc'),
    packet(0x32, str('t')),
    packet(0x32, str('t'), [0]),
  ]
  for (const bytes of cut) await s.refuses(bytes, [0x81, 0x82])
  if (s.v !== 5) return
  await s.refuses(packet(0x30, str('t')), 0x81)
  await s.refuses(packet(0x30, str('t'), [5, P.payloadFormat]), 0x81)
})

conform(['v3.1.1 MQTT-3.3.2-3', 'v5 MQTT-3.3.2-3'], 'the delivered Topic Name is the published one', async s => {
  const topic = s.topic()
  const [subscriber, publisher] = [await s.connect(), await s.connect()]
  await subscriber.subscribe([`${topic}/+/c`, `${topic}/d/#`])
  for (const name of [`${topic}/b/c`, `${topic}/d/e/f`, `${topic}/d`]) {
    await publisher.publish(name, 'x')
    assert.equal((await subscriber.receive()).topic, name)
  }
})

conform(['v3.1.1 MQTT-3.3.4-1', 'v5 MQTT-3.3.4-1'], 'the answer to a PUBLISH is the one of its QoS', async s => {
  const client = await s.connect()
  const topic = s.topic()
  client.send(mqtt.publish(s.v, { topic }))
  await client.expectSilence()
  client.send(mqtt.publish(s.v, { topic, qos: 1, packetId: 11 }))
  assert.equal((await client.expect(Type.PUBACK)).packetId, 11)
  client.send(mqtt.publish(s.v, { topic, qos: 2, packetId: 12 }))
  assert.equal((await client.expect(Type.PUBREC)).packetId, 12)
})

conform(
  ['v3.1.1 MQTT-3.3.5-1', 'v5 MQTT-3.3.4-2'],
  'overlapping subscriptions deliver at the highest granted QoS',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(`${topic}/#`, 2)
    await subscriber.subscribe(`${topic}/+`, 1)
    await subscriber.subscribe(`${topic}/a`, 0)
    await publisher.publish(`${topic}/a`, 'x', { qos: 2 })
    assert.equal((await subscriber.receive()).qos, 2)
    if (s.broker.target !== 'mosquitto') await expectNoMessage(subscriber, publisher)
  },
)

conform(
  ['v3.1.1 MQTT-3.8.4-6', 'v5 MQTT-3.8.4-8'],
  'the delivered QoS is the lower of the published and the granted one',
  async s => {
    const publisher = await s.connect()
    for (const granted of [0, 1, 2]) {
      const topic = s.topic()
      const subscriber = await s.connect()
      await subscriber.subscribe(topic, granted)
      for (const qos of [0, 1, 2]) {
        await publisher.publish(topic, `${qos}`, { qos })
        const p = await subscriber.receive()
        assert.deepEqual([p.text, p.qos], [`${qos}`, Math.min(qos, granted)])
      }
    }
  },
)

conform(['v3.1.1', 'v5'], 'payloads of any size up to the limit arrive unchanged', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.subscribe(topic, 1)
  for (const size of [0, 1, 2, 126, 127, 128, 16_383, 16_384, 65_535, 65_536, 1_000_000]) {
    const payload = Uint8Array.from({ length: size }, (_, i) => (i * 31 + size) & 0xff)
    await client.publish(topic, payload, { qos: 1 })
    const p = await client.receive()
    assert.ok(Buffer.compare(p.payload, payload) === 0, `payload of ${size} bytes`)
  }
})

conform(
  ['v3.1.1', 'v5'],
  'a packet cut into single bytes and packets merged into one segment are understood',
  async s => {
    const topic = s.topic()
    const client = await s.connect()
    await client.subscribe(topic, 1)
    for (const b of mqtt.publish(s.v, { topic, payload: 'slow', qos: 1, packetId: 1 })) {
      client.send([b])
      await new Promise(resolve => setImmediate(resolve))
    }
    await client.waitFor(Type.PUBACK)
    assert.equal((await client.receive()).text, 'slow')
    const many = Array.from({ length: 50 }, (_, i) =>
      mqtt.publish(s.v, { topic, payload: `${i}`, qos: 1, packetId: 10 + i }),
    )
    client.send(...many)
    assert.deepEqual(
      await client.receiveTexts(50),
      Array.from({ length: 50 }, (_, i) => `${i}`),
    )
    for (let i = 0; i < 50; i++) assert.equal((await client.waitFor(Type.PUBACK)).packetId, 10 + i)
  },
)

conform(
  ['v3.1.1 MQTT-4.6.0-5 MQTT-4.6.0-6', 'v5 MQTT-4.6.0-5 MQTT-4.6.0-6'],
  'messages of one publisher arrive in the order of sending, per QoS',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 2)
    for (const qos of [0, 1, 2]) {
      for (let i = 0; i < 60; i++) {
        publisher.send(mqtt.publish(s.v, { topic, payload: `${i}`, qos, packetId: i + 1 }))
        if (qos === 2) publisher.send(mqtt.ack(Type.PUBREL, i + 1))
      }
      const texts = await subscriber.receiveTexts(60)
      assert.deepEqual(
        texts,
        Array.from({ length: 60 }, (_, i) => `${i}`),
        `QoS ${qos}`,
      )
    }
  },
)

conform(['v3.1.1', 'v5'], 'one message reaches each of many subscribers once', async s => {
  const topic = s.topic()
  const subscribers = await Promise.all(Array.from({ length: 30 }, () => s.connect()))
  await Promise.all(subscribers.map((c, i) => c.subscribe(topic, i % 3)))
  const publisher = await s.connect()
  await publisher.publish(topic, 'all', { qos: 2 })
  for (const [i, c] of subscribers.entries()) assert.equal((await c.receive()).qos, i % 3)
  for (const c of subscribers) await expectNoMessage(c, publisher)
})

conform(
  ['v3.1.1 MQTT-4.5.0-1', 'v5 MQTT-4.5.0-1'],
  'a matching message is added to every session, connected or not',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const absent = await s.connect({ ...durable, clientId })
    await absent.subscribe(topic, 1)
    await absent.disconnect()
    const present = await s.connect()
    await present.subscribe(topic, 1)
    await present.publish(topic, 'both', { qos: 1 })
    assert.equal((await present.receive()).text, 'both')
    const back = await s.connect({ ...durable, clientId })
    assert.equal((await back.receive()).text, 'both')
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-3.3.5-2', 'v5'],
  'a PUBLISH that is not authorised is acknowledged, and is not delivered; the connection stays',
  async s => {
    const name = s.id()
    const [client, watcher] = [await s.connect(), await s.connect()]
    await watcher.subscribe(['$SYS/#'], 2)
    const topics = [`$SYS/${name}`, `$SYS/broker/connection/${name}/states`, `$SYS/broker/connection/a/${name}/state`]
    for (const topic of topics) {
      await client.publish(topic, name, { retain: true })
      for (const qos of [1, 2]) {
        const first = await client.publish(topic, name, { qos, retain: true })
        assert.equal(first?.reason, s.v === 5 ? 0x87 : 0)
      }
    }
    await client.expectSilence()
    const got = await untilMarker(watcher, client)
    assert.deepEqual(
      got.filter(p => p.text === name).map(p => p.topic),
      [],
    )
  },
)

conform(['v5 MQTT-3.3.4-6'], 'a Subscription Identifier from a client is refused', async s => {
  const properties = [[P.subscriptionId, 1] as const]
  await s.refuses(mqtt.publish(5, { topic: s.topic(), payload: 'x', properties }), [0x81, 0x82])
})

conform(['v5'], 'a PUBLISH beyond the Maximum Packet Size of the broker is refused with 0x95', async s => {
  const client = await s.connect()
  const maximum = client.connack?.properties.find(([id]) => id === P.maximumPacketSize)?.[1]
  assert.ok(typeof maximum === 'number', 'the broker announces a Maximum Packet Size')
  client.send(packet(0x30, str(s.topic()), [0], new Uint8Array(maximum)))
  await client.expectClose({ reason: 0x95 })
})

conform(['v5 MQTT-3.4.2-1 MQTT-3.5.2-1'], 'acknowledgements carry success, or say that nobody subscribes', async s => {
  const topic = s.topic()
  const client = await s.connect()
  for (const qos of [1, 2]) {
    const nobody = await client.publish(topic, 'x', { qos })
    assert.ok([0x00, 0x10].includes(nobody?.reason ?? -1), `reason ${nobody?.reason}`)
  }
  await client.subscribe(topic)
  for (const qos of [1, 2]) {
    const somebody = await client.publish(topic, 'x', { qos })
    assert.equal(somebody?.reason, 0, 'a subscription matches')
  }
})
