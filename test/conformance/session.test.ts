import assert from 'node:assert/strict'
import { conform, connectBytes, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage } from '../support/raw-client.ts'

useBroker()

/** Lets real time pass; expiry is a promise about time. */
async function elapse(ms: number): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, ms))
}

conform(
  ['v3.1', 'v3.1.1 MQTT-3.1.2-4 MQTT-4.1.0-1', 'v5 MQTT-3.1.2-5 MQTT-3.1.2-23 MQTT-3.1.3-2'],
  'a stored session is resumed with its subscriptions',
  async s => {
    const [clientId, topic] = [s.id(), s.topic()]
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 1)
    first.drop()
    const second = await s.connect({ ...durable, clientId })
    await second.publish(topic, 'again', { qos: 1 })
    assert.equal((await second.receive()).text, 'again')
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-3.1.2-5 MQTT-4.5.0-1 MQTT-4.1.0-1', 'v5 MQTT-4.5.0-1'],
  'QoS 1 and 2 messages wait for an absent session, in order',
  async s => {
    const [clientId, topic] = [s.id(), s.topic()]
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 2)
    await first.disconnect()
    const publisher = await s.connect()
    for (let i = 0; i < 50; i++) await publisher.publish(topic, `${i}`, { qos: 1 + (i % 2) })
    const second = await s.connect({ ...durable, clientId })
    for (let i = 0; i < 50; i++) {
      const p = await second.receive()
      assert.deepEqual([p.text, p.qos, p.dup, p.retain], [`${i}`, 1 + (i % 2), false, false])
    }
    await expectNoMessage(second, publisher)
  },
)

conform(
  ['v3.1.1 MQTT-3.1.2-6 MQTT-3.1.4-3', 'v5 MQTT-3.1.2-4 MQTT-3.1.4-4'],
  'a clean start discards subscriptions and queue for good',
  async s => {
    const [clientId, topic] = [s.id(), s.topic()]
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 1)
    await first.disconnect()
    const publisher = await s.connect()
    await publisher.publish(topic, 'old', { qos: 1 })
    const clean = await s.connect({ clientId })
    await expectNoMessage(clean, publisher)
    await publisher.publish(topic, 'unsubscribed', { qos: 1 })
    await expectNoMessage(clean, publisher)
    await clean.disconnect()
    const third = await s.connect({ ...durable, clientId })
    assert.equal(third.connack?.sessionPresent, false)
    await publisher.publish(topic, 'still unsubscribed', { qos: 1 })
    await expectNoMessage(third, publisher)
  },
)

conform(
  ['v3.1.1 MQTT-3.1.2-6', 'v5 MQTT-3.1.2-4'],
  'the state of a clean session is not used by the next one',
  async s => {
    const [clientId, topic] = [s.id(), s.topic()]
    const clean = await s.connect({ clientId })
    await clean.subscribe(topic, 1)
    await clean.disconnect()
    const next = await s.connect({ ...durable, clientId })
    assert.equal(next.connack?.sessionPresent, false)
    await next.publish(topic, 'x', { qos: 1 })
    await expectNoMessage(next)
  },
)

conform(['v3.1.1 MQTT-3.1.2-7', 'v5'], 'retained messages outlive the session that published them', async s => {
  const topic = s.topic()
  const publisher = await s.connect()
  await publisher.publish(topic, 'kept', { qos: 1, retain: true })
  await publisher.disconnect()
  const reader = await s.connect()
  await reader.subscribe(topic)
  assert.equal((await reader.receive()).text, 'kept')
  await reader.publish(topic, '', { retain: true, qos: 1 })
})

conform(
  ['v3.1.1 MQTT-3.1.3-2', 'v5 MQTT-3.1.3-2'],
  'sessions are told apart by the client id, case included',
  async s => {
    const [clientId, topic] = [`${s.id()}a`, s.topic()]
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 1)
    await first.disconnect()
    for (const other of [`${clientId}b`, clientId.slice(0, -1), clientId.toUpperCase()]) {
      const client = await s.connect({ ...durable, clientId: other })
      assert.equal(client.connack?.sessionPresent, false, other)
    }
  },
)

conform(['v3.1.1 MQTT-4.1.0-2', 'v5 MQTT-4.1.0-1'], 'a session lives at least as long as its connection', async s => {
  const topic = s.topic()
  const client = await s.connect({ clean: true })
  await client.subscribe(topic, 1)
  await elapse(1200)
  await client.publish(topic, 'x', { qos: 1 })
  assert.equal((await client.receive()).text, 'x')
})

conform(
  ['v3.1', 'v3.1.1 MQTT-3.1.4-2', 'v5 MQTT-3.1.4-3'],
  'a second connection with the same client id closes the first (MQTT 5: 0x8E)',
  async s => {
    const clientId = s.id()
    const first = await s.connect({ clientId })
    const second = await s.connect({ clientId })
    await first.expectClose({ reason: 0x8e })
    await second.expectSilence()
  },
)

conform(
  ['v3.1.1 MQTT-3.1.4-2', 'v5 MQTT-3.1.4-3'],
  'the session moves to the newest of many connections, with what was in flight',
  async s => {
    const [clientId, topic] = [s.id(), s.topic()]
    let holder = await s.connect({ ...durable, clientId })
    await holder.subscribe(topic, 1)
    const publisher = await s.connect()
    await publisher.publish(topic, 'held', { qos: 1 })
    const held = await holder.expect(Type.PUBLISH)
    for (let i = 0; i < 5; i++) {
      const next = await s.connect({ ...durable, clientId })
      assert.equal(next.connack?.sessionPresent, true)
      await holder.expectClose({ reason: 0x8e })
      const again = await next.expect(Type.PUBLISH)
      assert.deepEqual([again.text, again.dup, again.packetId], ['held', true, held.packetId])
      holder = next
    }
    await holder.acknowledge(held)
    await expectNoMessage(holder, publisher)
  },
)

