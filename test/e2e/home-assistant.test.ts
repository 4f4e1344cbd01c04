import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { Store } from 'mqtt'
import { connectClient, type Received, type TestClient } from '../support/clients.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import { numbered } from '../support/sessions.ts'

/** Home Assistant gives up on an acknowledgement after this long. */
const ACK_MS = 10_000
const DEVICES = 500
const STATE_TOPICS = 2000
const FILTERS_PER_SUBSCRIBE = 500

let node: MidgeNode
before(async () => {
  node = await MidgeNode.start({ onDisk: true })
})
after(() => node?.stop())
watchNodes(() => [node])

const configTopic = (index: number): string => `homeassistant/sensor/device${index}/config`
const stateTopic = (index: number): string => `zigbee2mqtt/sensor ${index}/state`

for (const protocolVersion of [4, 5] as const) {
  describe(`Home Assistant starts with ${DEVICES} devices, MQTT ${protocolVersion}`, () => {
    let devices: TestClient
    let home: TestClient

    before(async () => {
      devices = await connectClient({ port: node.port, protocolVersion })
      const config = (index: number): string => JSON.stringify({ name: `device ${index}`, padding: 'x'.repeat(500) })
      for (let at = 0; at < DEVICES; at += 50) {
        const slice = numbered(50).map((_, i) => devices.publish(configTopic(at + i), config(at + i), 1, true))
        await Promise.all(slice)
      }
      for (let at = 0; at < STATE_TOPICS; at += 100) {
        const slice = numbered(50).map((_, i) => devices.publish(stateTopic(at + 2 * i), 'on', 1, true))
        await Promise.all(slice)
      }
    })
    after(async () => {
      await home?.drop()
      await devices?.end()
    })

    it('every SUBACK comes within 10 s and every retained message comes exactly once with RETAIN = 1', async () => {
      home = await connectClient({
        port: node.port,
        protocolVersion,
        clientId: '3f7K0aQm9sVbX1cD2eG4hJ',
        will: { topic: 'homeassistant/status', payload: Buffer.from('offline'), qos: 0, retain: false },
      })
      const timed = async (filters: string | string[]): Promise<void> => {
        const startMs = Date.now()
        const grants = await home.subscribe(filters, 0)
        assert.ok(Date.now() - startMs < ACK_MS, `SUBACK took ${Date.now() - startMs} ms`)
        assert.equal(grants.length, [filters].flat().length)
        assert.ok(grants.every(grant => grant.qos === 0))
      }
      await timed('homeassistant/+/+/config')
      await timed('homeassistant/+/+/+/config')
      const topics = Array.from({ length: STATE_TOPICS }, (_, index) => stateTopic(index))
      for (let at = 0; at < STATE_TOPICS; at += FILTERS_PER_SUBSCRIBE) {
        await timed(topics.slice(at, at + FILTERS_PER_SUBSCRIBE))
      }
      const wanted = [
        ...Array.from({ length: DEVICES }, (_, index) => configTopic(index)),
        ...topics.filter((_, index) => index % 2 === 0),
      ].sort()
      await home.untilReceived(wanted.length, ACK_MS)
      // The birth message comes back last and shows that nothing else was on its way.
      await home.subscribe('homeassistant/status', 0)
      await home.publish('homeassistant/status', 'online', 1)
      await home.untilReceived(wanted.length + 1)
      const retained = home.received.slice(0, -1)
      assert.deepEqual(retained.map(message => message.topic).sort(), wanted)
      assert.ok(retained.every(message => message.retain))
      assert.deepEqual([home.received.at(-1)?.text, home.received.at(-1)?.retain], ['online', false])
    })

    it('live states carry RETAIN = 0, also when they are published as retained, and come once each', async () => {
      const before = home.received.length
      await devices.publish(stateTopic(7), 'off', 0, false)
      await devices.publish(stateTopic(8), 'off', 1, true)
      await home.untilReceived(before + 2)
      const fresh = home.received.slice(before)
      assert.deepEqual(
        fresh.map(({ topic, text, retain }) => [topic, text, retain]),
        [
          [stateTopic(7), 'off', false],
          [stateTopic(8), 'off', false],
        ],
      )
    })

    it('subscribing again to a filter that is subscribed brings its retained message again', async () => {
      const before = home.received.length
      await home.subscribe(configTopic(3), 0)
      await home.subscribe(configTopic(3), 0)
      await home.untilReceived(before + 2)
      const again = home.received.slice(before).map(({ topic, retain }) => [topic, retain])
      assert.deepEqual(again, [
        [configTopic(3), true],
        [configTopic(3), true],
      ])
    })

    it('a removed configuration is told as an empty message and is not there for the next one', async () => {
      const before = home.received.length
      await devices.publish(configTopic(5), '', 1, true)
      // Both filters match, one message comes.
      await home.untilReceived(before + 1)
      const [empty] = home.received.slice(before)
      assert.deepEqual([empty?.topic, empty?.text, empty?.retain], [configTopic(5), '', false])
      const late = await connectClient({ port: node.port, protocolVersion })
      await late.subscribe('homeassistant/sensor/+/config', 0)
      await late.untilReceived(DEVICES - 1)
      assert.ok(!late.received.some(message => message.topic === configTopic(5)))
      assert.equal(late.received.length, DEVICES - 1)
      await late.end()
    })

    it('when Home Assistant loses its network, its will says offline', async () => {
      const watcher = await connectClient({ port: node.port, protocolVersion })
      await watcher.subscribe('homeassistant/status', 0)
      await home.drop()
      await watcher.untilReceived(1)
      assert.deepEqual(watcher.texts(), ['offline'])
      await watcher.end()
    })
  })
}

