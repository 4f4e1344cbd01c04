import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { PASSWORD, USER, watchNodes } from '../support/midge-node.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { type ConnectFields, P, type Packet, Type } from '../support/mqtt-bytes.ts'
import { seededRandom } from '../support/random.ts'
import { expectNoMessage, RawClient } from '../support/raw-client.ts'
import { numbered, persistent } from '../support/sessions.ts'
import { until } from '../support/until.ts'

const versions = [4, 5] as const
const SESSION_TAKEN_OVER = 0x8e
const RACE_ROUNDS = 100

let cluster: MidgeCluster
before(async () => {
  cluster = await MidgeCluster.start(3)
})
after(() => cluster?.stop())
watchNodes(() => cluster?.nodes ?? [])

describe('a session moves between nodes', () => {
  it('the second connection of a client id ends the first one on another node with 0x8E', async () => {
    const first = await cluster.raw(0, 5, { clientId: 'moves' })
    const second = await cluster.raw(1, 5, { clientId: 'moves' })
    await first.expectClose({ reason: SESSION_TAKEN_OVER })
    await second.ping()
    const third = await cluster.raw(0, 5, { clientId: 'moves' })
    await second.expectClose({ reason: SESSION_TAKEN_OVER })
    await third.ping()
    await third.disconnect()
    const old = await cluster.raw(0, 4, { clientId: 'moves-4' })
    const young = await cluster.raw(2, 4, { clientId: 'moves-4' })
    await old.expectClose()
    await young.ping()
    await young.disconnect()
  })

  it('the will of a connection displaced from another node is published, unless the session goes on and its delay runs', async () => {
    const watcher = await cluster.raw(2, 5)
    await watcher.subscribe('displaced/#', 1)
    const withWill = (name: string, delaySeconds: number): ConnectFields => ({
      will: { topic: `displaced/${name}`, payload: name, qos: 1, properties: [[P.willDelay, delaySeconds]] },
    })
    const delayed = persistent(5, 'displaced-delayed', withWill('delayed', 60))
    await cluster.raw(0, 5, delayed)
    const delayedAgain = await cluster.raw(1, 5, delayed)
    const immediate = { ...withWill('immediate', 0), clientId: 'displaced-immediate' }
    await cluster.raw(0, 5, immediate)
    const immediateAgain = await cluster.raw(1, 5, { clientId: 'displaced-immediate' })
    assert.equal((await watcher.receive()).text, 'immediate')
    await expectNoMessage(watcher)
    await delayedAgain.disconnect()
    await immediateAgain.disconnect()
    await watcher.disconnect()
  })

  it(`${RACE_ROUNDS} races of two connects on different nodes leave exactly one connection alive`, async () => {
    const random = seededRandom('racing connects')
    const helper = await cluster.raw(0, 5)
    for (let round = 0; round < RACE_ROUNDS; round++) {
      const at = random.whole(3)
      const nodes = [at, (at + 1 + random.whole(2)) % 3]
      const clientId = `racer-${round}`
      const fields = random.whole(2) === 0 ? { clientId } : persistent(5, clientId)
      const racers = await Promise.all(nodes.map(index => RawClient.open('127.0.0.1', cluster.node(index).port, 5)))
      for (const racer of racers) racer.send(mqtt.connect(5, fields))
      const winner = await until(
        `round ${round} (SEED=${random.seed}): one of two connections to end`,
        () => (racers.some(racer => racer.closed) ? racers.find(racer => !racer.closed) : undefined),
        10_000,
        () => `closed: ${racers.map(racer => racer.closed)}`,
      )
      assert.equal((await winner.expect(Type.CONNACK)).reason, 0)
      for (const loser of racers.filter(racer => racer !== winner)) {
        assert.ok(loser.closed, `round ${round}: a loser is closed`)
        assert.ok(await wasTakenOver(loser), `round ${round} (SEED=${random.seed}): the loser is told 0x8E`)
      }
      await winner.subscribe(`race/${round}`, 1)
      await helper.publish(`race/${round}`, `${round}`, { qos: 1 })
      assert.equal((await winner.receive()).text, `${round}`)
      await winner.disconnect(0, [[P.sessionExpiry, 0]])
    }
    await helper.disconnect()
  })
})

/** Reads a closed connection to its end. */
async function wasTakenOver(client: RawClient): Promise<boolean> {
  let last: Packet | undefined
  for (let packet = await client.next(); packet !== undefined; packet = await client.next()) last = packet
  return last?.type === Type.DISCONNECT && last.reason === SESSION_TAKEN_OVER
}

