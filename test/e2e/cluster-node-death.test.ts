import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { watchNodes } from '../support/midge-node.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { type ConnectFields, P, type Packet, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage, type RawClient } from '../support/raw-client.ts'
import { numbered, persistent } from '../support/sessions.ts'
import { until } from '../support/until.ts'

/** A node is declared dead 15 s after its last heartbeat; the rest is time for two busy cores. */
const DEATH_MS = 25_000
const BACKLOG = 1000

let cluster: MidgeCluster
before(async () => {
  cluster = await MidgeCluster.start(3)
})
after(() => cluster?.stop())
watchNodes(() => cluster?.nodes ?? [])

describe('kill -9 of the node of a persistent subscriber', () => {
  it(`loses none of ${BACKLOG} acknowledged messages: another node delivers them all, in order`, async () => {
    const session = persistent(4, 'away')
    const subscriber = await cluster.raw(0, 4, session)
    await subscriber.subscribe('away/#', 1)
    const publisher = await cluster.connect(1)
    // The first half while the subscriber's node lives, the second half after its death.
    const texts = numbered(BACKLOG)
    subscriber.drop()
    await Promise.all(texts.slice(0, BACKLOG / 2).map(text => publisher.publish('away/x', text, 1)))
    await cluster.node(0).kill9()
    await Promise.all(texts.slice(BACKLOG / 2).map(text => publisher.publish('away/x', text, 1)))
    const back = await cluster.raw(2, 4, session)
    assert.equal(back.connack?.sessionPresent, true)
    assert.deepEqual(await back.receiveTexts(BACKLOG), texts)
    await back.expectSilence()
    await back.disconnect()
    await publisher.end()
    await cluster.restart(0)
  })

  it('a subscriber that was connected goes on at another node at once: same packet ids, DUP, then the newer ones', async () => {
    const session = persistent(5, 'connected')
    const subscriber = await cluster.raw(0, 5, session)
    await subscriber.subscribe('connected', 1)
    const publisher = await cluster.connect(1)
    for (const text of numbered(3)) await publisher.publish('connected', text, 1)
    const sent: Packet[] = []
    while (sent.length < 3) sent.push(await subscriber.waitFor(Type.PUBLISH))
    await cluster.node(0).kill9()
    await publisher.publish('connected', 'newer', 1)
    const back = await cluster.raw(1, 5, session)
    const again: Packet[] = []
    while (again.length < 4) again.push(await back.receive())
    assert.deepEqual(
      again.slice(0, 3).map(({ text, packetId, dup }) => ({ text, packetId, dup })),
      sent.map(({ text, packetId }) => ({ text, packetId, dup: true })),
    )
    assert.equal(again[3]?.text, 'newer')
    await back.disconnect()
    await publisher.end()
    await cluster.restart(0)
  })
})

describe("kill -9 of the publisher's node", () => {
  it('loses no acknowledged message, and repeating the others at another node loses none either', async () => {
    const session = persistent(5, 'keeper')
    const keeper = await cluster.raw(1, 5, session)
    await keeper.subscribe('publisher-dies', 1)
    const publisher = await cluster.raw(0, 5, persistent(5, 'dying-publisher'))
    const acknowledged = new Set<string>()
    const texts = numbered(2000)
    for (const [index, text] of texts.entries()) {
      publisher.send(mqtt.publish(5, { topic: 'publisher-dies', payload: text, qos: 1, packetId: index + 1 }))
    }
    const killed = (async () => {
      while (acknowledged.size < 300) {
        const puback = await publisher.waitFor(Type.PUBACK)
        acknowledged.add(texts[puback.packetId - 1] as string)
      }
      await cluster.node(0).kill9()
    })()
    await killed
    await until('the end of the connection', () => publisher.closed)
    for (let packet = await publisher.next(); packet !== undefined; packet = await publisher.next()) {
      if (packet.type === Type.PUBACK) acknowledged.add(texts[packet.packetId - 1] as string)
    }
    const again = await cluster.raw(2, 5, persistent(5, 'dying-publisher'))
    const unacknowledged = texts.filter(text => !acknowledged.has(text))
    for (const text of unacknowledged) {
      const packetId = texts.indexOf(text) + 1
      await again.publish('publisher-dies', text, { qos: 1, packetId, dup: true })
    }
    await again.publish('publisher-dies', 'the last one', { qos: 1 })
    const got: string[] = []
    while (got.at(-1) !== 'the last one') got.push((await keeper.receive()).text)
    const missing = texts.filter(text => !got.includes(text))
    assert.deepEqual(missing, [], `${acknowledged.size} were acknowledged before the death`)
    await keeper.disconnect()
    await again.disconnect()
    await cluster.restart(0)
  })

  it('QoS 2 of a publisher that goes on at another node arrives exactly once', async () => {
    const keeper = await cluster.raw(1, 5, persistent(5, 'keeper-2'))
    await keeper.subscribe('exactly', 2)
    const session = persistent(5, 'dying-publisher-2')
    const publisher = await cluster.raw(0, 5, session)
    const texts = numbered(50)
    for (const [index, text] of texts.entries()) {
      publisher.send(mqtt.publish(5, { topic: 'exactly', payload: text, qos: 2, packetId: index + 1 }))
    }
    const received = new Set<number>()
    while (received.size < 20) received.add((await publisher.waitFor(Type.PUBREC)).packetId)
    await cluster.node(0).kill9()
    await until('the end of the connection', () => publisher.closed)
    const again = await cluster.raw(2, 5, session)
    assert.equal(again.connack?.sessionPresent, true)
    for (const [index, text] of texts.entries()) {
      const packetId = index + 1
      if (!received.has(packetId)) {
        again.send(mqtt.publish(5, { topic: 'exactly', payload: text, qos: 2, packetId, dup: true }))
        await again.waitFor(Type.PUBREC, packet => packet.packetId === packetId)
      }
      again.send(mqtt.ack(Type.PUBREL, packetId))
      assert.equal((await again.waitFor(Type.PUBCOMP, packet => packet.packetId === packetId)).reason, 0)
    }
    const got: string[] = []
    while (got.length < texts.length) got.push((await keeper.receive()).text)
    await expectNoMessage(keeper, again, 2)
    assert.deepEqual([...got].sort(), [...texts].sort())
    await keeper.disconnect()
    await again.disconnect()
    await cluster.restart(0)
  })
})

