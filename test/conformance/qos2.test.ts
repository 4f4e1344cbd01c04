import assert from 'node:assert/strict'
import { conform, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, packet, Type, u16 } from '../support/mqtt-bytes.ts'
import { expectNoMessage } from '../support/raw-client.ts'

useBroker()

conform(
  ['v3.1', 'v3.1.1 MQTT-4.3.3-2 MQTT-2.3.1-6', 'v5 MQTT-4.3.3-8 MQTT-4.3.3-11 MQTT-2.2.1-5 MQTT-3.7.2-1'],
  'a QoS 2 PUBLISH gets PUBREC, its PUBREL gets PUBCOMP, with its Packet Identifier',
  async s => {
    const client = await s.connect()
    const topic = s.topic()
    for (const packetId of [1, 256, 65_535]) {
      client.send(mqtt.publish(s.v, { topic, qos: 2, packetId }))
      assert.equal((await client.expect(Type.PUBREC)).packetId, packetId)
      client.send(mqtt.ack(Type.PUBREL, packetId))
      const pubcomp = await client.expect(Type.PUBCOMP)
      assert.deepEqual([pubcomp.packetId, pubcomp.reason], [packetId, 0])
    }
    await client.expectSilence()
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-4.3.3-2', 'v5 MQTT-4.3.3-10'],
  'a repeated PUBLISH before PUBREL is acknowledged and delivered once',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 2)
    for (const dup of [false, true, false]) {
      publisher.send(mqtt.publish(s.v, { topic, payload: 'once', qos: 2, packetId: 9, dup }))
      const pubrec = await publisher.expect(Type.PUBREC)
      assert.equal(pubrec.packetId, 9)
      assert.ok([0, 0x10, 0x91].includes(pubrec.reason))
    }
    publisher.send(mqtt.ack(Type.PUBREL, 9))
    await publisher.expect(Type.PUBCOMP)
    assert.equal((await subscriber.receive()).text, 'once')
    await expectNoMessage(subscriber, publisher)
  },
)

conform(
  ['v3.1.1 MQTT-4.3.3-2', 'v5 MQTT-4.3.3-12'],
  'after PUBCOMP the same Packet Identifier is a new message, also with DUP',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 2)
    for (const dup of [false, false, true]) await publisher.publish(topic, `${dup}`, { qos: 2, packetId: 5, dup })
    assert.deepEqual(await subscriber.receiveTexts(3), ['false', 'false', 'true'])
  },
)

conform(['v3.1.1', 'v5'], 'the first copy that the broker sees may have DUP and is delivered once', async s => {
  const topic = s.topic()
  const [subscriber, publisher] = [await s.connect(), await s.connect()]
  await subscriber.subscribe(topic, 2)
  await publisher.publish(topic, 'x', { qos: 2, dup: true })
  assert.equal((await subscriber.receive()).text, 'x')
  await expectNoMessage(subscriber, publisher)
})