conform(['v3.1.1', 'v5'], 'of many simultaneous connections with one client id exactly one stays', async s => {
  const clientId = s.id()
  const clients = await Promise.all(Array.from({ length: 8 }, () => s.open()))
  for (const client of clients) client.send(connectBytes(s.v, { ...durable, clientId }))
  await Promise.all(clients.map(client => client.expect(Type.CONNACK).catch(() => undefined)))
  const last = await s.connect({ ...durable, clientId })
  await Promise.all(clients.map(client => client.expectClose({ silent: true })))
  await last.expectSilence()
})

conform(
  ['v5 MQTT-4.1.0-2 MQTT-3.1.2-6'],
  'a session is discarded when its Session Expiry Interval has passed',
  async s => {
    const [clientId, topic] = [s.id(), s.topic()]
    const fields = { clientId, clean: false, properties: [[P.sessionExpiry, 1] as const] }
    const first = await s.connect(fields)
    await first.subscribe(topic, 1)
    first.drop()
    await elapse(2500)
    const publisher = await s.connect()
    await publisher.publish(topic, 'late', { qos: 1 })
    const second = await s.connect(fields)
    assert.equal(second.connack?.sessionPresent, false)
    await expectNoMessage(second, publisher)
  },
)

conform(['v5 MQTT-3.1.2-23'], 'the Session Expiry Interval counts from the end of the connection', async s => {
  const fields = { clientId: s.id(), clean: false, properties: [[P.sessionExpiry, 2] as const] }
  const first = await s.connect(fields)
  await elapse(3000)
  first.drop()
  const second = await s.connect(fields)
  assert.equal(second.connack?.sessionPresent, true)
})

conform(['v5 MQTT-4.1.0-2'], 'without a Session Expiry Interval the session ends with the connection', async s => {
  for (const properties of [[], [[P.sessionExpiry, 0] as const]]) {
    const clientId = s.id()
    const first = await s.connect({ clientId, clean: false, properties })
    await first.disconnect()
    const second = await s.connect({ ...durable, clientId })
    assert.equal(second.connack?.sessionPresent, false)
  }
})

conform(['v5'], 'DISCONNECT can end a session early or give it another interval', async s => {
  const clientId = s.id()
  const first = await s.connect({ ...durable, clientId })
  await first.disconnect(0, [[P.sessionExpiry, 0]])
  const second = await s.connect({ clientId, clean: false, properties: [[P.sessionExpiry, 1]] })
  assert.equal(second.connack?.sessionPresent, false, 'ended by DISCONNECT with interval 0')
  await second.disconnect(0, [[P.sessionExpiry, 300]])
  await elapse(1500)
  const third = await s.connect({ ...durable, clientId })
  assert.equal(third.connack?.sessionPresent, true, 'kept by DISCONNECT with a longer interval')
})

conform(['v5'], 'DISCONNECT may not give an interval to a session that had none', async s => {
  await s.refuses(mqtt.disconnect(0, [[P.sessionExpiry, 60]]), 0x82)
  await s.refuses(mqtt.disconnect(0, [[P.sessionExpiry, 60]]), 0x82, { properties: [[P.sessionExpiry, 0]] })
})

conform(['v5'], 'a resumed session whose new CONNECT has interval 0 still gets its queue', async s => {
  const [clientId, topic] = [s.id(), s.topic()]
  const first = await s.connect({ ...durable, clientId })
  await first.subscribe(topic, 1)
  await first.disconnect()
  const publisher = await s.connect()
  await publisher.publish(topic, 'queued', { qos: 1 })
  const second = await s.connect({ clientId, clean: false })
  assert.equal(second.connack?.sessionPresent, true)
  assert.equal((await second.receive()).text, 'queued')
  await second.disconnect()
  const third = await s.connect({ ...durable, clientId })
  assert.equal(third.connack?.sessionPresent, false)
})

conform(['v3.1.1', 'v5'], 'a session survives a change of the protocol version', async s => {
  const [clientId, topic] = [s.id(), s.topic()]
  const first = await s.connect({ ...durable, clientId })
  await first.subscribe(topic, 1)
  await first.disconnect()
  const publisher = await s.connect()
  await publisher.publish(topic, 'across', { qos: 1 })
  const second = await s.connect({ ...durable, clientId }, s.v === 5 ? 4 : 5)
  assert.equal(second.connack?.sessionPresent, true)
  assert.equal((await second.receive()).text, 'across')
})

conform(['v3.1.1', 'v5'], 'QoS 0 messages published with retain or not do not disturb an absent session', async s => {
  const [clientId, topic] = [s.id(), s.topic()]
  const first = await s.connect({ ...durable, clientId })
  await first.subscribe(topic, 1)
  await first.disconnect()
  const publisher = await s.connect()
  await publisher.publish(topic, 'zero')
  await publisher.publish(topic, 'one', { qos: 1 })
  const second = await s.connect({ ...durable, clientId })
  const texts = [(await second.receive()).text]
  if (texts[0] === 'zero') texts.push((await second.receive()).text)
  assert.equal(texts.at(-1), 'one')
})
