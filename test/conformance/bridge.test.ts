import assert from 'node:assert/strict'
import { conform, connectBytes, durable, type Scene, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { type ConnectFields, P, Type } from '../support/mqtt-bytes.ts'
import { type RawClient, untilMarker } from '../support/raw-client.ts'

/*
 * Bridges of Mosquitto. Before MQTT 5 they mark themselves with bit 7 of the protocol level ("try_private"), because
 * those versions have neither No Local nor Retain As Published.
 */

useBroker()

/** A connection of a bridge: level 0x83 or 0x84. */
async function connectBridge(s: Scene, fields: ConnectFields = {}): Promise<RawClient> {
  const client = await s.open()
  client.send(connectBytes(s.v, { clientId: s.id(), level: 0x80 | s.v, ...fields }))
  assert.equal((await client.expect(Type.CONNACK)).reason, 0)
  return client
}

conform(['v3.1', 'v3.1.1'], 'a bridge gets no echo of its own, and everything of others', async s => {
  const root = s.topic()
  const [bridge, other] = [await connectBridge(s), await s.connect()]
  await bridge.subscribe(`${root}/#`, 2)
  await other.subscribe(`${root}/#`, 2)
  for (const qos of [0, 1, 2]) {
    await bridge.publish(`${root}/bridge`, `from the bridge ${qos}`, { qos })
    assert.equal((await other.receive()).text, `from the bridge ${qos}`)
    await other.publish(`${root}/other`, `from another ${qos}`, { qos })
    assert.equal((await bridge.receive()).text, `from another ${qos}`)
    assert.equal((await other.receive()).text, `from another ${qos}`)
  }
  await bridge.expectSilence()
})

conform(['v3.1', 'v3.1.1'], 'a bridge is told whether a message was published to be retained', async s => {
  const root = s.topic()
  const [bridge, other] = [await connectBridge(s), await s.connect()]
  for (const client of [bridge, other]) await client.subscribe(`${root}/#`, 1)
  for (const retain of [true, false]) {
    await other.publish(`${root}/kept`, `${retain}`, { qos: 1, retain })
    assert.deepEqual([(await bridge.receive()).retain, (await other.receive()).retain], [retain, false])
  }
  await other.publish(`${root}/kept`, '', { qos: 1, retain: true })
})

conform(['v3.1.1'], 'the session of a bridge keeps what a bridge is', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const first = await connectBridge(s, { ...durable, clientId })
  await first.subscribe(topic, 1)
  await first.publish(topic, 'own', { qos: 1 })
  await first.disconnect()
  const other = await s.connect()
  await other.publish(topic, 'kept', { qos: 1, retain: true })
  const again = await connectBridge(s, { ...durable, clientId })
  const got = await untilMarker(again, other)
  assert.deepEqual(
    got.map(p => [p.text, p.retain]),
    [['kept', true]],
  )
  await other.publish(topic, '', { qos: 1, retain: true })
})

conform(
  ['v3.1', 'v3.1.1', 'v5'],
  'a bridge says under $SYS that it is there, and its will that it is gone',
  async s => {
    const name = s.id()
    const topic = `$SYS/broker/connection/${name}/state`
    const watcher = await s.connect()
    await watcher.subscribe(topic, 1)
    const will = { topic, payload: '0', qos: 1, retain: true }
    const bridge = s.v === 5 ? await s.connect({ will }) : await connectBridge(s, { will })
    assert.equal((await bridge.publish(topic, '1', { qos: 1, retain: true }))?.reason, 0)
    assert.equal((await watcher.receive()).text, '1')
    bridge.drop()
    assert.equal((await watcher.receive()).text, '0')
    const late = await s.connect()
    await late.subscribe(topic, 1)
    const state = await late.receive()
    assert.deepEqual([state.text, state.retain], ['0', true])
    await late.publish(topic, '', { qos: 1, retain: true })
  },
)

conform(['v5'], 'a will under $SYS that is not the state of a bridge is refused', async s => {
  const will = { topic: `$SYS/broker/${s.id()}`, payload: '0' }
  const properties = [[P.sessionExpiry, 0] as const]
  await s.refusesConnect(mqtt.connect(5, { clientId: s.id(), will, properties }), [0x87], 'must')
})
