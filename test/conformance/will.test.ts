import assert from 'node:assert/strict'
import { conform, connectBytes, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, packet, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage } from '../support/raw-client.ts'

useBroker()

/** Lets real time pass; a delay is a promise about time. */
async function elapse(ms: number): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, ms))
}

conform(
  ['v3.1', 'v3.1.1 MQTT-3.1.2-8 MQTT-3.1.2-9', 'v5 MQTT-3.1.2-7 MQTT-3.1.2-8 MQTT-3.1.2-9'],
  'the will is published once, with its QoS, when the connection breaks',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic, 2)
    for (const qos of [0, 1, 2]) {
      const client = await s.connect({ will: { topic, payload: `will ${qos}`, qos } })
      client.drop()
      const p = await watcher.receive()
      assert.deepEqual([p.text, p.qos, p.retain, p.topic], [`will ${qos}`, qos, false, topic])
    }
    await expectNoMessage(watcher)
  },
)

conform(['v3.1.1 MQTT-3.1.2-8', 'v5 MQTT-3.1.2-8'], 'the will is published after a protocol violation', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  const violations = [packet(0x00), packet(0x36, [0, 1, 0x61, 0, 1]), connectBytes(s.v, {}), packet(0x30, [0, 1, 0x23])]
  for (const [i, bytes] of violations.entries()) {
    const client = await s.connect({ will: { topic, payload: `${i}` } })
    client.send(bytes)
    assert.equal((await watcher.receive()).text, `${i}`)
  }
})

conform(
  ['v3.1.1 MQTT-3.1.2-8', 'v5 MQTT-3.1.2-8'],
  'the will is published when another connection takes the client id over',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const watcher = await s.connect()
    await watcher.subscribe(topic)
    const client = await s.connect({ clientId, will: { topic, payload: 'taken' } })
    await s.connect({ clientId })
    assert.equal((await watcher.receive()).text, 'taken')
    client.drop()
  },
)

conform(
  ['v3.1.1 MQTT-3.1.2-10', 'v5 MQTT-3.1.2-10'],
  'a published will is gone: the next connection has only its own',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const watcher = await s.connect()
    await watcher.subscribe(topic)
    const first = await s.connect({ ...durable, clientId, will: { topic, payload: 'first' } })
    first.drop()
    assert.equal((await watcher.receive()).text, 'first')
    const second = await s.connect({ ...durable, clientId })
    second.drop()
    const third = await s.connect({ ...durable, clientId })
    await expectNoMessage(watcher, third)
  },
)

conform(['v3.1.1 MQTT-3.1.2-12', 'v5'], 'without a will flag nothing is published', async s => {
  const watcher = await s.connect()
  await watcher.subscribe('#', 1)
  const clientId = s.id()
  const client = await s.connect({ clientId })
  client.drop()
  await s.connect({ clientId })
  await expectNoMessage(watcher)
})

conform(['v3.1.1 MQTT-3.1.2-16', 'v5 MQTT-3.1.2-14'], 'a will without Will Retain is not stored', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  const client = await s.connect({ will: { topic, payload: 'passing', retain: false } })
  client.drop()
  assert.equal((await watcher.receive()).retain, false)
  const late = await s.connect()
  await late.subscribe(topic, 1)
  await expectNoMessage(late)
})

conform(['v3.1', 'v3.1.1 MQTT-3.1.2-17', 'v5 MQTT-3.1.2-15'], 'a will with Will Retain is stored', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  const client = await s.connect({ will: { topic, payload: 'kept', retain: true, qos: 1 } })
  client.drop()
  assert.deepEqual([(await watcher.receive()).retain], [false])
  const late = await s.connect()
  await late.subscribe(topic)
  const p = await late.receive()
  assert.deepEqual([p.text, p.retain], ['kept', true])
  await late.publish(topic, '', { retain: true, qos: 1 })
})

conform(['v3.1.1', 'v5'], 'an empty will is a message, and with Will Retain it clears the topic', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.publish(topic, 'kept', { retain: true, qos: 1 })
  await watcher.subscribe(topic)
  await watcher.receive()
  const client = await s.connect({ will: { topic, payload: '', retain: true } })
  client.drop()
  assert.equal((await watcher.receive()).payload.length, 0)
  const late = await s.connect()
  await late.subscribe(topic, 1)
  await expectNoMessage(late)
})

conform(
  ['v3.1.1 MQTT-4.7.1-1', 'v5 MQTT-4.7.0-1'],
  'a will topic that is empty or has wildcards is refused',
  async s => {
    for (const topic of ['', '#', '+', 'a/#', 'a/+/b']) {
      const bytes = connectBytes(s.v, { will: { topic, payload: 'x' } })
      await s.refusesConnect(bytes, [0x81, 0x82, 0x90], s.v === 5 ? 'may' : 'never')
    }
  },
)

conform(['v3.1.1', 'v5'], 'the will of a refused CONNECT is not published', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic, 1)
  const will = { topic, payload: 'never', qos: 1 }
  const bytes = connectBytes(s.v, { will, username: s.broker.user, password: 'wrong' })
  await s.refusesConnect(bytes, s.v === 5 ? [0x86, 0x87] : [4, 5], 'must')
  await expectNoMessage(watcher)
})

