import assert from 'node:assert/strict'
import { conform, connectBytes, durable, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, type Packet, Type } from '../support/mqtt-bytes.ts'

useBroker()

function value(connack: Packet | undefined, id: number): mqtt.PropertyValue | undefined {
  return connack?.properties.find(p => p[0] === id)?.[1]
}

conform(
  ['v3.1.1 MQTT-3.2.0-1', 'v5 MQTT-3.2.0-1 MQTT-3.2.0-2'],
  'CONNACK comes first and once, also with a full queue and pipelined packets',
  async s => {
    const topic = s.topic()
    const clientId = s.id()
    const first = await s.connect({ ...durable, clientId })
    await first.subscribe(topic, 1)
    await first.disconnect()
    const publisher = await s.connect()
    for (let i = 0; i < 20; i++) await publisher.publish(topic, `${i}`, { qos: 1 })
    const again = await s.open()
    again.send(connectBytes(s.v, { ...durable, clientId }), mqtt.pingreq(), mqtt.subscribe(s.v, 9, [['x', 0]]))
    assert.equal((await again.expect(Type.CONNACK)).sessionPresent, true)
    assert.deepEqual(
      await again.receiveTexts(20),
      Array.from({ length: 20 }, (_, i) => `${i}`),
    )
    await again.waitFor(Type.PINGRESP)
    await again.waitFor(Type.SUBACK)
    await again.expectSilence()
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-3.1.4-4', 'v5 MQTT-3.1.4-5 MQTT-3.2.2-1'],
  'a valid CONNECT is answered with code 0 and reserved flags 0',
  async s => {
    const client = await s.open()
    client.send(connectBytes(s.v, {}))
    // The decoder refuses a CONNACK whose reserved flags are not 0.
    assert.equal((await client.expect(Type.CONNACK)).reason, 0)
    await client.expectSilence()
  },
)

conform(
  ['v3.1.1 MQTT-3.2.2-1', 'v5 MQTT-3.2.2-2'],
  'a clean start has Session Present 0, whatever was stored',
  async s => {
    const clientId = s.id()
    await (await s.connect({ ...durable, clientId })).disconnect()
    const again = await s.connect({ clientId })
    assert.equal(again.connack?.sessionPresent, false)
  },
)

conform(
  ['v3.1.1 MQTT-3.2.2-2 MQTT-3.2.2-3', 'v5 MQTT-3.2.2-3 MQTT-3.1.2-5 MQTT-3.1.2-6'],
  'Session Present tells whether a session is stored, even one without subscriptions',
  async s => {
    const clientId = s.id()
    const first = await s.connect({ ...durable, clientId })
    assert.equal(first.connack?.sessionPresent, false)
    await first.disconnect()
    const second = await s.connect({ ...durable, clientId })
    assert.equal(second.connack?.sessionPresent, true)
  },
)

conform(
  ['v3.1.1 MQTT-3.2.2-2', 'v5 MQTT-3.2.2-3'],
  'a session that holds only an unfinished QoS 2 PUBLISH is present',
  async s => {
    const clientId = s.id()
    const topic = s.topic()
    const first = await s.connect({ ...durable, clientId })
    first.send(mqtt.publish(s.v, { topic, payload: 'x', qos: 2, packetId: 7 }))
    await first.expect(Type.PUBREC)
    first.drop()
    const second = await s.connect({ ...durable, clientId })
    assert.equal(second.connack?.sessionPresent, true)
    second.send(mqtt.ack(Type.PUBREL, 7))
    assert.equal((await second.expect(Type.PUBCOMP)).reason, 0)
  },
)

conform(
  ['v3.1.1 MQTT-3.2.2-2', 'v5 MQTT-3.2.2-3'],
  'a session whose subscriptions were removed is present',
  async s => {
    const clientId = s.id()
    const first = await s.connect({ ...durable, clientId })
    const topic = s.topic()
    await first.subscribe(topic, 1)
    await first.unsubscribe(topic)
    await first.disconnect()
    const second = await s.connect({ ...durable, clientId })
    assert.equal(second.connack?.sessionPresent, true)
  },
)

conform(
  ['v3.1.1 MQTT-3.2.2-4 MQTT-3.2.2-5', 'v5 MQTT-3.2.2-6 MQTT-3.2.2-7 MQTT-3.2.2-8 MQTT-4.13.2-1'],
  'a refusal has Session Present 0 although a session is stored, and ends the connection',
  async s => {
    const clientId = s.id()
    const { user: username, password } = s.broker
    const first = await s.connect({ ...durable, clientId, username, password })
    await first.disconnect()
    const bytes = connectBytes(s.v, { ...durable, clientId, username, password: 'wrong' })
    await s.refusesConnect(bytes, s.v === 5 ? [0x86, 0x87] : [4, 5], 'must')
    const again = await s.connect({ ...durable, clientId, username, password })
    assert.equal(again.connack?.sessionPresent, true, 'the refused client did not touch the session')
  },
)

conform(['v5'], 'what CONNACK announces is in range and is what the broker does', async s => {
  const client = await s.connect()
  const receiveMaximum = value(client.connack, P.receiveMaximum) ?? 65535
  assert.notEqual(receiveMaximum, 0)
  assert.notEqual(value(client.connack, P.maximumPacketSize), 0)
  for (const id of [P.retainAvailable, P.wildcardAvailable, P.subscriptionIdAvailable, P.sharedAvailable]) {
    assert.ok([undefined, 1].includes(value(client.connack, id) as number | undefined), `property ${id} is available`)
  }
  assert.equal(value(client.connack, P.maximumQos), undefined, 'QoS 2 is said by the absence of the property')
  if (s.broker.target === 'mosquitto') return
  assert.equal(receiveMaximum, 100)
  assert.equal(value(client.connack, P.maximumPacketSize), 4 * 1024 * 1024)
  assert.equal(value(client.connack, P.topicAliasMaximum), 16)
})

conform(
  ['v5 MQTT-3.2.2-9 MQTT-3.2.2-10 MQTT-3.2.2-12'],
  'every QoS is supported, so Maximum QoS is absent and QoS 2 works',
  async s => {
    const topic = s.topic()
    const client = await s.connect()
    assert.equal(value(client.connack, P.maximumQos), undefined)
    assert.deepEqual((await client.subscribe(topic, 2)).codes, [2])
    await client.publish(topic, 'two', { qos: 2 })
    assert.equal((await client.receive()).qos, 2)
  },
)

conform(['v5 MQTT-3.2.2-13'], 'retained messages are supported, so a retained PUBLISH is accepted', async s => {
  const client = await s.connect()
  assert.ok([undefined, 1].includes(value(client.connack, P.retainAvailable) as number | undefined))
  const topic = s.topic()
  await client.publish(topic, 'kept', { qos: 1, retain: true })
  await client.subscribe(topic)
  assert.equal((await client.receive()).retain, true)
  await client.publish(topic, '', { qos: 1, retain: true })
})

conform(['v5 MQTT-3.1.2-28'], 'no Response Information unless it was asked for', async s => {
  for (const properties of [[], [[P.requestResponseInfo, 0] as const]]) {
    const client = await s.connect({ properties })
    assert.equal(value(client.connack, P.responseInfo), undefined)
  }
})

conform(
  ['v5 MQTT-3.2.2-19 MQTT-3.2.2-20 MQTT-3.1.2-24'],
  'a CONNACK that refuses stays within the Maximum Packet Size of the client',
  async s => {
    const username = s.broker.user
    const will = { topic: 'a/#', payload: 'x' }
    for (const size of [1, 4, 5, 6, 20, 40, 100]) {
      const properties = [[P.maximumPacketSize, size] as const, [P.requestResponseInfo, 1] as const]
      for (const fields of [{ username, password: 'wrong' }, { will }]) {
        const client = await s.open()
        client.send(connectBytes(5, { ...fields, properties }))
        const refusal = await client.next()
        if (size < 5) assert.equal(refusal, undefined, 'no CONNACK is short enough')
        else assert.ok(refusal !== undefined && refusal.length <= size, `${refusal?.length} bytes of ${size}`)
        if (refusal !== undefined) assert.equal(await client.next(), undefined)
      }
    }
  },
)

conform(
  ['v5 MQTT-3.1.2-24'],
  'a CONNACK leaves out what may be left out to stay within the Maximum Packet Size of the client',
  async s => {
    for (let size = 1; size < 80; size++) {
      const client = await s.open()
      const properties = [[P.maximumPacketSize, size] as const, [P.requestResponseInfo, 1] as const]
      client.send(connectBytes(5, { clientId: s.id(), properties }))
      const connack = await client.next()
      if (size < 5) {
        assert.equal(connack, undefined, 'no CONNACK is short enough')
        continue
      }
      assert.ok(connack !== undefined && connack.length <= size, `${connack?.length} bytes of ${size}`)
      assert.equal(connack.reason, 0)
      if (size >= 60) assert.notEqual(value(connack, P.responseInfo), undefined, `${size} bytes are enough`)
      await client.ping()
      client.drop()
    }
  },
)

conform(
  ['v5 MQTT-3.1.2-24'],
  'a client that does not take what its CONNACK has to say is refused, and leaves no session behind',
  async s => {
    // The server's assigned client id has to be in it, v5 [MQTT-3.2.2-16].
    const properties = [[P.maximumPacketSize, 12] as const, [P.sessionExpiry, 300] as const]
    const client = await s.open()
    client.send(connectBytes(5, { clientId: '', clean: false, properties }))
    const refusal = await client.next()
    assert.ok(refusal !== undefined && refusal.length <= 12 && refusal.reason >= 0x80)
    assert.equal(await client.next(), undefined)
  },
)

conform(
  ['v5 MQTT-3.1.2-24', 'v5 MQTT-3.1.2-28'],
  'Response Information that no string can hold is left out: a client id of 65,535 bytes may ask for it',
  async s => {
    for (const length of [65_526, 65_527, 65_535]) {
      const clientId = s.id().padEnd(length, 'x')
      const client = await s.connect({ clientId, properties: [[P.requestResponseInfo, 1]] })
      assert.equal(typeof value(client.connack, P.responseInfo), length > 65_526 ? 'undefined' : 'string')
      await client.ping()
      await client.disconnect()
    }
  },
)

conform(['v5'], 'a session expiry beyond the cap is cut and CONNACK says so', async s => {
  if (s.broker.target === 'mosquitto') return
  const client = await s.connect({ clean: false, properties: [[P.sessionExpiry, 0xffffffff]] })
  assert.equal(value(client.connack, P.sessionExpiry), 7 * 24 * 3600)
  const modest = await s.connect({ clean: false, properties: [[P.sessionExpiry, 60]] })
  assert.ok([undefined, 60].includes(value(modest.connack, P.sessionExpiry) as number | undefined))
})