conform(
  ['v3.1.1 MQTT-4.3.3-2 MQTT-4.4.0-1', 'v5 MQTT-4.3.3-10'],
  'a PUBLISH repeated on a resumed session is delivered once',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const subscriber = await s.connect()
    await subscriber.subscribe(topic, 2)
    const first = await s.connect({ ...durable, clientId })
    first.send(mqtt.publish(s.v, { topic, payload: 'once', qos: 2, packetId: 3 }))
    await first.expect(Type.PUBREC)
    first.drop()
    const second = await s.connect({ ...durable, clientId })
    assert.equal(second.connack?.sessionPresent, true)
    second.send(mqtt.publish(s.v, { topic, payload: 'once', qos: 2, packetId: 3, dup: true }))
    await second.expect(Type.PUBREC)
    second.send(mqtt.ack(Type.PUBREL, 3))
    assert.equal((await second.expect(Type.PUBCOMP)).reason, 0)
    assert.equal((await subscriber.receive()).text, 'once')
    await expectNoMessage(subscriber, second)
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-4.3.3-1', 'v5 MQTT-4.3.3-1 MQTT-4.3.3-2 MQTT-4.3.3-3 MQTT-4.3.3-4 MQTT-4.3.3-5 MQTT-3.6.2-1'],
  'a delivery of QoS 2 is PUBLISH with DUP 0, and PUBREL after PUBREC',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 2)
    await publisher.publish(topic, 'two', { qos: 2 })
    const p = await subscriber.expect(Type.PUBLISH)
    assert.deepEqual([p.qos, p.dup, p.text], [2, false, 'two'])
    await subscriber.expectSilence()
    subscriber.send(mqtt.ack(Type.PUBREC, p.packetId))
    const pubrel = await subscriber.expect(Type.PUBREL)
    assert.deepEqual([pubrel.packetId, pubrel.reason], [p.packetId, 0])
    subscriber.send(mqtt.ack(Type.PUBCOMP, p.packetId))
    await subscriber.expectSilence()
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-4.4.0-1 MQTT-3.3.1-1', 'v5 MQTT-4.4.0-1'],
  'a delivery without PUBREC is sent again with DUP on resume',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 2)
    const publisher = await s.connect()
    await publisher.publish(topic, 'two', { qos: 2 })
    const p = await first.expect(Type.PUBLISH)
    first.drop()
    const second = await s.connect({ ...durable, clientId })
    const again = await second.expect(Type.PUBLISH)
    assert.deepEqual([again.text, again.dup, again.packetId, again.qos], ['two', true, p.packetId, 2])
    await second.acknowledge(again)
    await expectNoMessage(second, publisher)
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-4.4.0-1 MQTT-4.3.3-1', 'v5 MQTT-4.4.0-1 MQTT-4.3.3-6'],
  'after PUBREC only PUBREL is sent again on resume, never PUBLISH',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 2)
    const publisher = await s.connect()
    await publisher.publish(topic, 'two', { qos: 2 })
    const p = await first.expect(Type.PUBLISH)
    first.send(mqtt.ack(Type.PUBREC, p.packetId))
    await first.expect(Type.PUBREL)
    first.drop()
    const second = await s.connect({ ...durable, clientId })
    assert.equal((await second.expect(Type.PUBREL)).packetId, p.packetId)
    second.send(mqtt.ack(Type.PUBCOMP, p.packetId))
    await expectNoMessage(second, publisher)
    second.drop()
    const third = await s.connect({ ...durable, clientId })
    await third.expectSilence()
  },
)

conform(['v3.1.1 MQTT-4.6.0-4', 'v5 MQTT-4.6.0-4'], 'PUBRELs come in the order of the PUBRECs', async s => {
  const topic = s.topic()
  const [subscriber, publisher] = [await s.connect(), await s.connect()]
  await subscriber.subscribe(topic, 2)
  for (let i = 0; i < 10; i++) await publisher.publish(topic, `${i}`, { qos: 2 })
  const ids: number[] = []
  for (let i = 0; i < 10; i++) ids.push((await subscriber.expect(Type.PUBLISH)).packetId)
  for (const id of ids) subscriber.send(mqtt.ack(Type.PUBREC, id))
  for (const id of ids) assert.equal((await subscriber.expect(Type.PUBREL)).packetId, id)
  for (const id of ids) subscriber.send(mqtt.ack(Type.PUBCOMP, id))
  await subscriber.expectSilence()
})

conform(
  ['v3.1.1 MQTT-4.6.0-2 MQTT-4.6.0-3', 'v5 MQTT-4.6.0-2 MQTT-4.6.0-3'],
  'the broker acknowledges in the order in which messages came',
  async s => {
    const client = await s.connect()
    const topic = s.topic()
    const ids = [5, 3, 9, 1, 7, 2]
    client.send(...ids.map(packetId => mqtt.publish(s.v, { topic, qos: 1, packetId })))
    for (const id of ids) assert.equal((await client.expect(Type.PUBACK)).packetId, id)
    client.send(...ids.map(packetId => mqtt.publish(s.v, { topic, qos: 2, packetId })))
    for (const id of ids) assert.equal((await client.expect(Type.PUBREC)).packetId, id)
    client.send(...ids.map(id => mqtt.ack(Type.PUBREL, id)))
    for (const id of ids) assert.equal((await client.expect(Type.PUBCOMP)).packetId, id)
  },
)

conform(
  ['v3.1.1', 'v5 MQTT-3.7.2-1'],
  'PUBREL for an unknown Packet Identifier gets PUBCOMP (MQTT 5: 0x92)',
  async s => {
    const client = await s.connect()
    client.send(mqtt.ack(Type.PUBREL, 4711))
    const pubcomp = await client.expect(Type.PUBCOMP)
    assert.deepEqual([pubcomp.packetId, pubcomp.reason], [4711, s.v === 5 ? 0x92 : 0])
    await client.expectSilence()
  },
)

