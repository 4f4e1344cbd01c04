import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { TestClient } from '../support/clients.ts'
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

describe('kill -9 of one of three nodes', () => {
  const will = (name: string, delaySeconds = 0): ConnectFields => {
    const properties = delaySeconds > 0 ? ([[P.willDelay, delaySeconds]] as const) : []
    return { will: { topic: `wills/${name}`, payload: name, qos: 1, properties } }
  }
  const awaySession = persistent(4, 'away')
  const awayTexts = numbered(BACKLOG)
  const connectedSession = persistent(5, 'connected')
  const publisherSession = persistent(4, 'dying-publisher')
  const publisherTexts = numbered(2000)
  const exactSession = persistent(5, 'dying-publisher-2')
  const exactTexts = numbered(50)
  const releasedSession = persistent(5, 'released')
  let watcher: RawClient
  let keeper: RawClient
  let exactKeeper: RawClient
  let publisher: TestClient
  const seenWills: string[] = []
  const sentToConnected: Packet[] = []
  let releasedId = 0
  let killedAtMs = 0
  /** Texts that the dying publisher had a PUBACK for. */
  const acknowledged = new Set<string>()
  /** Packet Identifiers that the dying QoS 2 publisher had a PUBREC for. */
  const received = new Set<number>()

  const watchWills = async (): Promise<void> => {
    for (;;) {
      const packet = await watcher.receive(120_000).catch(() => undefined)
      if (packet === undefined) return
      seenWills.push(packet.text)
    }
  }

  const connectSubscribers = async (): Promise<void> => {
    const away = await cluster.raw(0, 4, awaySession)
    await away.subscribe('away/#', 1)
    await cluster.drop(0, away)
    await publisher.publishAll('away/x', awayTexts.slice(0, BACKLOG / 2), 1)

    const connected = await cluster.raw(0, 5, connectedSession)
    await connected.subscribe('connected', 1)
    await publisher.publishAll('connected', numbered(3), 1)
    while (sentToConnected.length < 3) sentToConnected.push(await connected.waitFor(Type.PUBLISH))

    const released = await cluster.raw(0, 5, releasedSession)
    await released.subscribe('released', 2)
    await publisher.publish('released', 'once', 2)
    releasedId = (await released.waitFor(Type.PUBLISH)).packetId
    released.send(mqtt.ack(Type.PUBREC, releasedId))
    await released.waitFor(Type.PUBREL)
  }

  const connectDoomed = async (): Promise<void> => {
    const goodbye = await cluster.raw(0, 5, { clientId: 'will-goodbye', ...will('of one that said goodbye') })
    await goodbye.disconnect()
    const short: ConnectFields = { clean: false, properties: [[P.sessionExpiry, 2]] }
    for (const clientId of ['short-disconnected', 'short-connected']) {
      const client = await cluster.raw(0, 5, { ...short, clientId })
      await client.subscribe(`short/${clientId}`, 1)
      if (clientId === 'short-disconnected') await client.disconnect()
    }
    await cluster.raw(0, 4, { clientId: 'will-3.1.1', ...will('of 3.1.1') })
    await cluster.raw(0, 5, { clientId: 'will-5', ...will('of 5') })
    await cluster.raw(0, 5, persistent(5, 'will-delayed', will('delayed by 1 s', 1)))
    await cluster.raw(0, 5, persistent(5, 'will-far', will('delayed by 200 s', 200)))
    await cluster.raw(0, 5, persistent(5, 'will-returns', will('of one that returns', 100)))
    const kept = { topic: 'kept-wills/x', payload: 'kept will', qos: 1, retain: true }
    await cluster.raw(0, 4, { clientId: 'will-retained', will: kept })
  }

  before(async () => {
    watcher = await cluster.raw(1, 5, { clientId: 'watcher' })
    await watcher.subscribe('wills/#', 1)
    void watchWills()
    keeper = await cluster.raw(1, 5, persistent(5, 'keeper'))
    await keeper.subscribe('publisher-dies', 1)
    exactKeeper = await cluster.raw(1, 5, persistent(5, 'exact-keeper'))
    await exactKeeper.subscribe('exactly', 2)
    publisher = await cluster.connect(1)
    await connectSubscribers()
    await connectDoomed()

    const exact = await cluster.raw(0, 5, exactSession)
    for (const [index, text] of exactTexts.entries()) {
      exact.send(mqtt.publish(5, { topic: 'exactly', payload: text, qos: 2, packetId: index + 1 }))
    }
    while (received.size < 20) received.add((await exact.waitFor(Type.PUBREC)).packetId)
    const dying = await cluster.raw(0, 4, publisherSession)
    const send = (from: number, to: number): void => {
      for (const [index, text] of publisherTexts.slice(from, to).entries()) {
        dying.send(mqtt.publish(4, { topic: 'publisher-dies', payload: text, qos: 1, packetId: from + index + 1 }))
      }
    }
    const note = (puback: Packet): Set<string> => acknowledged.add(publisherTexts[puback.packetId - 1] ?? '')
    send(0, publisherTexts.length / 2)
    while (acknowledged.size < 100) note(await dying.waitFor(Type.PUBACK))
    // However fast the node is, it has not got to the end of these when it is killed.
    send(publisherTexts.length / 2, publisherTexts.length)
    killedAtMs = Date.now()
    await cluster.node(0).kill9()
    // What was on its way to the publisher counts as acknowledged too.
    await until('the end of the connection', () => dying.closed)
    for (let packet = await dying.next(); packet !== undefined; packet = await dying.next()) note(packet)
  })

  it(`a persistent subscriber gets all of ${BACKLOG} acknowledged messages from another node, in order`, async () => {
    await publisher.publishAll('away/x', awayTexts.slice(BACKLOG / 2), 1)
    const back = await cluster.raw(2, 4, awaySession)
    assert.equal(back.connack?.sessionPresent, true)
    assert.deepEqual(await back.receiveTexts(BACKLOG), awayTexts)
    await back.expectSilence()
    await back.disconnect()
  })

  it('a subscriber that was connected goes on elsewhere at once: same packet ids and DUP, then the newer ones', async () => {
    await publisher.publish('connected', 'newer', 1)
    const back = await cluster.raw(1, 5, connectedSession)
    const again: Packet[] = []
    while (again.length < 4) again.push(await back.receive())
    assert.deepEqual(
      again.slice(0, 3).map(({ text, packetId, dup }) => ({ text, packetId, dup })),
      sentToConnected.map(({ text, packetId }) => ({ text, packetId, dup: true })),
    )
    assert.equal(again[3]?.text, 'newer')
    await back.disconnect()
  })

  it('QoS 2 towards a client goes on elsewhere with PUBREL; the message is not sent again', async () => {
    const back = await cluster.raw(2, 5, releasedSession)
    assert.equal((await back.expect(Type.PUBREL)).packetId, releasedId)
    back.send(mqtt.ack(Type.PUBCOMP, releasedId))
    await back.expectSilence()
    await back.disconnect()
  })

  it('no message that its publishers had acknowledged is lost', async () => {
    const again = await cluster.raw(2, 4, publisherSession)
    assert.ok(acknowledged.size < publisherTexts.length, 'the node died in the middle of it')
    for (const text of publisherTexts.filter(one => !acknowledged.has(one)).slice(0, 100)) {
      acknowledged.add(text)
      const packetId = publisherTexts.indexOf(text) + 1
      await again.publish('publisher-dies', text, { qos: 1, packetId, dup: true })
    }
    await again.publish('publisher-dies', 'the last one', { qos: 1 })
    const got = new Set<string>()
    while (!got.has('the last one')) got.add((await keeper.receive()).text)
    const missing = [...acknowledged].filter(text => !got.has(text))
    assert.deepEqual(missing, [], `${acknowledged.size} were acknowledged`)
    await keeper.disconnect()
    await again.disconnect()
  })

  it('QoS 2 of a publisher that goes on at another node arrives exactly once', async () => {
    const again = await cluster.raw(2, 5, exactSession)
    assert.equal(again.connack?.sessionPresent, true)
    for (const [index, text] of exactTexts.entries()) {
      const packetId = index + 1
      const sameId = (packet: Packet): boolean => packet.packetId === packetId
      if (!received.has(packetId)) {
        again.send(mqtt.publish(5, { topic: 'exactly', payload: text, qos: 2, packetId, dup: true }))
        await again.waitFor(Type.PUBREC, sameId)
      }
      again.send(mqtt.ack(Type.PUBREL, packetId))
      assert.equal((await again.waitFor(Type.PUBCOMP, sameId)).reason, 0)
    }
    const got = await exactKeeper.receiveTexts(exactTexts.length)
    await expectNoMessage(exactKeeper, again, 2)
    assert.deepEqual([...got].sort(), [...exactTexts].sort())
    await exactKeeper.disconnect()
    await again.disconnect()
  })

  it('wills of its clients are published, each exactly once, when it is known to be dead', async () => {
    const back = await cluster.raw(1, 5, persistent(5, 'will-returns'))
    assert.equal(back.connack?.sessionPresent, true)
    assert.deepEqual(seenWills, [], 'nobody is declared dead at once')
    const expected = ['delayed by 1 s', 'of 3.1.1', 'of 5']
    const seen = (): string => `(seen: ${seenWills.join(', ')})`
    await until('the wills', () => seenWills.length >= expected.length, killedAtMs + DEATH_MS - Date.now(), seen)
    // A second will of one client, or one that must not come, would come with one of the next sweeps, a second apart.
    const settledAtMs = Date.now() + 2500
    await until('more sweeps', () => Date.now() > settledAtMs)
    assert.deepEqual([...seenWills].sort(), expected)
    await back.disconnect()
  })

  it('a retained will is found by whoever subscribes later', async () => {
    const late = await cluster.raw(2, 4)
    await late.subscribe('kept-wills/#', 1)
    const kept = await late.receive()
    assert.deepEqual([kept.text, kept.retain], ['kept will', true])
    await late.disconnect()
  })

  it('sessions of its clients expire, whether they were connected or not', async () => {
    const expired = async (): Promise<number> => {
      const counts = [1, 2].map(index => cluster.node(index).metric('midge_sessions_expired_total'))
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
    }
    await until('two sessions to expire', async () => (await expired()) >= 2, DEATH_MS)
    for (const clientId of ['short-disconnected', 'short-connected']) {
      const back = await cluster.raw(2, 5, { clientId, clean: false })
      assert.equal(back.connack?.sessionPresent, false, clientId)
      await publisher.publish(`short/${clientId}`, 'for nobody', 1)
      await back.expectSilence()
      await back.disconnect()
    }
  })

  it('a node that comes back under its old name before it was declared dead lets the wills of its clients go, once', async () => {
    await cluster.raw(2, 5, { clientId: 'will-restart', ...will('of a restarted node') })
    await cluster.node(2).kill9()
    await cluster.node(2).restart()
    const seen = (): string => `(seen: ${seenWills.join(', ')})`
    await until('the will', () => seenWills.includes('of a restarted node'), DEATH_MS, seen)
    const settledAtMs = Date.now() + 2500
    await until('more sweeps', () => Date.now() > settledAtMs)
    assert.equal(seenWills.filter(text => text === 'of a restarted node').length, 1)
    watcher.drop()
    await publisher.end()
  })
})
