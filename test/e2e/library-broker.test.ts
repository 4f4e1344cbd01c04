import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, it } from 'node:test'
import { Aedes, type AedesPublishPacket } from 'aedes'
import { BROKER_KINDS, listen } from '../support/library-brokers.ts'
import { until } from '../support/until.ts'

type Deliver = (packet: AedesPublishPacket, done: () => void) => void

/** Notes what comes, each as `topic payload`. */
function noting(into: string[]): Deliver {
  return (packet, done) => {
    into.push(`${packet.topic} ${packet.payload.toString()}`)
    done()
  }
}

for (const kind of BROKER_KINDS) {
  describe(`methods of ${kind.name}`, () => {
    it('the broker is an Aedes with the id it was given', async t => {
      const { broker } = await listen(t, kind, { id: 'broker-7' })
      assert.ok(broker instanceof Aedes)
      assert.ok(broker instanceof EventEmitter)
      assert.equal(broker.id, 'broker-7')
      assert.equal(broker.closed, false)
      assert.equal(broker.connectedClients, 0)
      assert.deepEqual(Object.keys(broker.brokers), [])
    })

    it('subscribe: messages of clients at every QoS, of the broker, and wills', async t => {
      const node = await listen(t, kind)
      const seen: unknown[] = []
      await node.subscribe('t/+', (packet, done) => {
        const { cmd, topic, payload, qos, retain } = packet
        seen.push([cmd, topic, payload.toString(), qos, retain])
        done()
      })
      const will = { topic: 't/will', payload: Buffer.from('w'), qos: 1, retain: false } as const
      const client = await node.connect('a', { will })
      for (const qos of [0, 1, 2] as const) await client.publish('t/c', `c${qos}`, qos)
      await client.publish('other', 'x', 1)
      await node.publish({ topic: 't/b', payload: 'b', qos: 1, retain: true })
      await client.drop()
      await until('five messages', () => seen.length === 5)
      assert.deepEqual(seen, [
        ['publish', 't/c', 'c0', 0, false],
        ['publish', 't/c', 'c1', 1, false],
        ['publish', 't/c', 'c2', 2, false],
        ['publish', 't/b', 'b', 1, true],
        ['publish', 't/will', 'w', 1, false],
      ])
    })

    it('subscribe: many messages of one write come in their order', async t => {
      const node = await listen(t, kind)
      const seen: string[] = []
      await node.subscribe('t', noting(seen))
      const client = await node.connect('a')
      for (let i = 0; i < 50; i++) client.client.publish('t', String(i))
      await until('fifty messages', () => seen.length === 50)
      assert.deepEqual(
        seen,
        Array.from({ length: 50 }, (_, i) => `t ${i}`),
      )
    })

    it('subscribe: the packet says which client it came from', async t => {
      const node = await listen(t, kind)
      const seen: unknown[] = []
      await node.subscribe('t', (packet, done) => {
        seen.push('clientId' in packet ? packet.clientId : undefined)
        done()
      })
      const client = await node.connect('a')
      await client.publish('t', 'x', 1)
      await node.publish({ topic: 't' })
      await until('two messages', () => seen.length === 2)
      assert.deepEqual(seen, ['a', undefined])
    })

    it('subscribe: a function for two filters is called for each that matches', async t => {
      const node = await listen(t, kind)
      const seen: string[] = []
      const note = noting(seen)
      await node.subscribe('t', note)
      await node.subscribe('#', note)
      await node.publish({ topic: 't', payload: 'x' })
      await until('two calls', () => seen.length === 2)
      await node.unsubscribe('t', note)
      await node.publish({ topic: 't', payload: 'y' })
      await node.publish({ topic: 'end' })
      await until('the end', () => seen.includes('end '))
      assert.deepEqual(seen, ['t x', 't x', 't y', 'end '])
    })

    it('subscribe: twice with the same function calls it twice, and one unsubscribe takes one away', async t => {
      const node = await listen(t, kind)
      const seen: string[] = []
      const note = noting(seen)
      await node.subscribe('t', note)
      await node.subscribe('t', note)
      await node.publish({ topic: 't', payload: 'x' })
      await until('two calls', () => seen.length === 2)
      await node.unsubscribe('t', note)
      await node.publish({ topic: 't', payload: 'y' })
      await node.subscribe('end', note)
      await node.publish({ topic: 'end' })
      await until('the end', () => seen.includes('end '))
      assert.deepEqual(seen, ['t x', 't x', 't y', 'end '])
    })

    it('unsubscribe: of a function that was never there changes nothing', async t => {
      const node = await listen(t, kind)
      const seen: string[] = []
      await node.subscribe('t', noting(seen))
      await node.unsubscribe('t', () => assert.fail('never subscribed'))
      await node.publish({ topic: 't', payload: 'x' })
      await until('a message', () => seen.length === 1)
    })

    it('subscribe: a function may unsubscribe itself', async t => {
      const node = await listen(t, kind)
      const seen: string[] = []
      const once: Deliver = (packet, done) => {
        seen.push(packet.payload.toString())
        node.broker.unsubscribe('t', once, () => seen.push('off'))
        done()
      }
      await node.subscribe('t', once)
      await node.publish({ topic: 't', payload: 'x' })
      await until('off', () => seen.includes('off'))
      await node.publish({ topic: 't', payload: 'y' })
      assert.deepEqual(seen, ['x', 'off'])
    })

    it('subscribe: retained messages of before do not come', async t => {
      const node = await listen(t, kind)
      await node.publish({ topic: 't', payload: 'old', retain: true })
      const seen: string[] = []
      await node.subscribe('t', noting(seen))
      await node.publish({ topic: 't', payload: 'new', retain: true })
      await until('a message', () => seen.length > 0)
      assert.deepEqual(seen, ['t new'])
    })

    it('publish: clients get it at the QoS of their subscription; text, bytes and nothing for a payload', async t => {
      const node = await listen(t, kind)
      const client = await node.connect('a')
      await client.subscribe('t', 1)
      await node.publish({ topic: 't', payload: 'text', qos: 2 })
      await node.publish({ topic: 't', payload: Buffer.from('bytes'), qos: 1 })
      await new Promise<void>((resolve, reject) => {
        // Fields that a program leaves out.
        const bare = { topic: 't' } as Parameters<Aedes['publish']>[0]
        node.broker.publish(bare, error => (error ? reject(error) : resolve()))
      })
      await client.untilReceived(3)
      assert.deepEqual(client.received.map(({ text, qos }) => [text, qos]).sort(), [
        ['', 0],
        ['bytes', 1],
        ['text', 1],
      ])
    })

    it('publish: a session that is away gets it later; a retained one is kept', async t => {
      const node = await listen(t, kind)
      const client = await node.connect('a', { clean: false })
      await client.subscribe('t', 1)
      await client.end()
      await until('the end of the connection', () => node.broker.connectedClients === 0)
      await node.publish({ topic: 't', payload: 'waited', qos: 1, retain: true })
      const again = await node.connect('a', { clean: false })
      assert.equal((await again.untilReceived(1))[0]?.text, 'waited')
      const late = await node.connect('late')
      await late.subscribe('t', 1)
      assert.equal((await late.untilReceived(1))[0]?.retain, true)
    })

    it('publish: too many levels are refused with an error', async t => {
      const node = await listen(t, kind)
      await assert.rejects(node.publish({ topic: Array.from({ length: 2000 }, () => 'x').join('/') }))
    })

    it('publish: hooks for what clients may publish are not asked', async t => {
      const node = await listen(t, kind, { authorizePublish: (_client, _packet, done) => done(new Error('nobody')) })
      const client = await node.connect('a')
      await client.subscribe('t')
      await node.publish({ topic: 't', payload: 'x' })
      assert.equal((await client.untilReceived(1))[0]?.text, 'x')
    })

    it('mq: on() hears clients and the broker, emit() reaches clients and subscribe(), removeListener() ends it', async t => {
      const node = await listen(t, kind)
      const { mq } = node.broker
      const heard: string[] = []
      const subscribed: string[] = []
      const note = noting(heard)
      await new Promise<void>(resolve => mq.on('t/#', note, resolve))
      await node.subscribe('t/+', noting(subscribed))
      const client = await node.connect('a')
      await client.subscribe('t/#', 1)
      await client.publish('t/1', 'from the client', 1)
      await node.publish({ topic: 't/2', payload: 'from the broker' })
      await new Promise<void>(resolve => mq.emit({ topic: 't/3', payload: Buffer.from('emitted') }, () => resolve()))
      await client.untilReceived(3)
      assert.deepEqual(heard, ['t/1 from the client', 't/2 from the broker', 't/3 emitted'])
      assert.deepEqual(subscribed, heard)
      assert.deepEqual(client.texts().sort(), ['emitted', 'from the broker', 'from the client'])
      await new Promise<void>(resolve => mq.removeListener('t/#', note, resolve))
      await client.publish('t/4', 'unheard', 1)
      await until('the other one', () => subscribed.length === 4)
      assert.equal(heard.length, 3)
    })

    it('mq: what it emits is not kept for a session that is away', async t => {
      const node = await listen(t, kind)
      const client = await node.connect('a', { clean: false })
      await client.subscribe('t', 1)
      await client.end()
      await until('the end of the connection', () => node.broker.connectedClients === 0)
      await new Promise<void>(resolve =>
        node.broker.mq.emit({ topic: 't', payload: Buffer.from('lost'), qos: 1 }, () => resolve()),
      )
      await node.publish({ topic: 't', payload: 'kept', qos: 1 })
      const again = await node.connect('a', { clean: false })
      await again.untilReceived(1)
      assert.deepEqual(again.texts(), ['kept'])
    })

    it('$SYS: connections and subscriptions are announced to those who subscribe to it', async t => {
      const node = await listen(t, kind, { id: 'sys' })
      const seen: string[] = []
      const note = noting(seen)
      for (const name of ['new/clients', 'disconnect/clients', 'new/subscribes', 'new/unsubscribes']) {
        await node.subscribe(`$SYS/+/${name}`, note)
      }
      const client = await node.connect('a')
      await client.subscribe('t', 1)
      await client.client.unsubscribeAsync('t')
      await client.end()
      await until('four announcements', () => seen.length === 4)
      const shape = seen.map(line => line.replace(/"qos":1[^}]*/, '"qos":1'))
      assert.deepEqual(shape, [
        '$SYS/sys/new/clients a',
        '$SYS/sys/new/subscribes {"clientId":"a","subs":[{"topic":"t","qos":1}]}',
        '$SYS/sys/new/unsubscribes {"clientId":"a","subs":["t"]}',
        '$SYS/sys/disconnect/clients a',
      ])
    })
  })
}
