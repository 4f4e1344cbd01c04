import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { connectClient, type TestClient } from '../support/clients.ts'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import { until, within } from '../support/until.ts'

/*
 * What Zigbee2MQTT does at its start, with MQTT.js 5 as it is there: everything it knows is published at once as
 * retained QoS 1, without regard to the broker's Receive Maximum, and `bridge/devices` is one message about all devices.
 */

const BURST = 1500
/** With 300 devices. */
const DEVICES_BYTES = 1_366_990

/** One node, or three where publisher and subscriber are on different ones. */
interface Place {
  readonly publisherPort: number
  readonly subscriberPort: number
}

async function publishAtOnce(client: TestClient, base: string, qos: 1 | 2): Promise<void> {
  const all = Array.from({ length: BURST }, (_, i) =>
    client.client.publishAsync(`${base}/${i}`, `state ${i}`, { qos, retain: true }),
  )
  await within(`${BURST} acknowledgements`, Promise.all(all), 10_000)
}

function burst(place: () => Place, protocolVersion: 4 | 5, qos: 1 | 2): void {
  it(`MQTT ${protocolVersion === 5 ? '5' : '3.1.1'}: ${BURST} retained QoS ${qos} publishes at once`, async () => {
    const base = `zigbee2mqtt/${protocolVersion}/${qos}`
    const subscriber = await connectClient({ port: place().subscriberPort, protocolVersion })
    await subscriber.subscribe(`${base}/#`, qos)
    const publisher = await connectClient({ port: place().publisherPort, protocolVersion })
    await publishAtOnce(publisher, base, qos)
    assert.deepEqual([publisher.isClosed, publisher.disconnectReason], [false, undefined])
    const got = await subscriber.untilReceived(BURST)
    const wanted = Array.from({ length: BURST }, (_, i) => `state ${i}`)
    assert.deepEqual(
      got.map(message => message.text),
      wanted,
    )
    const late = await connectClient({ port: place().subscriberPort, protocolVersion })
    await late.subscribe(`${base}/#`, qos)
    const kept = await late.untilReceived(BURST)
    assert.deepEqual(kept.map(message => message.text).sort(), [...wanted].sort())
    assert.ok(kept.every(message => message.retain))
    await Promise.all([publisher, subscriber, late].map(client => client.end()))
  })
}

function devices(place: () => Place, protocolVersion: 4 | 5): void {
  it(`MQTT ${protocolVersion === 5 ? '5' : '3.1.1'}: bridge/devices of ${DEVICES_BYTES} bytes, live and retained`, async () => {
    const topic = `zigbee2mqtt/${protocolVersion}/bridge/devices`
    const payload = Buffer.alloc(DEVICES_BYTES, `{"friendly_name":"lamp ${protocolVersion}"},`)
    const live = await connectClient({ port: place().subscriberPort, protocolVersion })
    await live.subscribe(topic, 1)
    const publisher = await connectClient({ port: place().publisherPort, protocolVersion })
    await publisher.publish(topic, payload, 1, true)
    const late = await connectClient({ port: place().subscriberPort, protocolVersion })
    await late.subscribe(topic, 1)
    for (const client of [live, late]) {
      const [message] = await client.untilReceived(1)
      assert.ok(message?.payload.equals(payload))
    }
    await Promise.all([publisher, live, late].map(client => client.end()))
  })
}

function starts(place: () => Place): void {
  for (const protocolVersion of [4, 5] as const) {
    for (const qos of [1, 2] as const) burst(place, protocolVersion, qos)
    devices(place, protocolVersion)
  }
}

describe('Zigbee2MQTT starts at one node', () => {
  let node: MidgeNode
  before(async () => {
    node = await MidgeNode.start({ onDisk: true })
  })
  after(() => node?.stop())
  watchNodes(() => [node])
  starts(() => ({ publisherPort: node.port, subscriberPort: node.port }))
})

describe('Zigbee2MQTT starts at one of three nodes', () => {
  let cluster: MidgeCluster
  before(async () => {
    cluster = await MidgeCluster.start(3)
  })
  after(() => cluster?.stop())
  watchNodes(() => cluster?.nodes ?? [])
  starts(() => ({ publisherPort: cluster.node(0).port, subscriberPort: cluster.node(1).port }))

  it('no node has logged an error', async () => {
    await until('metrics', async () => (await cluster.node(0).metric('midge_messages_received_total')) >= BURST)
    assert.equal(cluster.nodes.map(node => node.errors()).join(''), '')
  })
})