conform(['v3.1.1', 'v5'], 'PUBREL twice in one segment gets two PUBCOMPs', async s => {
  const client = await s.connect()
  client.send(mqtt.publish(s.v, { topic: s.topic(), qos: 2, packetId: 8 }))
  await client.expect(Type.PUBREC)
  client.send(mqtt.ack(Type.PUBREL, 8), mqtt.ack(Type.PUBREL, 8))
  assert.equal((await client.expect(Type.PUBCOMP)).packetId, 8)
  assert.equal((await client.expect(Type.PUBCOMP)).packetId, 8)
  await client.expectSilence()
})

conform(
  ['v3.1.1', 'v5 MQTT-3.6.2-1'],
  'PUBREC for an unknown Packet Identifier gets PUBREL (MQTT 5: 0x92) or the close',
  async s => {
    const client = await s.connect()
    client.send(mqtt.ack(Type.PUBREC, 4711))
    const p = await client.next()
    if (s.v === 5) {
      assert.deepEqual([p?.type, p?.packetId, p?.reason], [Type.PUBREL, 4711, 0x92])
      return
    }
    assert.ok(p === undefined || (p.type === Type.PUBREL && p.packetId === 4711))
  },
)

conform(['v3.1.1', 'v5'], 'PUBCOMP for an unknown Packet Identifier does no harm', async s => {
  const client = await s.connect()
  client.send(mqtt.ack(Type.PUBCOMP, 4711))
  await client.expectSilence()
})

conform(['v3.1.1 MQTT-3.6.1-1', 'v5 MQTT-3.6.1-1'], 'PUBREL with wrong flags is refused', async s => {
  for (const first of [0x60, 0x61, 0x63, 0x66, 0x6f]) await s.refuses(packet(first, u16(1)), 0x81)
})

conform(
  ['v3.1.1', 'v5'],
  'PUBREC, PUBREL and PUBCOMP of a wrong length or with Packet Identifier 0 are refused',
  async s => {
    for (const first of [0x50, 0x62, 0x70]) {
      await s.refuses(packet(first), [0x81, 0x82])
      await s.refuses(packet(first, [1]), [0x81, 0x82])
      await s.refuses(packet(first, u16(0)), [0x81, 0x82])
      if (s.v !== 5) await s.refuses(packet(first, u16(1), [0]), 0x81)
    }
  },
)

conform(['v3.1.1', 'v5'], 'a broken session forgets nothing: PUBREL on resume completes a message once', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const subscriber = await s.connect()
  await subscriber.subscribe(topic, 2)
  const first = await s.connect({ ...durable, clientId })
  first.send(mqtt.publish(s.v, { topic, payload: 'once', qos: 2, packetId: 21 }))
  await first.expect(Type.PUBREC)
  first.send(mqtt.ack(Type.PUBREL, 21))
  await first.expect(Type.PUBCOMP)
  first.drop()
  const second = await s.connect({ ...durable, clientId })
  second.send(mqtt.ack(Type.PUBREL, 21))
  assert.equal((await second.expect(Type.PUBCOMP)).packetId, 21)
  assert.equal((await subscriber.receive()).text, 'once')
  await expectNoMessage(subscriber, second)
})

conform(['v5 MQTT-4.4.0-2 MQTT-4.3.3-9'], 'a PUBREC with an error code ends a delivery', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const first = await s.connect({ ...durable, clientId })
  await first.subscribe(topic, 2)
  const publisher = await s.connect()
  await publisher.publish(topic, 'refused', { qos: 2 })
  const p = await first.expect(Type.PUBLISH)
  first.send(mqtt.ack(Type.PUBREC, p.packetId, 0x97))
  await first.expectSilence()
  await first.disconnect()
  const second = await s.connect({ ...durable, clientId })
  await expectNoMessage(second, publisher)
})

conform(['v5 MQTT-4.3.3-7 MQTT-4.3.3-13'], 'an expired message that was sent is still completed', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const first = await s.connect({ ...durable, clientId })
  await first.subscribe(topic, 2)
  const publisher = await s.connect()
  await publisher.publish(topic, 'short', { qos: 2, properties: [[P.messageExpiry, 1]] })
  const p = await first.expect(Type.PUBLISH)
  first.drop()
  await new Promise(resolve => setTimeout(resolve, 2200))
  const second = await s.connect({ ...durable, clientId })
  const again = await second.expect(Type.PUBLISH)
  assert.deepEqual([again.packetId, again.dup], [p.packetId, true])
  second.send(mqtt.ack(Type.PUBREC, p.packetId))
  assert.equal((await second.expect(Type.PUBREL)).packetId, p.packetId)
  second.send(mqtt.ack(Type.PUBCOMP, p.packetId))
  await second.expectSilence()
})
