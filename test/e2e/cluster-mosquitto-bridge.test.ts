import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { TestClient } from '../support/clients.ts'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { watchNodes } from '../support/midge-node.ts'
import { type BridgeVersion, MosquittoBridge } from '../support/mosquitto-bridge.ts'
import { TcpRelay } from '../support/tcp-relay.ts'
import { until } from '../support/until.ts'

const versions: readonly BridgeVersion[] = ['mqttv311', 'mqttv50']
const PACE_MS = 10
/** Messages of a stream before the node is killed, and after the bridges are back. */
const STEADY = 30

let cluster: MidgeCluster
let relay: TcpRelay
before(async () => {
  cluster = await MidgeCluster.start(3)
  relay = await TcpRelay.start([cluster.node(0).port, cluster.node(1).port])
})
after(async () => {
  await relay?.stop()
  await cluster?.stop()
})
watchNodes(() => cluster?.nodes ?? [])

/** Numbered messages of one publisher, one after the other, until it is told to end. */
class Stream {
  readonly acknowledged: string[] = []
  readonly topic: string
  readonly qos: 1 | 2
  private readonly publisher: TestClient
  private readonly done: Promise<void>
  private isEnding = false

  constructor(publisher: TestClient, topic: string, qos: 1 | 2) {
    this.publisher = publisher
    this.topic = topic
    this.qos = qos
    this.done = this.run()
  }

  private async run(): Promise<void> {
    while (!this.isEnding) {
      const text = `m${this.acknowledged.length}`
      await this.publisher.publish(this.topic, text, this.qos)
      this.acknowledged.push(text)
      await delay(PACE_MS)
    }
  }

  /** Resolves when so many more are acknowledged. */
  async flows(count: number): Promise<void> {
    const wanted = this.acknowledged.length + count
    await until(`${count} more messages of ${this.topic}`, () => this.acknowledged.length >= wanted)
  }

  async end(): Promise<void> {
    this.isEnding = true
    await this.done
  }

  textsAt(subscriber: TestClient): string[] {
    return subscriber.received.filter(message => message.topic === this.topic).map(message => message.text)
  }

  /** Waits until everything acknowledged has come. */
  async untilCompleteAt(subscriber: TestClient): Promise<void> {
    const missing = (): string[] => {
      const texts = new Set(this.textsAt(subscriber))
      return this.acknowledged.filter(text => !texts.has(text))
    }
    const what = `all ${this.acknowledged.length} messages of ${this.topic}`
    await until(
      what,
      () => missing().length === 0,
      15_000,
      () => `(missing: ${missing().slice(0, 10)})`,
    )
  }
}

/** One Mosquitto with its bridge, and a client on either side. */
interface Pair {
  readonly version: BridgeVersion
  readonly bridge: MosquittoBridge
  readonly near: TestClient
  readonly far: TestClient
  readonly base: string
}

async function startPair(version: BridgeVersion): Promise<Pair> {
  const base = `bridge/${version}`
  const near = await cluster.connect(2, { protocolVersion: 5, clientId: `near-${version}`, clean: false })
  await near.subscribe(`${base}/#`, 2)
  const bridge = await MosquittoBridge.start({ port: relay.port, version })
  await bridge.untilBridged()
  const far = await bridge.connect()
  await far.subscribe(`${base}/#`, 2)
  return { version, bridge, near, far, base }
}

describe('Mosquitto bridges to three nodes behind a TCP load balancer', () => {
  const pairs: Pair[] = []
  before(async () => {
    for (const version of versions) pairs.push(await startPair(version))
  })
  after(async () => {
    for (const { bridge, near, far } of pairs) {
      await near.end()
      await far.end()
      await bridge.stop()
    }
  })

  it('every QoS is carried between nodes once, without a loop, and RETAIN is kept', async () => {
    for (const { base, near, far } of pairs) {
      for (const qos of [0, 1, 2] as const) {
        await near.publish(`${base}/near/${qos}`, 'near', qos, true)
        await far.publish(`${base}/far/${qos}`, 'far', qos, true)
      }
      const topics = ['near', 'far'].flatMap(who => [0, 1, 2].map(qos => `${base}/${who}/${qos}`)).sort()
      for (const client of [near, far]) {
        const got = await client.untilReceived(topics.length)
        assert.deepEqual(got.map(message => message.topic).sort(), topics)
      }
      const late = await cluster.connect(1)
      await late.subscribe(`${base}/far/+`, 2)
      assert.deepEqual(
        (await late.untilReceived(3)).map(message => message.retain),
        [true, true, true],
      )
      await late.end()
      for (const topic of topics) await near.publish(topic, '', 1, true)
    }
  })

  it('nothing acknowledged is lost when their node is killed, and nothing at QoS 2 is repeated', async () => {
    const streams = pairs.flatMap(pair =>
      ([1, 2] as const).map(qos => ({
        pair,
        out: new Stream(pair.near, `${pair.base}/stream/near/${qos}`, qos),
        back: new Stream(pair.far, `${pair.base}/stream/far/${qos}`, qos),
      })),
    )
    const all = streams.flatMap(({ out, back }) => [out, back])
    await Promise.all(all.map(stream => stream.flows(STEADY)))
    await cluster.node(0).kill9()
    await Promise.all(pairs.map(({ bridge }) => bridge.untilBridged(2)))
    await Promise.all(all.map(stream => stream.flows(STEADY)))
    await Promise.all(all.map(stream => stream.end()))
    for (const { pair, out, back } of streams) {
      await back.untilCompleteAt(pair.near)
      if (pair.version === 'mqttv50') {
        // Mosquitto 2.0 asks for no Session Expiry in MQTT 5: the session ends with its connection, and what was
        // published meanwhile is nobody's.
        await until('the newest message', () => out.textsAt(pair.far).includes(out.acknowledged.at(-1) ?? ''))
        continue
      }
      await out.untilCompleteAt(pair.far)
      // Which order Mosquitto keeps when it reconnects is its own affair.
      assert.deepEqual([...new Set(out.textsAt(pair.far))], out.acknowledged)
      if (out.qos === 2) assert.deepEqual(out.textsAt(pair.far), out.acknowledged)
      if (back.qos === 2) assert.equal(back.textsAt(pair.near).length, back.acknowledged.length)
    }
  })

  it('no message came back to its own side', async () => {
    for (const { base, near, far } of pairs) {
      for (const client of [near, far]) {
        await client.publish(`${base}/end`, client.clientId, 2)
        const ends = (): number => client.received.filter(message => message.topic === `${base}/end`).length
        await until('both ends', () => ends() >= (client === near ? 1 : 2))
      }
      for (const [client, who] of [
        [near, 'near'],
        [far, 'far'],
      ] as const) {
        const own = client.received.filter(message => message.topic === `${base}/stream/${who}/2`)
        assert.equal(own.length, new Set(own.map(message => message.text)).size)
      }
    }
  })
})
