import assert from 'node:assert/strict'
import { conform, durable, eachOf, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { packet, str, Type, u16 } from '../support/mqtt-bytes.ts'
import { expectNoMessage } from '../support/raw-client.ts'

useBroker()

conform(
  [
    'v3.1',
    'v3.1.1 MQTT-3.10.4-1 MQTT-3.10.4-2 MQTT-3.10.4-4 MQTT-2.3.1-7',
    'v5 MQTT-3.10.4-1 MQTT-3.10.4-2 MQTT-3.10.4-4 MQTT-2.2.1-6',
  ],
  'UNSUBSCRIBE removes the subscription with exactly that filter and gets UNSUBACK with its Packet Identifier',
  async s => {
    const root = s.topic()
    const client = await s.connect()
    await client.subscribe([`${root}/a`, `${root}/A`, `${root}/a/`], 1)
    for (const packetId of [1, 65_535]) {
      client.send(mqtt.unsubscribe(s.v, packetId, [`${root}/a`]))
      assert.equal((await client.expect(Type.UNSUBACK)).packetId, packetId)
    }
    await client.publish(`${root}/a`, 'gone', { qos: 1 })
    await expectNoMessage(client)
    for (const left of [`${root}/A`, `${root}/a/`]) {
      await client.publish(left, 'left', { qos: 1 })
      assert.equal((await client.receive()).topic, left)
    }
  },
)

conform(
  ['v3.1.1 MQTT-3.10.4-1', 'v5 MQTT-3.10.4-1'],
  'a filter that merely matches the same topics is not removed',
  async s => {
    const root = s.topic()
    const client = await s.connect()
    await client.subscribe(`${root}/a`, 1)
    await client.unsubscribe([`${root}/+`, `${root}/#`, '#', `${root}/a/#`])
    await client.publish(`${root}/a`, 'still', { qos: 1 })
    assert.equal((await client.receive()).text, 'still')
  },
)

conform(
  ['v3.1.1 MQTT-3.10.4-5', 'v5 MQTT-3.10.4-5 MQTT-3.11.3-2'],
  'UNSUBSCRIBE of nothing gets UNSUBACK (MQTT 5: code 0x11)',
  async s => {
    const client = await s.connect()
    const unsuback = await client.unsubscribe(s.topic())
    if (s.v === 5) assert.deepEqual(unsuback.codes, [0x11])
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-3.10.4-6', 'v5 MQTT-3.10.4-6 MQTT-3.11.3-1'],
  'many filters are handled one after the other and get one UNSUBACK',
  async s => {
    const root = s.topic()
    const client = await s.connect()
    await client.subscribe([`${root}/1`, `${root}/2`, `${root}/3`], 1)
    const unsuback = await client.unsubscribe([`${root}/1`, `${root}/none`, `${root}/3`, `${root}/1`])
    if (s.v === 5) assert.deepEqual(unsuback.codes, [0, 0x11, 0, 0x11])
    await client.expectSilence()
    for (const i of [1, 2, 3]) await client.publish(`${root}/${i}`, `${i}`, { qos: 1 })
    assert.equal((await client.receive()).text, '2')
    await expectNoMessage(client)
  },
)

conform(
  ['v3.1.1 MQTT-3.10.4-3', 'v5 MQTT-3.10.4-3'],
  'a delivery that has started is completed after UNSUBSCRIBE',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const client = await s.connect({ ...durable, clientId })
    await client.subscribe(topic, 2)
    const publisher = await s.connect()
    await publisher.publish(topic, 'one', { qos: 1 })
    await publisher.publish(topic, 'two', { qos: 2 })
    const one = await client.expect(Type.PUBLISH)
    const two = await client.expect(Type.PUBLISH)
    await client.unsubscribe(topic)
    client.send(mqtt.ack(Type.PUBREC, two.packetId))
    assert.equal((await client.expect(Type.PUBREL)).packetId, two.packetId)
    client.drop()
    const again = await s.connect({ ...durable, clientId })
    const p = await again.waitFor(Type.PUBLISH)
    assert.deepEqual([p.text, p.dup, p.packetId], ['one', true, one.packetId])
    assert.equal((await again.waitFor(Type.PUBREL)).packetId, two.packetId)
  },
)

conform(['v3.1.1 MQTT-3.10.3-2', 'v5 MQTT-3.10.3-2'], 'UNSUBSCRIBE without a filter is refused', async s => {
  await s.refuses(mqtt.unsubscribe(s.v, 1, []), [0x81, 0x82])
})

conform(
  ['v3.1', 'v3.1.1 MQTT-4.7.1-2 MQTT-4.7.1-3 MQTT-4.8.0-1', 'v5 MQTT-4.7.1-1 MQTT-4.7.1-2 MQTT-4.13.1-1'],
  'UNSUBSCRIBE with a misplaced wildcard is malformed and ends the connection',
  async s => {
    const filters = ['a#', '#/a', '##', 'a/#/b', 'a+', '+a', 'a/+b/c'].map(filter => [filter, filter] as const)
    await eachOf(filters, filter => s.refuses(mqtt.unsubscribe(s.v, 1, [s.topic(), filter]), 0x81))
  },
)

conform(['v3.1.1 MQTT-3.10.1-1', 'v5 MQTT-3.10.1-1'], 'UNSUBSCRIBE with wrong flags is refused', async s => {
  const body = [u16(1), s.v === 5 ? [0] : [], str(s.topic())]
  for (const first of [0xa0, 0xa1, 0xa3, 0xa6, 0xaa]) await s.refuses(packet(first, ...body), 0x81)
})

conform(['v3.1.1 MQTT-2.3.1-1', 'v5 MQTT-2.2.1-3'], 'UNSUBSCRIBE with Packet Identifier 0 is refused', async s => {
  await s.refuses(mqtt.unsubscribe(s.v, 0, [s.topic()]), [0x81, 0x82])
})

conform(['v3.1.1', 'v5'], 'an UNSUBSCRIBE that ends inside its fields is refused', async s => {
  const head = [u16(1), s.v === 5 ? [0] : []]
  const cut = [packet(0xa2), packet(0xa2, [1]), packet(0xa2, ...head, [0]), packet(0xa2, ...head, [0, 9], 'abc')]
  for (const bytes of cut) await s.refuses(bytes, [0x81, 0x82])
})

conform(['v3.1.1', 'v5'], 'an UNSUBSCRIBE in the same segment as a PUBLISH takes effect after it', async s => {
  const topic = s.topic()
  const client = await s.connect()
  for (let i = 0; i < 20; i++) {
    await client.subscribe(topic, 1)
    const before = mqtt.publish(s.v, { topic, payload: 'before', qos: 1, packetId: 501 })
    const after = mqtt.publish(s.v, { topic, payload: 'after', qos: 1, packetId: 502 })
    client.send(before, mqtt.unsubscribe(s.v, 503, [topic]), after)
    assert.equal((await client.receive()).text, 'before')
    await client.waitFor(Type.UNSUBACK)
    await client.waitFor(Type.PUBACK, p => p.packetId === 502)
    await expectNoMessage(client)
  }
})