for (const version of versions) {
  describe(`MQTT ${version}: deliveries go on at another node`, () => {
    it('unacknowledged QoS 1 messages come again with DUP and the same packet ids, in order and before newer ones', async () => {
      const session = persistent(version, `again-${version}`)
      const topic = `again/${version}`
      const first = await cluster.raw(0, version, session)
      await first.subscribe(topic, 1)
      const publisher = await cluster.raw(2, version)
      for (const text of numbered(6)) await publisher.publish(topic, text, { qos: 1 })
      const sent: Packet[] = []
      while (sent.length < 6) sent.push(await first.waitFor(Type.PUBLISH))
      assert.deepEqual(
        sent.map(({ text, dup }) => [text, dup]),
        numbered(6).map(text => [text, false]),
      )
      // The first two only; the acknowledgement has to be with the store before the connection goes.
      for (const packet of sent.slice(0, 2)) first.send(mqtt.ack(Type.PUBACK, packet.packetId))
      await first.ping()
      await cluster.drop(0, first)
      await publisher.publish(topic, 'newer', { qos: 1 })

      const second = await cluster.raw(1, version, session)
      assert.equal(second.connack?.sessionPresent, true)
      const again: Packet[] = []
      while (again.length < 5) again.push(await second.waitFor(Type.PUBLISH))
      const wanted = sent.slice(2).map(({ text, packetId }) => ({ text, packetId, dup: true }))
      assert.deepEqual(
        again.slice(0, 4).map(({ text, packetId, dup }) => ({ text, packetId, dup })),
        wanted,
      )
      assert.deepEqual([again[4]?.text, again[4]?.dup], ['newer', false])
      for (const packet of again) second.send(mqtt.ack(Type.PUBACK, packet.packetId))
      await expectNoMessage(second, publisher)
      await second.disconnect()
      await publisher.disconnect()
    })

    it('QoS 2 towards a client goes on with PUBREL and the message does not come twice', async () => {
      const session = persistent(version, `rel-${version}`)
      const topic = `rel/${version}`
      const first = await cluster.raw(0, version, session)
      await first.subscribe(topic, 2)
      const publisher = await cluster.raw(1, version)
      await publisher.publish(topic, 'exactly once', { qos: 2 })
      const message = await first.waitFor(Type.PUBLISH)
      assert.deepEqual([message.text, message.qos], ['exactly once', 2])
      first.send(mqtt.ack(Type.PUBREC, message.packetId))
      await first.waitFor(Type.PUBREL)
      first.drop()

      const second = await cluster.raw(2, version, session)
      assert.equal((await second.expect(Type.PUBREL)).packetId, message.packetId)
      second.send(mqtt.ack(Type.PUBCOMP, message.packetId))
      await expectNoMessage(second, publisher)
      await second.disconnect()

      const third = await cluster.raw(1, version, session)
      await third.expectSilence()
      await third.disconnect()
      await publisher.disconnect()
    })

    it('QoS 2 from a client, repeated with DUP at another node, is delivered once', async () => {
      const subscriber = await cluster.raw(2, version, persistent(version, `in-sub-${version}`))
      const topic = `in/${version}`
      await subscriber.subscribe(topic, 2)
      const session = persistent(version, `in-${version}`)
      const first = await cluster.raw(0, version, session)
      const message = { topic, payload: 'exactly once', qos: 2, packetId: 77 }
      first.send(mqtt.publish(version, message))
      await first.waitFor(Type.PUBREC)
      first.drop()

      const second = await cluster.raw(1, version, session)
      assert.equal(second.connack?.sessionPresent, true)
      second.send(mqtt.publish(version, { ...message, dup: true }))
      assert.equal((await second.waitFor(Type.PUBREC)).reason, 0)
      second.send(mqtt.ack(Type.PUBREL, 77))
      assert.equal((await second.waitFor(Type.PUBCOMP)).reason, 0)
      assert.equal((await subscriber.receive()).text, 'exactly once')
      await expectNoMessage(subscriber, second, 2)

      // The id is free again: the same bytes are now a new message.
      second.send(mqtt.publish(version, { ...message, payload: 'the next one' }))
      await second.waitFor(Type.PUBREC)
      second.send(mqtt.ack(Type.PUBREL, 77))
      await second.waitFor(Type.PUBCOMP)
      assert.equal((await subscriber.receive()).text, 'the next one')
      await second.disconnect()
      await subscriber.disconnect()
    })
  })
}

describe('subscriptions of a session move with it', () => {
  it('a subscription made on one node works on the next, and UNSUBSCRIBE there ends it everywhere', async () => {
    const session = persistent(5, 'wanderer', { username: USER, password: PASSWORD })
    const publisher = await cluster.raw(0, 5)
    const first = await cluster.raw(0, 5, session)
    await first.subscribe('wander', 1)
    await first.disconnect()
    const second = await cluster.raw(1, 5, session)
    await publisher.publish('wander', 'still here', { qos: 1 })
    assert.equal((await second.receive()).text, 'still here')
    await second.unsubscribe('wander')
    await second.disconnect()
    const third = await cluster.raw(2, 5, session)
    await publisher.publish('wander', 'not any more', { qos: 1 })
    await expectNoMessage(third, publisher)
    await third.disconnect()
    await publisher.disconnect()
  })

  it('a clean start on another node ends the session, its queue and its subscriptions', async () => {
    const session = persistent(5, 'fresh')
    const publisher = await cluster.raw(2, 5)
    const first = await cluster.raw(0, 5, session)
    await first.subscribe('fresh', 1)
    await first.disconnect()
    await publisher.publish('fresh', 'queued', { qos: 1 })
    const second = await cluster.raw(1, 5, { ...session, clean: true })
    assert.equal(second.connack?.sessionPresent, false)
    await publisher.publish('fresh', 'nobody wants it', { qos: 1 })
    await expectNoMessage(second, publisher)
    await second.disconnect()
    await publisher.disconnect()
  })
})