describe('what was running when a node died goes on without it', () => {
  const will = (name: string, delaySeconds = 0): ConnectFields => {
    const properties = delaySeconds > 0 ? ([[P.willDelay, delaySeconds]] as const) : []
    return { will: { topic: `wills/${name}`, payload: name, qos: 1, properties } }
  }
  let watcher: RawClient
  const seen: string[] = []

  const watch = async (): Promise<void> => {
    for (;;) {
      const packet = await watcher.receive(120_000).catch(() => undefined)
      if (packet === undefined) return
      seen.push(packet.text)
    }
  }

  before(async () => {
    watcher = await cluster.raw(1, 5, { clientId: 'watcher' })
    await watcher.subscribe('wills/#', 1)
    void watch()
    await cluster.raw(2, 4, { clientId: 'will-3.1.1', ...will('of 3.1.1') })
    await cluster.raw(2, 5, { clientId: 'will-5', ...will('of 5') })
    await cluster.raw(2, 5, persistent(5, 'will-delayed', will('delayed by 1 s', 1)))
    await cluster.raw(2, 5, persistent(5, 'will-far', will('delayed by 200 s', 200)))
    await cluster.raw(2, 5, persistent(5, 'will-returns', will('of one that returns', 100)))
    const kept = { topic: 'kept-wills/x', payload: 'kept will', qos: 1, retain: true }
    await cluster.raw(2, 4, { clientId: 'will-retained', will: kept })
    const short: ConnectFields = { clean: false, properties: [[P.sessionExpiry, 2]] }
    for (const clientId of ['short-connected', 'short-disconnected']) {
      const client = await cluster.raw(2, 5, { ...short, clientId })
      await client.subscribe(`short/${clientId}`, 1)
      if (clientId === 'short-disconnected') await client.disconnect()
    }
    const goodbye = await cluster.raw(2, 5, { clientId: 'will-goodbye', ...will('of one that said goodbye') })
    await goodbye.disconnect()
    await cluster.node(2).kill9()
  })

  it('wills of its clients are published, each exactly once, when it is known to be dead', async () => {
    const back = await cluster.raw(0, 5, persistent(5, 'will-returns'))
    assert.equal(back.connack?.sessionPresent, true)
    assert.deepEqual(seen, [], 'nobody is declared dead at once')
    const expected = ['delayed by 1 s', 'of 3.1.1', 'of 5']
    await until(
      'the wills',
      () => seen.length >= expected.length,
      DEATH_MS,
      () => `(seen: ${seen.join(', ')})`,
    )
    // A second will of the same client, or one that must not come, would be on its way now: two sweeps later it is not.
    const started = Date.now()
    await until('two more seconds', () => Date.now() - started > 2000)
    assert.deepEqual([...seen].sort(), expected)
    await back.disconnect()
  })

  it('a retained will is found by whoever subscribes later', async () => {
    const late = await cluster.raw(0, 4)
    await late.subscribe('kept-wills/#', 1)
    const kept = await late.receive()
    assert.deepEqual([kept.text, kept.retain], ['kept will', true])
    await late.disconnect()
  })

  it('sessions of its clients expire in time, and what is published later is not kept for them', async () => {
    const publisher = await cluster.raw(0, 5)
    const isGone = async (clientId: string): Promise<boolean> => {
      const puback = await publisher.publish(`short/${clientId}`, 'for nobody', { qos: 1 })
      // 0x10: no matching subscribers.
      return puback?.reason === 0x10
    }
    for (const clientId of ['short-disconnected', 'short-connected']) {
      await until(`${clientId} to expire`, () => isGone(clientId), DEATH_MS)
      const back = await cluster.raw(1, 5, { clientId, clean: false })
      assert.equal(back.connack?.sessionPresent, false)
      await back.disconnect()
    }
    await publisher.disconnect()
  })

  it('a node that comes back under its old name before it was declared dead still lets the wills of its clients go', async () => {
    await cluster.restart(2)
    seen.length = 0
    await cluster.raw(2, 5, { clientId: 'will-restart', ...will('of a restarted node') })
    await cluster.node(2).kill9()
    await cluster.restart(2)
    await until(
      'the will',
      () => seen.includes('of a restarted node'),
      DEATH_MS,
      () => `(seen: ${seen.join(', ')})`,
    )
    await expectNoMessage(watcher).catch(() => {})
    assert.deepEqual(seen.filter(text => text === 'of a restarted node').length, 1)
    watcher.drop()
  })
})