conform(['v5'], 'the will waits for its Will Delay Interval', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  const will = { topic, payload: 'delayed', properties: [[P.willDelay, 2] as const] }
  const client = await s.connect({ ...durable, will })
  const start = Date.now()
  client.drop()
  const p = await watcher.receive(10_000)
  const took = Date.now() - start
  assert.equal(p.text, 'delayed')
  assert.ok(took > 1500, `published after ${took} ms`)
})

conform(['v5 MQTT-3.1.3-9'], 'a client that returns within the Will Delay Interval has no will published', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const watcher = await s.connect()
  await watcher.subscribe(topic, 1)
  const will = { topic, payload: 'never', qos: 1, properties: [[P.willDelay, 1] as const] }
  const client = await s.connect({ ...durable, clientId, will })
  client.drop()
  const back = await s.connect({ ...durable, clientId })
  await elapse(2500)
  await expectNoMessage(watcher, back)
})

conform(['v5 MQTT-3.1.3-9'], 'a takeover within the Will Delay Interval publishes no will', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const watcher = await s.connect()
  await watcher.subscribe(topic, 1)
  const will = { topic, payload: 'never', qos: 1, properties: [[P.willDelay, 1] as const] }
  const client = await s.connect({ ...durable, clientId, will })
  const next = await s.connect({ ...durable, clientId })
  await client.expectClose({ reason: 0x8e, silent: s.broker.target === 'mosquitto' })
  await elapse(2500)
  await expectNoMessage(watcher, next)
})

conform(['v5 MQTT-3.1.2-8'], 'the will is published when the session ends before the Will Delay Interval', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic)
  const delay = [[P.willDelay, 60] as const]
  const zero = await s.connect({ will: { topic, payload: 'session without expiry', properties: delay } })
  zero.drop()
  assert.equal((await watcher.receive()).text, 'session without expiry')
  const short = await s.connect({
    clean: false,
    properties: [[P.sessionExpiry, 1]],
    will: { topic, payload: 'short session', properties: delay },
  })
  short.drop()
  assert.equal((await watcher.receive(10_000)).text, 'short session')
  const clientId = s.id()
  const ended = await s.connect({ ...durable, clientId, will: { topic, payload: 'clean start', properties: delay } })
  ended.drop()
  await s.connect({ clientId })
  assert.equal((await watcher.receive()).text, 'clean start')
})

conform(
  ['v5 MQTT-3.1.3-10 MQTT-3.3.2-18'],
  'the will has its properties, user properties in order, and no Will Delay',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic)
    const shared: mqtt.Property[] = [
      [P.payloadFormat, 1],
      [P.contentType, 'text/plain'],
      [P.responseTopic, 'answer'],
      [P.correlationData, mqtt.bytes([1, 0, 2])],
    ]
    const user: mqtt.Property[] = ['z', 'a', 'z', 'm'].map((k, i) => [P.userProperty, [k, `${i}`]])
    const will = { topic, payload: 'text', properties: [...shared, ...user, [P.willDelay, 0] as const] }
    const client = await s.connect({ will })
    client.drop()
    const p = await watcher.expect(Type.PUBLISH)
    assert.deepEqual(
      p.properties.filter(([id]) => id === P.userProperty),
      user,
    )
    for (const [id, value] of shared) {
      const got = p.properties.find(q => q[0] === id)?.[1]
      assert.deepEqual(got, value instanceof Uint8Array ? mqtt.bytes(value) : value, `property ${id}`)
    }
    assert.equal(
      p.properties.some(([id]) => id === P.willDelay),
      false,
    )
  },
)

conform(['v5'], 'the Message Expiry Interval of a will counts from its publication', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const absent = await s.connect({ ...durable, clientId })
  await absent.subscribe(topic, 1)
  await absent.disconnect()
  const will = { topic, payload: 'will', qos: 1, properties: [[P.messageExpiry, 100] as const] }
  const client = await s.connect({ will })
  await elapse(1200)
  client.drop()
  const watcher = await s.connect()
  await watcher.ping()
  const back = await s.connect({ ...durable, clientId })
  const left = (await back.receive()).properties.find(([id]) => id === P.messageExpiry)?.[1]
  assert.ok(typeof left === 'number' && left >= 99 && left <= 100, `${left} s left`)
})

conform(['v3.1.1', 'v5'], 'a will waits in the queue of an absent session', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const absent = await s.connect({ ...durable, clientId })
  await absent.subscribe(topic, 2)
  await absent.disconnect()
  const present = await s.connect()
  await present.subscribe(topic, 2)
  const client = await s.connect({ will: { topic, payload: 'will', qos: 2 } })
  client.drop()
  assert.equal((await present.receive()).text, 'will')
  const back = await s.connect({ ...durable, clientId })
  const p = await back.receive()
  assert.deepEqual([p.text, p.qos], ['will', 2])
})
