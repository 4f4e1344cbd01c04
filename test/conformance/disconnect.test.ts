import assert from 'node:assert/strict'
import { conform, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, packet, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage } from '../support/raw-client.ts'

useBroker()

conform(
  ['v3.1', 'v3.1.1 MQTT-3.14.4-1', 'v5 MQTT-3.14.4-2'],
  'after DISCONNECT the connection ends and nothing more is sent',
  async s => {
    const topic = s.topic()
    const [client, publisher] = [await s.connect(), await s.connect()]
    await client.subscribe(topic)
    client.send(mqtt.disconnect())
    await publisher.publish(topic, 'x', { qos: 1 })
    assert.equal(await client.next(), undefined)
  },
)

conform(
  ['v3.1.1 MQTT-3.14.4-2', 'v5 MQTT-3.14.4-1'],
  'what follows DISCONNECT in the same segment is not processed',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic, 1)
    const client = await s.connect()
    client.send(mqtt.disconnect(), mqtt.publish(s.v, { topic, payload: 'late', qos: 1, packetId: 1 }), mqtt.pingreq())
    assert.equal(await client.next(), undefined)
    await expectNoMessage(watcher)
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-3.14.4-3 MQTT-3.1.2-10', 'v5 MQTT-3.14.4-3 MQTT-3.1.2-10'],
  'DISCONNECT discards the will',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic, 1)
    const clientId = s.id()
    const client = await s.connect({ clientId, will: { topic, payload: 'will', qos: 1 } })
    await client.disconnect()
    const next = await s.connect({ clientId })
    next.drop()
    await expectNoMessage(watcher)
  },
)

conform(
  ['v3.1.1 MQTT-3.14.1-1', 'v5 MQTT-3.14.1-1'],
  'DISCONNECT with flags is refused and publishes the will',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic)
    for (const first of [0xe1, 0xe2, 0xe8, 0xef]) {
      await s.refuses(packet(first), 0x81, { will: { topic, payload: `${first}` } })
      assert.equal((await watcher.receive()).text, `${first}`)
    }
  },
)

conform(['v3.1.1'], 'DISCONNECT with a body is refused', async s => {
  await s.refuses(packet(0xe0, [0]), [])
})

conform(['v5'], 'DISCONNECT 0x04 publishes the will, and so do other codes than 0', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  for (const reason of [0x04, 0x80, 0x81, 0x83, 0x97]) {
    const client = await s.connect({ will: { topic, payload: `${reason}` } })
    client.send(mqtt.disconnect(reason))
    assert.equal((await watcher.receive()).text, `${reason}`)
  }
})

conform(['v5'], 'DISCONNECT in each of its three lengths is understood', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic, 1)
  for (const bytes of [
    mqtt.disconnect(),
    mqtt.disconnect(0),
    mqtt.disconnect(0, []),
    mqtt.disconnect(0, [[P.reasonString, 'bye']]),
  ]) {
    const client = await s.connect({ will: { topic, payload: 'will', qos: 1 } })
    client.send(bytes)
    assert.equal(await client.next(), undefined)
  }
  await expectNoMessage(watcher)
})

conform(['v5 MQTT-3.14.2-1'], 'DISCONNECT with a code that a client may not send is refused', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  for (const reason of [0x01, 0x03, 0x10, 0x18, 0x7f, 0xff]) {
    await s.refuses(mqtt.disconnect(reason), [0x81, 0x82], { will: { topic, payload: `${reason}` } })
    assert.equal((await watcher.receive()).text, `${reason}`)
  }
})

conform(
  ['v5 MQTT-3.14.2-2 MQTT-3.14.2-1 MQTT-3.14.4-1 MQTT-3.14.4-2'],
  "the broker's DISCONNECT has a code of its table, no session expiry, and is the last packet",
  async s => {
    const client = await s.connect(durable)
    client.send(mqtt.connect(5, {}))
    const p = await client.expect(Type.DISCONNECT)
    const known = [0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
    assert.ok(known.includes(p.reason))
    assert.equal(
      p.properties.some(([id]) => id === P.sessionExpiry),
      false,
    )
    assert.equal(await client.next(), undefined)
  },
)

conform(
  ['v3.1.1 MQTT-4.8.0-1', 'v5 MQTT-4.13.1-1 MQTT-4.13.2-1'],
  'a protocol violation ends its own connection and no other',
  async s => {
    const [bystander, topic] = [await s.connect(), s.topic()]
    await bystander.subscribe(topic, 1)
    await s.refuses(packet(0x00), [0x81, 0x82])
    await s.refuses(packet(0xf1), [0x81, 0x82])
    await bystander.publish(topic, 'untouched', { qos: 1 })
    assert.equal((await bystander.receive()).text, 'untouched')
  },
)

conform(['v3.1.1', 'v5'], 'half-closed, reset and idle connections do no harm', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  const ended = await s.connect({ will: { topic, payload: 'ended' } })
  ended.stream.end()
  assert.equal((await watcher.receive()).text, 'ended')
  const cut = await s.connect({ will: { topic, payload: 'cut' } })
  cut.send(mqtt.publish(s.v, { topic: 'x', payload: 'half' }).subarray(0, 4))
  cut.stream.end()
  assert.equal((await watcher.receive()).text, 'cut')
  const idle = await s.open()
  idle.drop()
})
