import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, it } from 'node:test'
import type { Client, PublishPacket } from 'aedes'
import { BROKER_KINDS, listen } from '../support/library-brokers.ts'
import { until, within } from '../support/until.ts'

function message(topic: string, payload: string, qos: 0 | 1 | 2): PublishPacket {
  return { cmd: 'publish', topic, payload, qos, retain: false, dup: false }
}

/** A call that answers by a callback. */
function called(what: string, call: (done: (error?: Error | null) => void) => void): Promise<void> {
  const answer = new Promise<void>((resolve, reject) => call(error => (error ? reject(error) : resolve())))
  return within(what, answer)
}

for (const kind of BROKER_KINDS) {
  describe(`the client of ${kind.name}`, () => {
    it('handle() gives the client, which is the one that hooks and events see', async t => {
      const node = await listen(t, kind)
      const handled: Client[] = []
      const { handle } = node.broker
      node.broker.handle = (stream, request) => {
        const client = handle(stream, request)
        handled.push(client)
        return client
      }
      let connected = 0
      node.broker.on('client', client => client.on('connected', () => connected++))
      await node.connect('a')
      await until('connected', () => connected === 1)
      assert.equal(handled[0], node.client('a'))
    })

    it('says who it is', async t => {
      const node = await listen(t, kind)
      await node.connect('a')
      await node.connect('b', { clean: false, protocolVersion: 3, protocolId: 'MQIsdp' })
      const { id, clean, version, connecting, connected, closed, req, conn } = node.client('a')
      assert.deepEqual([id, clean, version, connecting, connected, closed], ['a', true, 4, false, true, false])
      assert.equal(req, undefined)
      assert.ok('remotePort' in conn)
      assert.deepEqual([node.client('b').clean, node.client('b').version], [false, 3])
      assert.ok(node.client('a') instanceof EventEmitter)
      assert.deepEqual(node.client('a').subscriptions, Object.create(null))
    })

    it('a client without an id gets one', async t => {
      const node = await listen(t, kind)
      const seen: string[] = []
      node.broker.on('client', client => seen.push(client.id))
      await node.connect('')
      await until('client', () => seen.length === 1)
      assert.ok((seen[0] ?? '').length > 10)
      assert.equal(node.client(seen[0] ?? '').id, seen[0])
    })

    for (const qos of [0, 1, 2] as const) {
      for (const clean of [true, false]) {
        it(`publish: to this client alone, QoS ${qos}, ${clean ? 'clean' : 'stored'} session`, async t => {
          const node = await listen(t, kind)
          const client = await node.connect('a', { clean })
          const other = await node.connect('other')
          for (const one of [client, other]) await one.subscribe('t', 2)
          await called('publish', done => node.client('a').publish(message('t', 'for you', qos), done))
          await client.untilReceived(1)
          assert.deepEqual(
            client.received.map(({ topic, text, qos }) => [topic, text, qos]),
            [['t', 'for you', qos]],
          )
          await node.publish({ topic: 't', payload: 'for all' })
          await other.untilReceived(1)
          assert.deepEqual(other.texts(), ['for all'])
        })
      }
    }

    it('publish: needs no subscription of the client', async t => {
      const node = await listen(t, kind)
      const client = await node.connect('a')
      await called('publish', done => node.client('a').publish(message('unasked', 'x', 1), done))
      assert.equal((await client.untilReceived(1))[0]?.topic, 'unasked')
    })

    it('subscribe: one, many, or a SUBSCRIBE packet; the hook is asked and retained messages come', async t => {
      const asked: string[] = []
      const node = await listen(t, kind, {
        authorizeSubscribe: (_client, subscription, done) => {
          asked.push(subscription.topic)
          done(null, subscription)
        },
      })
      await node.publish({ topic: 'kept', payload: 'kept', retain: true })
      const events: unknown[] = []
      node.broker.on('subscribe', (subscriptions, client) =>
        events.push([subscriptions.map(({ topic, qos }) => [topic, qos]), client.id]),
      )
      const client = await node.connect('a')
      const view = node.client('a')
      await called('one', done => view.subscribe({ topic: 'one', qos: 1 }, done))
      await called('many', done =>
        view.subscribe(
          [
            { topic: 'two', qos: 0 },
            { topic: 'kept', qos: 0 },
          ],
          done,
        ),
      )
      await called('packet', done => view.subscribe({ subscriptions: [{ topic: 'three/#', qos: 1 }] }, done))
      assert.deepEqual(asked, ['one', 'two', 'kept', 'three/#'])
      assert.deepEqual(Object.keys(view.subscriptions).sort(), ['kept', 'one', 'three/#', 'two'])
      assert.equal(view.subscriptions['one']?.qos, 1)
      await client.untilReceived(1)
      await node.publish({ topic: 'one', payload: '1', qos: 1 })
      await node.publish({ topic: 'three/x', payload: '3', qos: 1 })
      await client.untilReceived(3)
      assert.deepEqual(client.texts(), ['kept', '1', '3'])
      assert.deepEqual(events, [
        [[['one', 1]], 'a'],
        [
          [
            ['two', 0],
            ['kept', 0],
          ],
          'a',
        ],
        [[['three/#', 1]], 'a'],
      ])
    })

    it('subscribe: survives in a stored session', async t => {
      const node = await listen(t, kind)
      const client = await node.connect('a', { clean: false })
      await called('subscribe', done => node.client('a').subscribe({ topic: 't', qos: 1 }, done))
      await client.end()
      await until('the end of the connection', () => node.broker.connectedClients === 0)
      await node.publish({ topic: 't', payload: 'waited', qos: 1 })
      const again = await node.connect('a', { clean: false })
      assert.equal((await again.untilReceived(1))[0]?.text, 'waited')
    })

    it('unsubscribe: one, many, or a packet', async t => {
      const node = await listen(t, kind)
      const events: unknown[] = []
      node.broker.on('unsubscribe', (topics, client) => events.push([topics, client.id]))
      const client = await node.connect('a')
      await client.subscribe(['one', 'two', 'three', 'stays'])
      // Aedes' types ask for objects; its code takes the filters.
      const view = node.client('a') as unknown as { unsubscribe(what: unknown, done: () => void): void }
      await called('one', done => view.unsubscribe('one', done))
      await called('many', done => view.unsubscribe(['two'], done))
      await called('packet', done => view.unsubscribe({ unsubscriptions: ['three'] }, done))
      assert.deepEqual(Object.keys(node.client('a').subscriptions), ['stays'])
      for (const topic of ['one', 'two', 'three', 'stays']) await node.publish({ topic, payload: topic })
      await client.untilReceived(1)
      assert.deepEqual(client.texts(), ['stays'])
      assert.deepEqual(events, [
        [['one'], 'a'],
        [['two'], 'a'],
        [['three'], 'a'],
      ])
    })

    it('close: ends the connection and fires the will', async t => {
      const node = await listen(t, kind)
      const watcher = await node.connect('watcher')
      await watcher.subscribe('will')
      const will = { topic: 'will', payload: Buffer.from('w'), qos: 0, retain: false } as const
      const client = await node.connect('a', { will })
      const view = node.client('a')
      await called('close', done => view.close(() => done()))
      await client.untilClosed()
      assert.equal((await watcher.untilReceived(1))[0]?.text, 'w')
      await until('the end of the connection', () => view.closed && !view.connected)
      await called('close again', done => view.close(() => done()))
    })
  })
}
