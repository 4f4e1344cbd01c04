import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { watchNodes } from '../support/midge-node.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { type ConnectFields, Type } from '../support/mqtt-bytes.ts'
import { seededRandom } from '../support/random.ts'
import { RawClient } from '../support/raw-client.ts'
import { persistent } from '../support/sessions.ts'
import { until } from '../support/until.ts'

/** A node is declared dead 15 s after its last heartbeat; the rest is time for two busy cores. */
const DEATH_MS = 25_000
const DEVICES = 50

let cluster: MidgeCluster
before(async () => {
  cluster = await MidgeCluster.start(3)
})
after(() => cluster?.stop())
watchNodes(() => cluster?.nodes ?? [])

/** A device as they are sold: a retained "Offline" as its will, and a retained "Online" after each CONNECT. */
class Device {
  readonly topic: string
  private readonly fields: ConnectFields
  client: RawClient | undefined

  constructor(group: string, number: number) {
    this.topic = `${group}/${number}/state`
    const will = { topic: this.topic, payload: 'Offline', qos: 1, retain: true }
    const clientId = `${group}-${number}`
    // Every other one has a session that goes on.
    this.fields = number % 2 === 0 ? { clientId, will } : persistent(4, clientId, { will })
  }

  async goOnline(index: number): Promise<void> {
    this.client = await cluster.raw(index, 4, this.fields)
    await this.client.publish(this.topic, 'Online', { qos: 1, retain: true })
  }

  /** Sends DISCONNECT to its node and CONNECT to another without waiting for anything in between. */
  async hop(index: number): Promise<void> {
    const next = await RawClient.open('127.0.0.1', cluster.node(index).port, 4)
    this.client?.send(mqtt.disconnect())
    next.send(mqtt.connect(4, this.fields))
    assert.equal((await next.expect(Type.CONNACK)).reason, 0)
    this.client = next
  }
}

/** What was published on the topics of some devices, in its order, and what is retained there. */
class Watch {
  readonly seen: Map<string, string[]> = new Map()
  private readonly group: string
  private readonly client: RawClient

  private constructor(group: string, client: RawClient) {
    this.group = group
    this.client = client
    void this.read()
  }

  static async start(group: string, index: number): Promise<Watch> {
    const client = await cluster.raw(index, 4)
    await client.subscribe(`${group}/+/state`, 1)
    return new Watch(group, client)
  }

  private async read(): Promise<void> {
    for (;;) {
      const packet = await this.client.receive(120_000).catch(() => undefined)
      if (packet === undefined) return
      const texts = this.seen.get(packet.topic) ?? []
      texts.push(packet.text)
      this.seen.set(packet.topic, texts)
    }
  }

  count(text: string): number {
    return [...this.seen.values()].flat().filter(one => one === text).length
  }

  /** Waits for as long as a will that is on its way would need, two sweeps. */
  async settle(): Promise<void> {
    const settledAtMs = Date.now() + 2500
    await until('more sweeps', () => Date.now() > settledAtMs)
  }

  stop(): void {
    this.client.drop()
  }

  /** Topics by what is retained on them. */
  async retained(devices: readonly Device[]): Promise<Record<string, string[]>> {
    const late = await cluster.raw(0, 4)
    await late.subscribe(`${this.group}/+/state`, 0)
    const topics: Record<string, string[]> = { Online: [], Offline: [] }
    while (Object.values(topics).flat().length < devices.length) {
      const { text, topic } = await late.receive()
      topics[text]?.push(topic)
    }
    await late.disconnect()
    return topics
  }
}

function devicesOf(group: string, count: number = DEVICES): Device[] {
  return Array.from({ length: count }, (_, number) => new Device(group, number))
}

describe('a client that says DISCONNECT and connects somewhere else at once', () => {
  for (const [name, from, to] of [
    ['on another node', 1, 2],
    ['on the same node', 1, 1],
  ] as const) {
    it(`leaves no will, ${DEVICES} times of ${DEVICES}: ${name}`, async () => {
      const devices = devicesOf(`hop-${to}`)
      await Promise.all(devices.map(device => device.goOnline(from)))
      const watch = await Watch.start(`hop-${to}`, 0)
      for (const device of devices) await device.hop(to)
      await watch.settle()
      assert.equal(watch.count('Offline'), 0)
      watch.stop()
      for (const device of devices) await device.client?.disconnect()
    })
  }
})

describe(`the retained states of ${DEVICES} devices with a will`, () => {
  it('are "Online" when the devices have moved to another node while their old connections stood', async () => {
    const devices = devicesOf('moved')
    await Promise.all(devices.map(device => device.goOnline(1)))
    const watch = await Watch.start('moved', 2)
    await Promise.all(devices.map(device => device.goOnline(2)))
    await watch.settle()
    const wrong = (await watch.retained(devices))['Offline'] ?? []
    assert.deepEqual(wrong, [], `${wrong.length} stay "Offline"`)
    assert.equal(watch.count('Offline'), DEVICES, 'each will is published once')
    for (const texts of watch.seen.values()) assert.equal(texts.at(-1), 'Online')
    watch.stop()
  })

  it('are "Online" when their node was drained and the devices went elsewhere', async () => {
    const devices = devicesOf('drained', 200)
    await Promise.all(devices.map(device => device.goOnline(1)))
    const watch = await Watch.start('drained', 2)
    const back = devices.map(async device => {
      await until('the end of the connection', () => device.client?.closed)
      await device.goOnline(2)
    })
    assert.equal((await cluster.node(1).drain()).code, 0)
    await Promise.all(back)
    await watch.settle()
    const wrong = (await watch.retained(devices))['Offline'] ?? []
    assert.deepEqual(wrong, [], `${wrong.length} stay "Offline"`)
    assert.ok(watch.count('Offline') <= devices.length, 'no will is published twice')
    watch.stop()
    await cluster.restart(1)
  })

  it('are "Online" when their node was killed and they came back, sooner or later, and "Offline" when they did not', async () => {
    const random = seededRandom('devices of a killed node')
    const devices = devicesOf('killed')
    await Promise.all(devices.map(device => device.goOnline(1)))
    const watch = await Watch.start('killed', 2)
    const away = devices.slice(0, 10)
    const offline = (device: Device): boolean => watch.seen.get(device.topic)?.includes('Offline') === true
    await cluster.node(1).kill9()
    const killedAtMs = Date.now()
    // Some at once, some about when the node is declared dead and its wills are published.
    const back = devices.slice(10).map(async (device, number) => {
      const afterMs = number < 10 ? 0 : 13_500 + random.whole(4500)
      await until('the device comes back', () => Date.now() - killedAtMs >= afterMs, DEATH_MS)
      await device.goOnline(number % 2 === 0 ? 0 : 2)
    })
    await Promise.all(back)
    await until('the wills of those that stay away', () => away.every(offline), DEATH_MS)
    await watch.settle()
    const retained = await watch.retained(devices)
    const seed = `SEED=${random.seed}`
    const wrong = retained['Offline']?.filter(topic => !away.some(device => device.topic === topic))
    assert.deepEqual(wrong, [], `${wrong?.length} that are back stay "Offline", ${seed}`)
    assert.equal(retained['Offline']?.length, away.length, seed)
    for (const device of devices) {
      const wills = watch.seen.get(device.topic)?.filter(text => text === 'Offline').length
      assert.equal(wills, 1, `${device.topic}: its will is published once, ${seed}`)
    }
    watch.stop()
    await cluster.restart(1)
  })
})
