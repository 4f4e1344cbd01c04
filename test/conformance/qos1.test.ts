import assert from 'node:assert/strict'
import { conform, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { type Packet, packet, Type, u16 } from '../support/mqtt-bytes.ts'
import { expectNoMessage } from '../support/raw-client.ts'

useBroker()

conform(
  ['v3.1', 'v3.1.1 MQTT-4.3.2-2 MQTT-2.3.1-6', 'v5 MQTT-4.3.2-4 MQTT-2.2.1-5'],
  'each QoS 1 PUBLISH gets one PUBACK with its Packet Identifier',
  async s => {
    const client = await s.connect()
    const topic = s.topic()
    for (const packetId of [1, 2, 255, 256, 32_768, 65_535]) {
      client.send(mqtt.publish(s.v, { topic, qos: 1, packetId }))
      assert.equal((await client.expect(Type.PUBACK)).packetId, packetId)
    }
    await client.expectSilence()
  },
)

conform(
  ['v3.1.1 MQTT-4.3.2-2', 'v5 MQTT-4.3.2-5'],
  'after PUBACK the same Packet Identifier is a new message, also with DUP',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 1)
    for (const dup of [false, false, true]) await publisher.publish(topic, `${dup}`, { qos: 1, packetId: 5, dup })
    assert.deepEqual(await subscriber.receiveTexts(3), ['false', 'false', 'true'])
  },
)

conform(['v3.1.1', 'v5'], 'the first copy that the broker sees may have DUP and is delivered', async s => {
  const topic = s.topic()
  const [subscriber, publisher] = [await s.connect(), await s.connect()]
  await subscriber.subscribe(topic, 1)
  await publisher.publish(topic, 'lost the first time', { qos: 1, dup: true })
  assert.equal((await subscriber.receive()).text, 'lost the first time')
  await expectNoMessage(subscriber, publisher)
})

conform(
  ['v3.1.1 MQTT-2.3.1-4 MQTT-4.3.2-1', 'v5 MQTT-2.2.1-4 MQTT-4.3.2-1 MQTT-4.3.2-2 MQTT-4.3.2-3'],
  'unacknowledged deliveries have different, non-zero Packet Identifiers and DUP 0',
  async s => {
    const topic = s.topic()
    const [subscriber, publisher] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 2)
    for (let i = 0; i < 20; i++) await publisher.publish(topic, `${i}`, { qos: 1 + (i % 2) })
    const ids = new Set<number>()
    for (let i = 0; i < 20; i++) {
      const p = await subscriber.expect(Type.PUBLISH)
      assert.deepEqual([p.text, p.dup], [`${i}`, false])
      ids.add(p.packetId)
    }
    assert.equal(ids.size, 20)
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-4.4.0-1 MQTT-3.3.1-1 MQTT-2.3.1-3 MQTT-4.6.0-1', 'v5 MQTT-4.4.0-1 MQTT-3.3.1-1 MQTT-4.6.0-1'],
  'unacknowledged messages are sent again on resume: same identifiers, DUP, same order, before new ones',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 1)
    const publisher = await s.connect()
    for (let i = 0; i < 10; i++) await publisher.publish(topic, `${i}`, { qos: 1 })
    const sent: Packet[] = []
    for (let i = 0; i < 10; i++) sent.push(await first.expect(Type.PUBLISH))
    first.drop()
    await publisher.publish(topic, 'new', { qos: 1 })
    const second = await s.connect({ ...durable, clientId })
    for (const before of sent) {
      const again = await second.expect(Type.PUBLISH)
      assert.deepEqual([again.text, again.packetId, again.dup], [before.text, before.packetId, true])
      await second.acknowledge(again)
    }
    // It may carry DUP: the broker may have sent it before it saw the end of the first connection.
    assert.equal((await second.receive()).text, 'new')
    await expectNoMessage(second, publisher)
  },
)

conform(
  ['v3.1.1', 'v5'],
  'only what was not acknowledged is sent again, whatever the order of the PUBACKs',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 1)
    const publisher = await s.connect()
    for (let i = 0; i < 6; i++) await publisher.publish(topic, `${i}`, { qos: 1 })
    const sent: Packet[] = []
    for (let i = 0; i < 6; i++) sent.push(await first.expect(Type.PUBLISH))
    for (const p of sent.filter((_, i) => i === 4 || i === 1)) await first.acknowledge(p)
    await first.disconnect()
    const second = await s.connect({ ...durable, clientId })
    const again = await second.receiveTexts(4)
    assert.deepEqual(again, ['0', '2', '3', '5'])
    await expectNoMessage(second, publisher)
  },
)

