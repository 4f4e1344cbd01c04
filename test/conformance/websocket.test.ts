import assert from 'node:assert/strict'
import { conform, connectBytes, type Scene, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { type ConnectFields, Type } from '../support/mqtt-bytes.ts'
import { RawClient } from '../support/raw-client.ts'
import { Op, openWebSocket, type WebSocketStream } from '../support/raw-websocket.ts'

useBroker()

/** A WebSocket with its client; skipped when the target has no WebSocket listener. */
async function open(s: Scene, subprotocols?: string[], path?: string): Promise<[RawClient, WebSocketStream]> {
  const { stream } = await openWebSocket(s.broker.host, s.broker.wsPort, subprotocols, path)
  s.t.after(() => stream.destroy())
  return [new RawClient(stream, s.v), stream]
}

async function connected(s: Scene, fields: ConnectFields = {}): Promise<[RawClient, WebSocketStream]> {
  const [client, stream] = await open(s)
  await client.connect({ clientId: s.id(), ...fields })
  return [client, stream]
}

conform(['v3.1', 'v3.1.1 MQTT-6.0.0-1', 'v5 MQTT-6.0.0-1'], 'MQTT travels in binary frames, both ways', async s => {
  const topic = s.topic()
  const [client, stream] = await connected(s)
  const tcp = await s.connect()
  await client.subscribe(topic, 1)
  await tcp.publish(topic, 'from TCP', { qos: 1 })
  assert.equal((await client.receive()).text, 'from TCP')
  await tcp.subscribe(topic, 1)
  await client.publish(topic, 'from WebSocket', { qos: 1 })
  assert.equal((await tcp.receive()).text, 'from WebSocket')
  assert.ok(stream.opcodes.length > 0 && stream.opcodes.every(op => op === Op.binary || op === Op.continuation))
})

conform(['v3.1.1 MQTT-6.0.0-1', 'v5 MQTT-6.0.0-1'], 'a text frame ends the connection', async s => {
  const [client, stream] = await connected(s)
  stream.sendFrame(Op.text, mqtt.pingreq())
  await client.expectClose({ silent: true })
  const [fresh, freshStream] = await open(s)
  freshStream.sendFrame(Op.text, connectBytes(s.v, {}))
  const p = await fresh.next()
  assert.notEqual(p?.type === Type.CONNACK && p.reason, 0, 'CONNECT in a text frame is not accepted')
})

conform(['v3.1.1 MQTT-6.0.0-2', 'v5 MQTT-6.0.0-2'], 'packets need not be aligned on frames', async s => {
  const topic = s.topic()
  const [client, stream] = await open(s)
  for (const b of connectBytes(s.v, {})) stream.sendFrame(Op.binary, Uint8Array.from([b]))
  assert.equal((await client.expect(Type.CONNACK)).reason, 0)
  const subscribe = mqtt.subscribe(s.v, 1, [[topic, 1]])
  const publish = mqtt.publish(s.v, { topic, payload: 'x', qos: 1, packetId: 2 })
  const all = mqtt.bytes(subscribe, publish, mqtt.pingreq(), publish)
  const cut = subscribe.length + 3
  stream.sendFrame(Op.binary, all.subarray(0, cut))
  stream.sendFrame(Op.binary, all.subarray(cut))
  await client.waitFor(Type.SUBACK)
  await client.waitFor(Type.PINGRESP)
  assert.deepEqual(await client.receiveTexts(2), ['x', 'x'])
})

conform(
  ['v3.1.1 MQTT-6.0.0-2', 'v5 MQTT-6.0.0-2'],
  'fragmented messages with control frames between them are understood',
  async s => {
    const [client, stream] = await open(s)
    const bytes = connectBytes(s.v, {})
    stream.sendFrame(Op.binary, bytes.subarray(0, 5), false)
    stream.sendFrame(Op.ping, mqtt.bytes('between'))
    stream.sendFrame(Op.continuation, bytes.subarray(5, 9), false)
    stream.sendFrame(Op.continuation, bytes.subarray(9))
    assert.equal((await client.expect(Type.CONNACK)).reason, 0)
    await client.ping()
    assert.deepEqual(stream.pongs, ['between'])
  },
)

conform(
  ['v3.1.1 MQTT-6.0.0-3 MQTT-6.0.0-4', 'v5 MQTT-6.0.0-3 MQTT-6.0.0-4'],
  'the subprotocol mqtt is chosen',
  async s => {
    for (const offered of [['mqtt'], ['chat', 'mqtt'], ['mqtt', 'chat']]) {
      const { stream, subprotocol } = await openWebSocket(s.broker.host, s.broker.wsPort, offered)
      stream.destroy()
      assert.equal(subprotocol, 'mqtt', offered.join())
    }
  },
)

conform(['v3.1'], 'the subprotocol mqttv3.1 of old clients is chosen', async s => {
  const { stream, subprotocol } = await openWebSocket(s.broker.host, s.broker.wsPort, ['mqttv3.1'])
  s.t.after(() => stream.destroy())
  assert.equal(subprotocol, 'mqttv3.1')
  const client = new RawClient(stream, 3)
  await client.connect({ clientId: s.id() })
  await client.ping()
})

conform(['v3.1.1', 'v5'], 'the paths / and /mqtt are served', async s => {
  for (const path of ['/', '/mqtt']) {
    const [client] = await open(s, ['mqtt'], path)
    await client.connect({ clientId: s.id() })
    await client.ping()
  }
})

conform(['v3.1.1', 'v5'], 'large messages pass both ways', async s => {
  const topic = s.topic()
  const [client] = await connected(s)
  await client.subscribe(topic, 1)
  for (const size of [125, 126, 65_535, 65_536, 300_000]) {
    const payload = Uint8Array.from({ length: size }, (_, i) => (i * 7) & 255)
    await client.publish(topic, payload, { qos: 1 })
    assert.equal(Buffer.compare((await client.receive()).payload, payload), 0, `${size} bytes`)
  }
})

conform(['v3.1.1', 'v5'], 'a broken WebSocket publishes the will, a DISCONNECT does not', async s => {
  const topic = s.topic()
  const watcher = await s.connect()
  await watcher.subscribe(topic, 1)
  const [polite] = await connected(s, { will: { topic, payload: 'polite' } })
  polite.send(mqtt.disconnect())
  await polite.expectClose({ silent: true })
  const [broken] = await connected(s, { will: { topic, payload: 'broken' } })
  broken.drop()
  assert.equal((await watcher.receive()).text, 'broken')
})

conform(['v3.1.1', 'v5'], 'malformed packets end a WebSocket like any connection', async s => {
  const [client] = await connected(s)
  client.send(mqtt.publish(s.v, { topic: 'a/#', payload: 'x' }))
  await client.expectClose({ reason: [0x81, 0x82, 0x90] })
})
