import assert from 'node:assert/strict'
import { conform, eachOf, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, packet, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage } from '../support/raw-client.ts'

useBroker()

conform(['v3.1', 'v3.1.1 MQTT-3.12.4-1', 'v5 MQTT-3.12.4-1'], 'each PINGREQ gets a PINGRESP', async s => {
  const client = await s.connect()
  client.send(...Array.from({ length: 100 }, mqtt.pingreq))
  for (let i = 0; i < 100; i++) await client.expect(Type.PINGRESP)
  await client.expectSilence()
})

conform(['v3.1.1', 'v5'], 'PINGREQ with a body or with flags is refused', async s => {
  await s.refuses(packet(0xc0, [0]), 0x81)
  for (const first of [0xc1, 0xc2, 0xcf]) await s.refuses(packet(first), 0x81)
})

conform(
  ['v3.1.1 MQTT-3.1.2-24', 'v5 MQTT-3.1.2-22 MQTT-3.2.2-22'],
  'a silent client is closed after 1.5 times its Keep Alive, and its will is published',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic)
    const client = await s.connect({ keepAlive: 1, will: { topic, payload: 'silent' } })
    if (client.connack?.properties.some(([id]) => id === P.serverKeepAlive)) assert.fail('the interval was not kept')
    const start = Date.now()
    await client.expectClose({ reason: 0x8d, silent: s.broker.target === 'mosquitto', within: 8000 })
    const took = Date.now() - start
    assert.ok(took >= 1400, `closed after ${took} ms`)
    assert.ok(took <= (s.broker.target === 'mosquitto' ? 8000 : 4000), `closed after ${took} ms`)
    assert.equal((await watcher.receive()).text, 'silent')
  },
)

conform(
  ['v3.1.1 MQTT-3.1.2-24', 'v5 MQTT-3.1.2-22'],
  'any packet keeps a client alive, and Keep Alive 0 means never',
  async s => {
    const topic = s.topic()
    const kinds: [string, (() => Uint8Array) | undefined][] = [
      ['PINGREQ', () => mqtt.pingreq()],
      ['PUBLISH', () => mqtt.publish(s.v, { topic, payload: 'x' })],
      ['SUBSCRIBE', () => mqtt.subscribe(s.v, 1, [[topic, 0]])],
      ['PUBACK', () => mqtt.ack(Type.PUBACK, 77)],
      ['silence with Keep Alive 0', undefined],
    ]
    await eachOf(kinds, async (make, name) => {
      const client = await s.connect({ keepAlive: make ? 1 : 0 })
      for (let i = 0; i < 6; i++) {
        await new Promise(resolve => setTimeout(resolve, 600))
        if (make) client.send(make())
      }
      assert.equal(client.closed, false, name)
      await client.ping()
    })
  },
)

conform(['v3.1.1 MQTT-3.1.2-24', 'v5 MQTT-3.1.2-22'], 'what the broker sends does not keep a client alive', async s => {
  const topic = s.topic()
  const client = await s.connect({ keepAlive: 1 })
  await client.subscribe(topic)
  const publisher = await s.connect()
  const deadline = Date.now() + 8000
  while (!client.closed && Date.now() < deadline) {
    await publisher.publish(topic, 'x')
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  assert.ok(client.closed)
  await expectNoMessage(publisher)
})
