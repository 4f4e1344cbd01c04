import assert from 'node:assert/strict'
import { conform, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage, untilMarker } from '../support/raw-client.ts'

useBroker()

conform(
  ['v3.1', 'v3.1.1 MQTT-3.3.1-5 MQTT-3.3.1-6 MQTT-3.3.1-8', 'v5 MQTT-3.3.1-5 MQTT-3.3.1-9'],
  'the last retained message with its QoS comes to a new subscription, marked RETAIN',
  async s => {
    const client = await s.connect()
    for (const qos of [0, 1, 2]) {
      const topic = s.topic()
      await client.publish(topic, 'first', { qos: 1, retain: true })
      await client.publish(topic, 'last', { qos, retain: true })
      await client.subscribe(topic, 2)
      const p = await client.receive()
      assert.deepEqual([p.topic, p.text, p.retain, p.qos, p.dup], [topic, 'last', true, qos, false])
      await expectNoMessage(client)
      await client.unsubscribe(topic)
      await client.publish(topic, '', { qos: 1, retain: true })
    }
  },
)

conform(['v3.1.1 MQTT-3.3.1-7'], 'a retained QoS 0 message replaces the one before', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.publish(topic, 'old', { qos: 2, retain: true })
  await client.publish(topic, 'new', { retain: true })
  await client.subscribe(topic, 2)
  assert.equal((await client.receive()).text, 'new')
  await client.publish(topic, '', { qos: 1, retain: true })
})

conform(
  ['v3.1', 'v3.1.1 MQTT-3.3.1-9', 'v5 MQTT-3.3.1-12'],
  'a live message has RETAIN 0 for an established subscription',
  async s => {
    const topic = s.topic()
    const client = await s.connect()
    await client.subscribe(topic, 1)
    await client.publish(topic, 'live', { qos: 1, retain: true })
    assert.equal((await client.receive()).retain, false)
    await client.publish(topic, '', { qos: 1, retain: true })
  },
)

conform(
  ['v3.1.1 MQTT-3.3.1-10 MQTT-3.3.1-11', 'v5 MQTT-3.3.1-6 MQTT-3.3.1-7'],
  'an empty retained message is delivered, removes the stored one and is not stored',
  async s => {
    const topic = s.topic()
    const client = await s.connect()
    await client.publish(topic, 'kept', { qos: 1, retain: true })
    await client.subscribe(topic, 1)
    assert.equal((await client.receive()).text, 'kept')
    await client.publish(topic, '', { qos: 1, retain: true })
    const live = await client.receive()
    assert.deepEqual([live.payload.length, live.retain], [0, false])
    const later = await s.connect()
    await later.subscribe(topic, 1)
    await expectNoMessage(later)
  },
)

conform(
  ['v3.1.1 MQTT-3.3.1-12', 'v5 MQTT-3.3.1-8'],
  'a message without RETAIN neither stores nor replaces nor removes',
  async s => {
    const [topic, empty] = [s.topic(), s.topic()]
    const client = await s.connect()
    await client.publish(topic, 'kept', { qos: 1, retain: true })
    await client.publish(topic, 'passing', { qos: 1 })
    await client.publish(topic, '', { qos: 1 })
    await client.publish(empty, 'passing', { qos: 1 })
    await client.subscribe([topic, empty], 1)
    assert.equal((await client.receive()).text, 'kept')
    await expectNoMessage(client)
    await client.publish(topic, '', { qos: 1, retain: true })
  },
)

conform(
  ['v3.1.1 MQTT-3.8.4-3', 'v5 MQTT-3.8.4-3 MQTT-3.8.4-4 MQTT-3.3.1-9'],
  'subscribing again replaces the subscription and sends retained messages again',
  async s => {
    const topic = s.topic()
    const client = await s.connect()
    await client.publish(topic, 'kept', { qos: 1, retain: true })
    await client.subscribe(topic, 1)
    assert.deepEqual([(await client.receive()).qos], [1])
    await client.subscribe(topic, 0)
    const again = await client.receive()
    assert.deepEqual([again.text, again.retain, again.qos], ['kept', true, 0])
    await client.publish(topic, 'live', { qos: 1 })
    assert.equal((await client.receive()).qos, 0, 'the new QoS counts')
    await expectNoMessage(client)
    await client.publish(topic, '', { qos: 1, retain: true })
  },
)

conform(['v3.1.1', 'v5'], 'a retained PUBLISH and a SUBSCRIBE in one segment deliver the message once', async s => {
  const client = await s.connect()
  for (let i = 0; i < 20; i++) {
    const topic = s.topic()
    client.send(
      mqtt.publish(s.v, { topic, payload: 'once', retain: true, qos: 1, packetId: 900 }),
      mqtt.subscribe(s.v, 901, [[topic, 1]]),
    )
    await client.waitFor(Type.PUBACK)
    await client.waitFor(Type.SUBACK)
    const p = await client.receive()
    assert.deepEqual([p.text, p.retain], ['once', true], `round ${i}`)
    await expectNoMessage(client)
    await client.unsubscribe(topic)
    await client.publish(topic, '', { qos: 1, retain: true })
  }
})

conform(
  ['v3.1.1', 'v5'],
  'a SUBSCRIBE and a retained PUBLISH in one segment deliver the message once, live',
  async s => {
    const client = await s.connect()
    for (let i = 0; i < 20; i++) {
      const topic = s.topic()
      client.send(
        mqtt.subscribe(s.v, 901, [[topic, 1]]),
        mqtt.publish(s.v, { topic, payload: 'once', retain: true, qos: 1, packetId: 900 }),
      )
      const p = await client.receive()
      assert.deepEqual([p.text, p.retain], ['once', false], `round ${i}`)
      await client.waitFor(Type.PUBACK)
      await client.waitFor(Type.SUBACK)
      await expectNoMessage(client)
      await client.unsubscribe(topic)
      await client.publish(topic, '', { qos: 1, retain: true })
    }
  },
)