conform(['v3.1.1 MQTT-4.4.0-1', 'v5 MQTT-4.4.0-1'], 'nothing is sent again while the connection lasts', async s => {
  const topic = s.topic()
  const [subscriber, publisher] = [await s.connect(), await s.connect()]
  await subscriber.subscribe(topic, 1)
  await publisher.publish(topic, 'once', { qos: 1 })
  const held = await subscriber.expect(Type.PUBLISH)
  await new Promise(resolve => setTimeout(resolve, 1500))
  await expectNoMessage(subscriber, publisher)
  await subscriber.acknowledge(held)
})

conform(['v3.1.1', 'v5'], 'a PUBACK for an unknown Packet Identifier does no harm', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.subscribe(topic, 1)
  client.send(mqtt.ack(Type.PUBACK, 4711))
  await client.publish(topic, 'still', { qos: 1 })
  assert.equal((await client.receive()).text, 'still')
})

conform(['v3.1.1', 'v5'], 'a PUBACK of a wrong length or with Packet Identifier 0 is refused', async s => {
  await s.refuses(packet(0x40), [0x81, 0x82])
  await s.refuses(packet(0x40, [1]), [0x81, 0x82])
  await s.refuses(packet(0x40, u16(0)), [0x81, 0x82])
  if (s.v !== 5) await s.refuses(packet(0x40, u16(1), [0]), 0x81)
})

conform(['v3.1.1', 'v5'], 'acknowledgements that do not fit the QoS of a delivery do not complete it', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const first = await s.connect({ ...durable, clientId })
  await first.subscribe(topic, 2)
  const publisher = await s.connect()
  await publisher.publish(topic, 'two', { qos: 2 })
  const held = await first.expect(Type.PUBLISH)
  first.send(mqtt.ack(Type.PUBACK, held.packetId), mqtt.pingreq())
  for (let p = await first.next(); p && p.type !== Type.PINGRESP; p = await first.next()) {
    assert.ok(
      [Type.DISCONNECT, Type.PINGRESP].some(t => t === p?.type),
      'PINGRESP or the end',
    )
  }
  first.drop()
  const second = await s.connect({ ...durable, clientId })
  const again = await second.expect(Type.PUBLISH)
  assert.deepEqual([again.text, again.qos, again.packetId], ['two', 2, held.packetId])
})

conform(['v5 MQTT-4.4.0-2'], 'a PUBACK with an error code ends a delivery as well', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const first = await s.connect({ ...durable, clientId })
  await first.subscribe(topic, 1)
  const publisher = await s.connect()
  await publisher.publish(topic, 'refused', { qos: 1 })
  const p = await first.expect(Type.PUBLISH)
  first.send(mqtt.ack(Type.PUBACK, p.packetId, 0x97))
  await first.disconnect()
  const second = await s.connect({ ...durable, clientId })
  await expectNoMessage(second, publisher)
})

conform(['v3.1.1', 'v5'], 'a wrap of the Packet Identifiers skips the one that is held', async s => {
  const topic = s.topic()
  const subscriber = await s.connect()
  const publisher = await s.connect()
  await subscriber.subscribe(topic, 1)
  await publisher.publish(topic, 'held', { qos: 1 })
  const held = await subscriber.expect(Type.PUBLISH)
  const total = 66_000
  let sent = 0
  let acked = 0
  const fill = (): void => {
    const batch: Uint8Array[] = []
    while (sent - acked < 90 && sent < total) {
      const packetId = (sent % 60_000) + 1
      batch.push(mqtt.publish(s.v, { topic, payload: `${sent++}`, qos: 1, packetId }))
    }
    if (batch.length > 0) publisher.send(...batch)
  }
  const pump = async (): Promise<void> => {
    for (fill(); acked < total; fill()) {
      await publisher.expect(Type.PUBACK)
      acked++
    }
  }
  const drain = async (): Promise<void> => {
    for (let i = 0; i < total; i++) {
      const p = await subscriber.expect(Type.PUBLISH)
      assert.equal(p.text, `${i}`)
      assert.notEqual(p.packetId, held.packetId, `identifier of the held message at ${i}`)
      subscriber.send(mqtt.ack(Type.PUBACK, p.packetId))
    }
  }
  await Promise.all([pump(), drain()])
})
