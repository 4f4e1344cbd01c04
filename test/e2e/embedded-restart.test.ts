import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { connectClient, type TestClient } from '../support/clients.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, type Packet, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage, RawClient } from '../support/raw-client.ts'
import { numbered, persistent } from '../support/sessions.ts'
import { until } from '../support/until.ts'

const versions = [4, 5] as const

let node: MidgeNode
before(async () => {
  node = await MidgeNode.start({ onDisk: true })
})
after(() => node?.stop())
watchNodes(() => [node])

async function raw(version: 4 | 5, fields: mqtt.ConnectFields = {}): Promise<RawClient> {
  const client = await RawClient.open('127.0.0.1', node.port, version)
  await client.connect(fields)
  return client
}

async function killAndRestart(): Promise<void> {
  await node.kill9()
  await node.restart()
}

describe('one node on its embedded store, after kill -9 and a restart on the same folder', () => {
  for (const version of versions) {
    it(`MQTT ${version}: a session is there with its subscriptions and its queue, in order`, async () => {
      const session = persistent(version, `queued-${version}`)
      const away = await raw(version, session)
      await away.subscribe(`queued/${version}/+`, 1)
      await away.disconnect()
      const publisher = await connectClient({ port: node.port })
      const texts = numbered(300)
      await publisher.publishAll(`queued/${version}/x`, texts, 1)
      await killAndRestart()
      const back = await raw(version, session)
      assert.equal(back.connack?.sessionPresent, true)
      assert.deepEqual(await back.receiveTexts(texts.length), texts)
      await back.publish(`queued/${version}/y`, 'the subscription works', { qos: 1 })
      assert.equal((await back.receive()).text, 'the subscription works')
      await back.disconnect()
    })

    it(`MQTT ${version}: what was sent and not acknowledged comes again with DUP and the same packet id`, async () => {
      const session = persistent(version, `again-${version}`)
      const subscriber = await raw(version, session)
      await subscriber.subscribe(`again/${version}`, 2)
      const publisher = await raw(version)
      for (const qos of [1, 2, 2]) await publisher.publish(`again/${version}`, `at ${qos}`, { qos })
      const sent: Packet[] = []
      while (sent.length < 3) sent.push(await subscriber.waitFor(Type.PUBLISH))
      const released = sent[2]?.packetId ?? 0
      subscriber.send(mqtt.ack(Type.PUBREC, released))
      await subscriber.waitFor(Type.PUBREL)
      await killAndRestart()
      const back = await raw(version, session)
      for (const { packetId, text } of sent.slice(0, 2)) {
        const packet = await back.waitFor(Type.PUBLISH)
        assert.deepEqual([packet.packetId, packet.text, packet.dup], [packetId, text, true])
        await back.acknowledge(packet)
      }
      assert.equal((await back.waitFor(Type.PUBREL)).packetId, released)
      back.send(mqtt.ack(Type.PUBCOMP, released))
      await expectNoMessage(back)
      await back.disconnect()
    })

    it(`MQTT ${version}: QoS 2 of a publisher that repeats itself with DUP is delivered once`, async () => {
      const keeperSession = persistent(version, `once-keeper-${version}`)
      const keeper = await raw(version, keeperSession)
      await keeper.subscribe(`once/${version}`, 2)
      await keeper.disconnect()
      const session = persistent(version, `once-${version}`)
      const first = await raw(version, session)
      const message = { topic: `once/${version}`, payload: 'once', qos: 2, packetId: 9 }
      first.send(mqtt.publish(version, message))
      await first.waitFor(Type.PUBREC)
      await killAndRestart()
      const second = await raw(version, session)
      second.send(mqtt.publish(version, { ...message, dup: true }))
      await second.waitFor(Type.PUBREC)
      second.send(mqtt.ack(Type.PUBREL, 9))
      await second.waitFor(Type.PUBCOMP)
      const back = await raw(version, keeperSession)
      assert.equal((await back.receive()).text, 'once')
      await expectNoMessage(back, second, 2)
      await back.disconnect()
      await second.disconnect()
    })
  }

  it('retained messages are there, the newest of each topic; removed ones stay removed', async () => {
    const publisher = await raw(5)
    await publisher.publish('kept/a', 'old', { qos: 1, retain: true })
    await publisher.publish('kept/a', 'new', { qos: 1, retain: true })
    await publisher.publish('kept/b', 'b', { qos: 2, retain: true })
    await publisher.publish('kept/gone', 'gone', { qos: 1, retain: true })
    await publisher.publish('kept/gone', '', { qos: 1, retain: true })
    await killAndRestart()
    const late = await raw(5)
    await late.subscribe('kept/#', 1)
    const got = [await late.receive(), await late.receive()]
    assert.deepEqual(got.map(({ topic, text, retain }) => `${topic} ${text} ${retain}`).sort(), [
      'kept/a new true',
      'kept/b b true',
    ])
    await expectNoMessage(late)
    await late.disconnect()
  })

  it('the will of a client that was connected is published after the restart, once; one that said goodbye has none', async () => {
    const watcherSession = persistent(5, 'watcher')
    const watcher = await raw(5, watcherSession)
    await watcher.subscribe('wills/#', 1)
    const doomed = await raw(4, { clientId: 'doomed', will: { topic: 'wills/doomed', payload: 'gone', qos: 1 } })
    const polite = await raw(5, { clientId: 'polite', will: { topic: 'wills/polite', payload: 'never', qos: 1 } })
    await polite.disconnect()
    // The end of the polite one is with the store before what comes after it on this connection is.
    await doomed.publish('elsewhere', 'x', { qos: 1 })
    await killAndRestart()
    const back = await raw(5, watcherSession)
    assert.equal((await back.receive(10_000)).text, 'gone')
    await expectNoMessage(back)
    await back.disconnect()
  })

  it('a session that expires while the node is down is gone when it is up again', async () => {
    const short = { clientId: 'short', clean: false, properties: [[P.sessionExpiry, 1]] as const }
    const client = await raw(5, short)
    await client.subscribe('short', 1)
    const long = await raw(5, persistent(5, 'long'))
    await long.disconnect()
    await node.kill9()
    const downUntilMs = Date.now() + 1200
    await until('the session to have expired', () => Date.now() > downUntilMs)
    await node.restart()
    // A connection that the death ended counts from the restart, so this may take its second again.
    const expired = async (): Promise<boolean> => (await node.metric('midge_sessions_expired_total')) >= 1
    await until('the session to expire', expired)
    const back = await raw(5, short)
    assert.equal(back.connack?.sessionPresent, false)
    const still = await raw(5, persistent(5, 'long'))
    assert.equal(still.connack?.sessionPresent, true)
  })

  it('every message that had its PUBACK before a kill in the middle of a burst is there', async () => {
    const session = persistent(4, 'burst')
    const away = await raw(4, session)
    await away.subscribe('burst', 1)
    await away.disconnect()
    const texts = numbered(1000)
    const publisher = await raw(4)
    const acknowledged: string[] = []
    for (const [index, text] of texts.entries()) {
      publisher.send(mqtt.publish(4, { topic: 'burst', payload: text, qos: 1, packetId: index + 1 }))
    }
    const note = (puback: Packet): number => acknowledged.push(texts[puback.packetId - 1] ?? '')
    while (acknowledged.length < 100) note(await publisher.waitFor(Type.PUBACK))
    await node.kill9()
    await until('the end of the connection', () => publisher.closed)
    for (let packet = await publisher.next(); packet !== undefined; packet = await publisher.next()) note(packet)
    await node.restart()
    const back = await raw(4, session)
    const got = await back.receiveTexts(acknowledged.length)
    assert.deepEqual(got.slice(0, acknowledged.length), acknowledged)
    await back.disconnect()
  })
})

describe('SIGTERM', () => {
  it('ends the node with code 0, tells MQTT 5 clients 0x8B or 0x9C, and keeps sessions and wills right', async () => {
    const watched: TestClient = await connectClient({
      port: node.port,
      protocolVersion: 5,
      clientId: 'drained',
      anonymous: true,
      clean: false,
      properties: { sessionExpiryInterval: 300 },
    })
    await watched.subscribe('drained', 1)
    const end = await node.drain()
    assert.deepEqual(end, { code: 0, signal: null })
    await watched.untilClosed()
    assert.ok([0x8b, 0x9c].includes(watched.disconnectReason ?? 0), `reason ${watched.disconnectReason}`)
    await node.restart()
    const back = await raw(5, persistent(5, 'drained'))
    assert.equal(back.connack?.sessionPresent, true)
    await back.disconnect()
  })
})
