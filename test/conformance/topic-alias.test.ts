import assert from 'node:assert/strict'
import { conform, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, type Property, Type } from '../support/mqtt-bytes.ts'

useBroker()

function alias(n: number): Property[] {
  return [[P.topicAlias, n]]
}

/** PUBLISH of QoS 1 with a topic or an alias, acknowledged. */
function send(topic: string, n: number, payload: string, packetId = 1): Uint8Array {
  return mqtt.publish(5, { topic, payload, qos: 1, packetId, properties: alias(n) })
}

conform(
  ['v5 MQTT-3.3.2-12 MQTT-3.2.2-17'],
  'an alias stands for its topic, can be set again, up to the maximum',
  async s => {
    const root = s.topic()
    const [client, watcher] = [await s.connect(), await s.connect()]
    const maximum = Number(client.connack?.properties.find(([id]) => id === P.topicAliasMaximum)?.[1] ?? 0)
    assert.ok(maximum > 0, 'the broker takes aliases')
    await watcher.subscribe(`${root}/#`)
    for (let n = 1; n <= maximum; n++) {
      client.send(send(`${root}/${n}`, n, 'set'), send('', n, 'used', 2))
      for (const text of ['set', 'used']) {
        const p = await watcher.receive()
        assert.deepEqual([p.topic, p.text], [`${root}/${n}`, text])
      }
    }
    client.send(send(`${root}/other`, 1, 'set again'), send('', 1, 'used again', 2), send('', 2, 'as before', 3))
    assert.equal((await watcher.receive()).topic, `${root}/other`)
    assert.equal((await watcher.receive()).topic, `${root}/other`)
    assert.equal((await watcher.receive()).topic, `${root}/2`)
  },
)

conform(['v5 MQTT-3.3.2-8'], 'alias 0 is refused with 0x94', async s => {
  await s.refuses(send(s.topic(), 0, 'x'), [0x94, 0x82])
})

conform(['v5 MQTT-3.3.2-9 MQTT-3.2.2-18'], 'an alias beyond the maximum is refused with 0x94', async s => {
  for (const n of [1, 1000]) {
    const client = await s.connect()
    const maximum = Number(client.connack?.properties.find(([id]) => id === P.topicAliasMaximum)?.[1] ?? 0)
    client.send(send(s.topic(), maximum + n, 'x'))
    await client.expectClose({ reason: 0x94 })
  }
})

conform(['v5'], 'an alias that was never set, or an empty topic without one, is refused', async s => {
  await s.refuses(send('', 1, 'x'), [0x82, 0x94])
  await s.refuses(mqtt.publish(5, { topic: '', payload: 'x', qos: 1, packetId: 1 }), [0x81, 0x82, 0x90])
})

conform(['v5 MQTT-3.3.2-7'], 'an alias does not outlive its connection', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const first = await s.connect({ ...durable, clientId })
  first.send(send(topic, 1, 'x'))
  await first.expect(Type.PUBACK)
  await first.disconnect()
  const second = await s.connect({ ...durable, clientId })
  second.send(send('', 1, 'x'))
  await second.expectClose({ reason: [0x82, 0x94] })
})

conform(['v5 MQTT-3.3.2-7'], "one client's aliases mean nothing to another", async s => {
  const [one, other] = [await s.connect(), await s.connect()]
  one.send(send(s.topic(), 3, 'x'))
  await one.expect(Type.PUBACK)
  other.send(send('', 3, 'x'))
  await other.expectClose({ reason: [0x82, 0x94] })
})

conform(['v5 MQTT-3.3.2-11 MQTT-3.1.2-27'], 'a client without Topic Alias Maximum gets no aliases', async s => {
  const topic = s.topic()
  const publisher = await s.connect()
  for (const properties of [[], [[P.topicAliasMaximum, 0] as const]]) {
    const client = await s.connect({ properties })
    await client.subscribe(topic)
    publisher.send(send(topic, 1, 'a'), send('', 1, 'b', 2), send('', 1, 'c', 3))
    for (const text of ['a', 'b', 'c']) {
      const p = await client.receive()
      assert.deepEqual([p.topic, p.text, p.properties], [topic, text, []])
    }
  }
})

conform(
  ['v5 MQTT-3.1.2-26 MQTT-3.3.2-10 MQTT-3.3.2-11'],
  'aliases of the broker stay within the maximum of the client and are set before they are used',
  async s => {
    const root = s.topic()
    const publisher = await s.connect()
    const client = await s.connect({ properties: [[P.topicAliasMaximum, 2]] })
    await client.subscribe(`${root}/#`, 1)
    const known = new Map<unknown, string>()
    for (let i = 0; i < 40; i++) {
      const topic = `${root}/${i % 5}`
      await publisher.publish(topic, `${i}`, { qos: i % 2 })
      const p = await client.receive()
      const n = p.properties.find(([id]) => id === P.topicAlias)?.[1]
      if (n !== undefined) assert.ok(n === 1 || n === 2, `alias ${n}`)
      if (p.topic !== '' && n !== undefined) known.set(n, p.topic)
      assert.deepEqual([p.topic === '' ? known.get(n) : p.topic, p.text], [topic, `${i}`])
    }
  },
)

conform(
  ['v5 MQTT-3.3.2-7'],
  'what is sent again on resume does not lean on an alias of the old connection',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const properties: Property[] = [
      [P.sessionExpiry, 300],
      [P.topicAliasMaximum, 5],
    ]
    const first = await s.connect({ clientId, clean: false, properties })
    await first.subscribe(topic, 1)
    const publisher = await s.connect()
    for (let i = 0; i < 5; i++) await publisher.publish(topic, `${i}`, { qos: 1 })
    for (let i = 0; i < 5; i++) await first.expect(Type.PUBLISH)
    first.drop()
    const second = await s.connect({ ...durable, clientId })
    for (let i = 0; i < 5; i++) {
      const p = await second.receive()
      assert.deepEqual([p.topic, p.text, p.properties], [topic, `${i}`, []])
    }
  },
)

conform(['v5'], 'a retained message published through an alias is stored under its topic', async s => {
  const topic = s.topic()
  const client = await s.connect()
  client.send(send(topic, 1, 'set'))
  await client.expect(Type.PUBACK)
  client.send(mqtt.publish(5, { topic: '', payload: 'kept', qos: 1, packetId: 2, retain: true, properties: alias(1) }))
  await client.expect(Type.PUBACK)
  await client.subscribe(topic)
  const p = await client.receive()
  assert.deepEqual([p.topic, p.text, p.properties], [topic, 'kept', []])
  await client.publish(topic, '', { retain: true, qos: 1 })
})
