import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { TestClient } from '../support/clients.ts'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { watchNodes } from '../support/midge-node.ts'
import { seededRandom } from '../support/random.ts'
import { expectNoMessage, type RawClient, untilMarker } from '../support/raw-client.ts'
import { persistent } from '../support/sessions.ts'

const levels = [0, 1, 2] as const
const versions = [4, 5] as const
const BARRIER_ROUNDS = 500
const STORED_BARRIER_ROUNDS = 100

let cluster: MidgeCluster
before(async () => {
  // The cap of the wait is for nodes in trouble; a busy test machine must not reach it.
  cluster = await MidgeCluster.start(3, { MIDGE_SUBACK_BARRIER_MS: '4000' })
})
after(() => cluster?.stop())
watchNodes(() => cluster?.nodes ?? [])

describe('three nodes on one Redis', () => {
  for (const protocolVersion of versions) {
    it(`MQTT ${protocolVersion}: a message reaches clients of every node at each QoS, once and in order`, async () => {
      const base = `every/${protocolVersion}`
      const subscribers: TestClient[] = []
      for (const index of [0, 1, 2]) subscribers.push(await cluster.connect(index, { protocolVersion }))
      for (const subscriber of subscribers) await subscriber.subscribe(`${base}/#`, 2)
      const publisher = await cluster.connect(0, { protocolVersion })
      const expected: string[] = []
      for (let round = 0; round < 20; round++) {
        for (const qos of levels) {
          expected.push(`${base}/${qos} ${round} at ${qos}`)
          await publisher.publish(`${base}/${qos}`, `${round}`, qos)
        }
      }
      for (const subscriber of subscribers) {
        const got = await subscriber.untilReceived(expected.length)
        // The order of one topic and QoS is promised, the order between topics is not.
        for (const qos of levels) {
          const part = got.filter(message => message.topic === `${base}/${qos}`)
          assert.deepEqual(
            part.map(({ topic, text, qos: at }) => `${topic} ${text} at ${at}`),
            expected.filter(line => line.startsWith(`${base}/${qos} `)),
          )
        }
        assert.equal(got.length, expected.length)
      }
      await Promise.all([...subscribers, publisher].map(client => client.end()))
    })
  }

  it(`after SUBACK nothing is missed: ${BARRIER_ROUNDS} rounds of SUBSCRIBE here, PUBLISH there`, async () => {
    const random = seededRandom('SUBACK barrier')
    const clients = await Promise.all([0, 1, 2].map(index => cluster.raw(index, 5, { clientId: `barrier-${index}` })))
    for (let round = 0; round < BARRIER_ROUNDS; round++) {
      const at = random.whole(3)
      const subscriber = clients[at] as RawClient
      const publisher = clients[(at + 1 + random.whole(2)) % 3] as RawClient
      const topic = `barrier/${round}`
      await subscriber.subscribe(round % 2 === 0 ? topic : `${topic}/#`, 1)
      const puback = await publisher.publish(topic, `${round}`, { qos: 1 })
      assert.equal(puback?.reason, 0, `round ${round}: PUBACK must not say "no matching subscribers"`)
      const got = await subscriber.receive().catch((error: Error) => {
        throw new Error(`round ${round} (SEED=${random.seed}) was lost: ${error.message}`)
      })
      assert.deepEqual([got.topic, got.text], [topic, `${round}`])
    }
    for (const client of clients) await client.disconnect()
    const timeouts = await Promise.all(cluster.nodes.map(node => node.metric('midge_suback_barrier_timeouts_total')))
    assert.deepEqual(timeouts, [0, 0, 0], 'no SUBACK was sent because the wait was capped')
  })

  it('after SUBACK of a stored session, a message published elsewhere right after it has left is kept', async () => {
    const random = seededRandom('SUBACK barrier of stored sessions')
    const publishers = await Promise.all([0, 1, 2].map(index => cluster.raw(index, 5)))
    for (let round = 0; round < STORED_BARRIER_ROUNDS; round++) {
      const at = random.whole(3)
      const session = persistent(5, `stored-barrier-${round}`)
      const subscriber = await cluster.raw(at, 5, session)
      await subscriber.subscribe(`stored-barrier/${round}`, 1)
      subscriber.drop()
      const publisher = publishers[(at + 1) % 3] as RawClient
      const puback = await publisher.publish(`stored-barrier/${round}`, `${round}`, { qos: 1 })
      assert.equal(puback?.reason, 0)
      const back = await cluster.raw((at + 2) % 3, 5, { ...session, clean: false })
      assert.equal((await back.receive()).text, `${round}`, `round ${round}, SEED=${random.seed}`)
      await back.disconnect(0, [[0x11, 0]])
    }
    for (const publisher of publishers) await publisher.disconnect()
  })

  it('overlapping subscriptions deliver a message of another node once, at the highest QoS, with all identifiers', async () => {
    const subscriber = await cluster.raw(0, 5)
    await subscriber.subscribe('overlap/#', 0, [[0x0b, 11]])
    await subscriber.subscribe('overlap/+', 1, [[0x0b, 12]])
    await subscriber.subscribe('overlap/x', 2, [[0x0b, 13]])
    const publisher = await cluster.raw(1, 5)
    await publisher.publish('overlap/x', 'once', { qos: 2 })
    const got = await untilMarker(subscriber, publisher, 1)
    assert.deepEqual(
      got.map(({ text, qos }) => [text, qos]),
      [['once', 2]],
    )
    const identifiers = got[0]?.properties.filter(([id]) => id === 0x0b).map(([, value]) => value)
    assert.deepEqual(identifiers?.sort(), [11, 12, 13])
    subscriber.drop()
    publisher.drop()
  })

  it('a retained message of one node is found on the others, by name and by wildcard, and goes when it is removed', async () => {
    const publisher = await cluster.raw(0, 5)
    for (const qos of levels) await publisher.publish(`kept/by-qos/${qos}`, `kept ${qos}`, { qos, retain: true })
    await publisher.publish('kept/by-qos/1', 'kept 1, newer', { qos: 1, retain: true })
    for (const index of [1, 2]) {
      for (const version of versions) {
        const subscriber = await cluster.raw(index, version)
        await subscriber.subscribe('kept/by-qos/1', 1)
        const exact = await subscriber.receive()
        assert.deepEqual([exact.text, exact.retain], ['kept 1, newer', true])
        await subscriber.subscribe('kept/+/#', 2)
        const all = [await subscriber.receive(), await subscriber.receive(), await subscriber.receive()]
        assert.deepEqual(all.map(({ topic, text, retain }) => `${topic} ${text} ${retain}`).sort(), [
          'kept/by-qos/0 kept 0 true',
          'kept/by-qos/1 kept 1, newer true',
          'kept/by-qos/2 kept 2 true',
        ])
        await subscriber.disconnect()
      }
    }
    for (const qos of levels) await publisher.publish(`kept/by-qos/${qos}`, '', { qos: 1, retain: true })
    const late = await cluster.raw(1, 5)
    await late.subscribe('kept/+/#', 1)
    await expectNoMessage(late, publisher)
    late.drop()
    publisher.drop()
  })

  it('No Local holds between nodes for the same client only', async () => {
    const own = await cluster.raw(0, 5, { clientId: 'no-local-own' })
    const other = await cluster.raw(1, 5, { clientId: 'no-local-other' })
    await own.subscribe('no-local', 0b0000_0101)
    await own.publish('no-local', 'mine', { qos: 1 })
    await other.publish('no-local', 'theirs', { qos: 1 })
    assert.equal((await own.receive()).text, 'theirs')
    await expectNoMessage(own, other)
    own.drop()
    other.drop()
  })
})