conform(['v3.1.1', 'v5'], 'wildcard subscriptions get every matching retained message once', async s => {
  const root = s.topic()
  const client = await s.connect()
  const names = ['', '/a', '/a/b', '/c', '/', '//d', '/$e'].map(n => `${root}${n}`)
  for (const name of names) await client.publish(name, name, { qos: 1, retain: true })
  const expected: [string, string[]][] = [
    [`${root}/#`, names],
    [`${root}/+`, names.filter(n => n.split('/').length === 3)],
    [`${root}/+/b`, [`${root}/a/b`]],
    [`${root}/+/#`, names.filter(n => n.split('/').length >= 3)],
  ]
  for (const [filter, topics] of expected) {
    await client.subscribe(filter, 1)
    const got = await untilMarker(client, client)
    for (const p of got) await client.acknowledge(p)
    assert.deepEqual(got.map(p => p.topic).sort(), [...topics].sort(), filter)
    assert.ok(got.every(p => p.retain))
    await client.unsubscribe(filter)
  }
  for (const name of names) await client.publish(name, '', { qos: 1, retain: true })
})

conform(['v3.1.1', 'v5'], 'retained messages beyond the receive window all arrive', async s => {
  const root = s.topic()
  const client = await s.connect()
  const count = 1200
  for (let i = 0; i < count; i += 50) {
    const batch = Array.from({ length: 50 }, (_, j) => j + 1)
    client.send(
      ...batch.map(j =>
        mqtt.publish(s.v, { topic: `${root}/${i + j}`, payload: 'x', qos: 1, packetId: j, retain: true }),
      ),
    )
    for (const _ of batch) await client.waitFor(Type.PUBACK)
  }
  const fields = { properties: [[P.receiveMaximum, 10] as const] }
  const reader = await s.connect(fields)
  await reader.subscribe(`${root}/#`, 1)
  const seen = new Set<string>()
  while (seen.size < count) seen.add((await reader.receive()).topic)
  await expectNoMessage(reader)
  for (let i = 1; i <= count; i++) await client.publish(`${root}/${i}`, '', { retain: true })
  await client.ping()
})

conform(['v5 MQTT-3.3.1-10'], 'Retain Handling 1 sends retained messages only to a new subscription', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.publish(topic, 'kept', { qos: 1, retain: true })
  await client.subscribe(topic, 0x11)
  assert.equal((await client.receive()).text, 'kept')
  await client.subscribe(topic, 0x11)
  await expectNoMessage(client)
  await client.unsubscribe(topic)
  await client.subscribe(topic, 0x11)
  assert.equal((await client.receive()).text, 'kept')
  await client.publish(topic, '', { qos: 1, retain: true })
})

conform(['v5 MQTT-3.3.1-11'], 'Retain Handling 2 sends no retained messages', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.publish(topic, 'kept', { qos: 1, retain: true })
  await client.subscribe(topic, 0x21)
  await expectNoMessage(client)
  await client.publish(topic, '', { qos: 1, retain: true })
})

conform(
  ['v5 MQTT-3.3.1-12 MQTT-3.3.1-13'],
  'Retain As Published keeps the flag of the publisher, its absence clears it',
  async s => {
    const topic = s.topic()
    const [keeps, clears] = [await s.connect(), await s.connect()]
    await keeps.subscribe(topic, 0x09)
    await clears.subscribe(topic, 0x01)
    const publisher = await s.connect()
    for (const retain of [true, false]) {
      await publisher.publish(topic, `${retain}`, { qos: 1, retain })
      assert.equal((await keeps.receive()).retain, retain)
      assert.equal((await clears.receive()).retain, false)
    }
    const late = await s.connect()
    await late.subscribe(topic, 0x01)
    assert.equal((await late.receive()).retain, true, 'stored messages are marked whatever the option says')
    await publisher.publish(topic, '', { qos: 1, retain: true })
  },
)

conform(['v5 MQTT-3.3.2-5'], 'a retained message is gone when its Message Expiry Interval has passed', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.publish(topic, 'short', { qos: 1, retain: true, properties: [[P.messageExpiry, 1]] })
  await new Promise(resolve => setTimeout(resolve, 2200))
  await client.subscribe(topic, 1)
  await expectNoMessage(client)
})

conform(['v5'], 'properties of a retained message are stored with it, in order', async s => {
  const topic = s.topic()
  const client = await s.connect()
  const properties: mqtt.Property[] = [
    [P.payloadFormat, 1],
    [P.contentType, 'text/plain'],
    [P.responseTopic, 'answer/here'],
    [P.correlationData, mqtt.bytes([0, 1, 255])],
    [P.userProperty, ['b', '1']],
    [P.userProperty, ['a', '2']],
    [P.userProperty, ['b', '3']],
  ]
  await client.publish(topic, 'kept', { qos: 1, retain: true, properties })
  await client.subscribe(topic, 1)
  const got = (await client.receive()).properties
  const plain = (list: readonly mqtt.Property[]): string[] => list.map(p => JSON.stringify([p[0], p[1]])).sort()
  assert.deepEqual(plain(got), plain(properties))
  const user = got.filter(([id]) => id === P.userProperty).map(([, v]) => v)
  assert.deepEqual(user, [
    ['b', '1'],
    ['a', '2'],
    ['b', '3'],
  ])
  await client.publish(topic, '', { qos: 1, retain: true })
})