describe('Zigbee2MQTT with 300 devices', () => {
  for (const protocolVersion of [4, 5] as const) {
    it(`MQTT ${protocolVersion}: a retained message of nearly 4 MiB comes back through base/#, live and later`, async () => {
      const base = `z2m${protocolVersion}`
      // The largest packet is 4 MiB, with everything that is not payload.
      const devices = randomBytes(4 * 1024 * 1024 - 200)
      const will = {
        topic: `${base}/bridge/state`,
        payload: Buffer.from('{"state":"offline"}'),
        qos: 1 as const,
        retain: true,
      }
      const options = { port: node.port, protocolVersion, will }
      const properties = protocolVersion === 5 ? { properties: { maximumPacketSize: 4 * 1024 * 1024 } } : {}
      const bridge = await connectClient({ ...options, ...properties })
      await bridge.subscribe(`${base}/#`, 0)
      await bridge.publish(`${base}/bridge/state`, '{"state":"online"}', 1, true)
      await bridge.publish(`${base}/bridge/devices`, devices, 0, true)
      const [, live] = (await bridge.untilReceived(2)) as [Received, Received]
      assert.ok(live.payload.equals(devices), 'its own publish comes back whole')
      assert.equal(live.retain, false)

      const home = await connectClient({ port: node.port, protocolVersion })
      await home.subscribe(`${base}/#`, 0)
      const got = await home.untilReceived(2)
      const large = got.find(message => message.topic === `${base}/bridge/devices`)
      assert.ok(large?.payload.equals(devices), 'whoever subscribes later gets the same bytes')
      assert.ok(got.every(message => message.retain))
      await bridge.drop()
      const offline = (await home.untilReceived(3))[2]
      assert.deepEqual([offline?.text, offline?.retain], ['{"state":"offline"}', false])
      await home.end()
    })
  }
})

describe('OwnTracks', () => {
  it('phones that come and go with a lasting session miss nothing and get nothing twice at QoS 2', async () => {
    const names = numbered(5, 'phone')
    const rounds = 10
    // What a phone has received and not yet completed lives in the phone, not in its connection.
    const memories = new Map(names.map(name => [name, new Store({ clean: false })]))
    const heard = new Map(names.map(name => [name, [] as string[]]))
    const connectPhone = (name: string): Promise<TestClient> => {
      const incomingStore = memories.get(name)
      if (incomingStore === undefined) throw new Error(`no phone ${name}`)
      return connectClient({ port: node.port, clientId: `jane-${name}`, clean: false, keepalive: 55, incomingStore })
    }
    for (const name of names) {
      const phone = await connectPhone(name)
      await phone.subscribe(['owntracks/+/+', 'owntracks/+/+/event'], 2)
      await phone.end()
    }
    for (let round = 0; round < rounds; round++) {
      for (const name of names) {
        const phone = await connectPhone(name)
        await phone.publish(`owntracks/jane/${name}`, `${name} ${round}`, 2, true)
        // Half of them vanish without a word, with whatever they had in hand.
        if (round % 2 === 0) await phone.drop()
        else await phone.end()
        heard.get(name)?.push(...phone.texts())
      }
    }
    const expected = numbered(rounds, '').flatMap(round => names.map(name => `${name} ${round}`))
    for (const name of names) {
      const phone = await connectPhone(name)
      const before = heard.get(name) ?? []
      await phone.untilReceived(expected.length - before.length)
      await phone.publish('owntracks/jane/end', name, 2)
      await phone.untilReceived(expected.length - before.length + names.indexOf(name) + 1)
      const all = [...before, ...phone.texts()].filter(text => !names.includes(text))
      assert.deepEqual(all.sort(), [...expected].sort(), name)
      await phone.end()
    }
  })
})
