import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { AedesPublishPacket } from 'aedes'
import {
  type BrokerKind,
  type LibraryOptions,
  type ListeningBroker,
  listen,
  openOnRedis,
} from '../support/library-brokers.ts'
import { until } from '../support/until.ts'

let clusters = 0

/** Two brokers of one cluster that know each other. */
async function listenTwice(
  t: TestContext,
  optionsOfA: LibraryOptions = {},
  optionsOfB: LibraryOptions = {},
): Promise<[ListeningBroker, ListeningBroker]> {
  const keyPrefix = `pair-${++clusters}`
  const kind: BrokerKind = { name: 'Midge on Redis', open: options => openOnRedis(keyPrefix, options) }
  const a = await listen(t, kind, { id: 'a', ...optionsOfA })
  const b = await listen(t, kind, { id: 'b', ...optionsOfB })
  await until('each to know the other', () => 'b' in a.broker.brokers && 'a' in b.broker.brokers)
  return [a, b]
}

function noting(into: string[]): (packet: AedesPublishPacket, done: () => void) => void {
  return (packet, done) => {
    into.push(`${packet.topic} ${packet.payload.toString()} ${packet.qos}`)
    done()
  }
}

describe('two brokers on one Redis', () => {
  it('subscribe() on one hears what is published on the other, by its clients and by itself', async t => {
    const [a, b] = await listenTwice(t)
    const heard: string[] = []
    await b.subscribe('t/#', noting(heard))
    // No waiting: once `subscribe` has called back, every node knows.
    for (const qos of [0, 1, 2] as const) await a.publish({ topic: `t/${qos}`, payload: 'broker', qos })
    await until('three of the broker', () => heard.length === 3)
    const client = await a.connect('c')
    for (const qos of [0, 1, 2] as const) await client.publish(`t/${qos}`, 'client', qos)
    await client.publish('elsewhere', 'x', 1)
    await until('six messages', () => heard.length === 6)
    assert.deepEqual(heard, [
      't/0 broker 0',
      't/1 broker 1',
      't/2 broker 2',
      't/0 client 0',
      't/1 client 1',
      't/2 client 2',
    ])
  })

  it('subscribe() on one hears many messages of one write on the other, in order', async t => {
    const [a, b] = await listenTwice(t)
    const heard: string[] = []
    await b.subscribe('t', noting(heard))
    const client = await a.connect('c')
    for (let i = 0; i < 200; i++) client.client.publish('t', String(i))
    await until('all of them', () => heard.length === 200)
    assert.deepEqual(
      heard,
      Array.from({ length: 200 }, (_, i) => `t ${i} 0`),
    )
  })

  it('after unsubscribe() nothing is sent to that node', async t => {
    const [a, b] = await listenTwice(t)
    const heard: string[] = []
    const note = noting(heard)
    await b.subscribe('t', note)
    await a.publish({ topic: 't', payload: 'first', qos: 1 })
    await until('the first', () => heard.length === 1)
    await b.unsubscribe('t', note)
    await b.subscribe('end', note)
    await a.publish({ topic: 't', payload: 'second', qos: 1 })
    await a.publish({ topic: 'end', payload: '', qos: 1 })
    await until('the end', () => heard.length === 2)
    assert.deepEqual(heard, ['t first 1', 'end  1'])
  })

  it('mq: emit() on one reaches on() and clients of the other', async t => {
    const [a, b] = await listenTwice(t)
    const heard: string[] = []
    await new Promise<void>(resolve => b.broker.mq.on('t', noting(heard), resolve))
    const client = await b.connect('c')
    await client.subscribe('t', 1)
    await new Promise<void>(resolve => a.broker.mq.emit({ topic: 't', payload: 'x' }, () => resolve()))
    await client.untilReceived(1)
    await until('the listener', () => heard.length === 1)
    assert.deepEqual(heard, ['t x 0'])
  })

  for (const clean of [true, false]) {
    it(`ack: names the message that came from the other node, ${clean ? 'clean' : 'stored'} session`, async t => {
      const [a, b] = await listenTwice(t)
      const acked: unknown[] = []
      b.broker.on('ack', (packet, client) => {
        if (packet.cmd === 'publish') acked.push([packet.topic, packet.payload.toString(), client.id])
        else acked.push([packet.cmd, client.id])
      })
      const client = await b.connect('c', { clean })
      await client.subscribe('t', 2)
      await a.publish({ topic: 't', payload: 'one', qos: 1 })
      await until('the first acknowledgement', () => acked.length === 1)
      await a.publish({ topic: 't', payload: 'two', qos: 2 })
      await until('the second acknowledgement', () => acked.length === 2)
      assert.deepEqual(acked, [
        ['t', 'one', 'c'],
        ['pubrel', 'c'],
      ])
    })
  }

  it('authorizePublish of one and authorizeForward of the other each write into a message on its way', async t => {
    const [a, b] = await listenTwice(
      t,
      {
        authorizePublish: (_client, packet, done) => {
          packet.payload = `a(${packet.payload.toString()})`
          done(null)
        },
      },
      { authorizeForward: (_client, packet) => ({ ...packet, payload: `b(${packet.payload.toString()})` }) },
    )
    const live = await b.connect('live')
    const stored = await b.connect('stored', { clean: false })
    for (const client of [live, stored]) await client.subscribe('t', 1)
    const publisher = await a.connect('p')
    await publisher.publish('t', '0', 0)
    await publisher.publish('t', '1', 1)
    for (const client of [live, stored]) {
      await client.untilReceived(2)
      // Order is kept within one QoS.
      assert.deepEqual(client.texts().sort(), ['b(a(0))', 'b(a(1))'])
    }
  })

  it('$SYS: one hears what clients of the other do', async t => {
    const [a, b] = await listenTwice(t)
    const heard: string[] = []
    await b.subscribe('$SYS/+/new/clients', noting(heard))
    await b.subscribe('$SYS/+/disconnect/clients', noting(heard))
    const client = await a.connect('c')
    await client.end()
    await until('two announcements', () => heard.length === 2)
    assert.deepEqual(heard, ['$SYS/a/new/clients c 0', '$SYS/a/disconnect/clients c 0'])
  })

  it('a client id has one connection in both: its older one is told as clientDisconnect', async t => {
    const [a, b] = await listenTwice(t)
    const gone: string[] = []
    a.broker.on('clientDisconnect', client => gone.push(client.id))
    const first = await a.connect('c')
    await b.connect('c')
    await first.untilClosed()
    await until('clientDisconnect', () => gone.length === 1)
    assert.deepEqual([a.broker.connectedClients, b.broker.connectedClients], [0, 1])
  })

  it('client.publish at QoS 1: what a stored session has not acknowledged follows it to the other node', async t => {
    const [a, b] = await listenTwice(t)
    const silent = await a.connect('c', { clean: false })
    // MQTT.js acknowledges when this calls back.
    silent.client.handleMessage = () => undefined
    a.client('c').publish({ cmd: 'publish', topic: 't', payload: 'for c', qos: 1, retain: false, dup: false })
    await silent.untilReceived(1)
    await silent.drop()
    const again = await b.connect('c', { clean: false })
    const [received] = await again.untilReceived(1)
    assert.deepEqual([received?.text, received?.dup], ['for c', true])
  })

  it('close() of one leaves the other alone, which sees it go', async t => {
    const [a, b] = await listenTwice(t)
    const client = await b.connect('c')
    await new Promise<void>(resolve => a.broker.close(resolve))
    await until('b to be alone', () => !('a' in b.broker.brokers), 30_000)
    await client.publish('t', 'x', 1)
  })
})
