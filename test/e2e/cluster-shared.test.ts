import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { watchNodes } from '../support/midge-node.ts'
import { P } from '../support/mqtt-bytes.ts'
import { numbered, persistent } from '../support/sessions.ts'
import { until } from '../support/until.ts'

const MESSAGES = 300

let cluster: MidgeCluster
before(async () => {
  cluster = await MidgeCluster.start(3)
})
after(() => cluster?.stop())
watchNodes(() => cluster?.nodes ?? [])

describe('shared subscriptions over three nodes', () => {
  for (const qos of [0, 1, 2] as const) {
    it(`QoS ${qos}: ${MESSAGES} messages reach three members on three nodes exactly once, and every member gets some`, async () => {
      const topic = `jobs/${qos}`
      const members = await Promise.all([0, 1, 2].map(index => cluster.connect(index, { protocolVersion: 5 })))
      for (const member of members) await member.subscribe(`$share/workers/${topic}`, qos)
      const publisher = await cluster.connect(1, { protocolVersion: 5 })
      const texts = numbered(MESSAGES)
      await publisher.publishAll(topic, texts, qos)
      const total = (): number => members.reduce((sum, member) => sum + member.received.length, 0)
      await until(
        'all messages',
        () => total() >= MESSAGES,
        15_000,
        () => `(${total()} of ${MESSAGES})`,
      )
      const all = members.flatMap(member => member.texts())
      assert.deepEqual(all.sort(), [...texts].sort(), 'each message exactly once')
      for (const [index, member] of members.entries()) {
        assert.ok(member.received.length > 0, `the member on node ${index} got its share`)
        assert.ok(member.received.every(message => message.qos === qos))
      }
      await Promise.all([...members, publisher].map(client => client.end()))
    })
  }

  it('a shared and an ordinary subscription of one client each get their copy', async () => {
    const both = await cluster.raw(0, 5)
    await both.subscribe('$share/twice/copies', 1)
    await both.subscribe('copies', 1)
    const publisher = await cluster.raw(1, 5)
    await publisher.publish('copies', 'copy', { qos: 1 })
    assert.deepEqual(await both.receiveTexts(2), ['copy', 'copy'])
    await both.disconnect()
    await publisher.disconnect()
  })

  it('what a member that went away had not acknowledged goes to the others', async () => {
    const name = '$share/leavers/leave'
    const leaver = await cluster.raw(0, 5, { clientId: 'leaver', properties: [[P.receiveMaximum, 20]] })
    const stayer = await cluster.raw(1, 5, { clientId: 'stayer' })
    await leaver.subscribe(name, 1)
    await stayer.subscribe(name, 1)
    const publisher = await cluster.connect(2, { protocolVersion: 5 })
    const texts = numbered(60)
    await publisher.publishAll('leave', texts, 1)
    const got = new Set<string>()
    // The stayer takes what it is given until the leaver holds something, which it never acknowledges.
    await until('the leaver to hold a message', () => leaver.queued > 0)
    leaver.drop()
    while (got.size < texts.length) {
      const packet = await stayer.receive(4000).catch((error: Error) => {
        throw new Error(`${got.size} of ${texts.length} are here: ${error.message}`)
      })
      assert.ok(!got.has(packet.text), `${packet.text} came twice to the same member`)
      got.add(packet.text)
    }
    await stayer.disconnect()
    await publisher.end()
  })

  it('a group whose members are all away keeps its backlog for the first that returns, on whichever node', async () => {
    const name = '$share/sleepers/sleep'
    const sessions = [persistent(5, 'sleeper-1'), persistent(5, 'sleeper-2')]
    for (const [index, session] of sessions.entries()) {
      const member = await cluster.raw(index, 5, session)
      await member.subscribe(name, 1)
      await member.disconnect()
    }
    const publisher = await cluster.connect(2, { protocolVersion: 5 })
    const texts = numbered(200)
    await publisher.publishAll('sleep', texts, 1)
    const back = await cluster.raw(1, 5, sessions[0])
    assert.equal(back.connack?.sessionPresent, true)
    assert.deepEqual(await back.receiveTexts(texts.length), texts, 'all of them, in order')
    await back.expectSilence()
    await back.disconnect()
    await publisher.end()
  })

  it('what a member of a killed node had not acknowledged goes to the others; nothing is lost', async () => {
    const name = '$share/mourners/mourn'
    const doomed = await cluster.raw(2, 5, { clientId: 'doomed', properties: [[P.receiveMaximum, 20]] })
    const stayer = await cluster.raw(1, 5, { clientId: 'mourner' })
    await doomed.subscribe(name, 1)
    await stayer.subscribe(name, 1)
    const publisher = await cluster.connect(0, { protocolVersion: 5 })
    const texts = numbered(60)
    await publisher.publishAll('mourn', texts, 1)
    await until('the doomed member to hold a message', () => doomed.queued > 0)
    await cluster.node(2).kill9()
    const got = new Set<string>()
    while (got.size < texts.length) {
      // The node is declared dead 15 s after its last heartbeat.
      const packet = await stayer.receive(30_000).catch((error: Error) => {
        throw new Error(`${got.size} of ${texts.length} are here: ${error.message}`)
      })
      got.add(packet.text)
    }
    await stayer.disconnect()
    await publisher.end()
  })
})
