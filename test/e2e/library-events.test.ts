import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import type { AedesPublishPacket } from 'aedes'
import { BROKER_KINDS, type ListeningBroker, listen } from '../support/library-brokers.ts'
import { until } from '../support/until.ts'

const LIFE = ['client', 'connackSent', 'clientReady', 'clientDisconnect', 'clientError', 'connectionError'] as const

/** Notes the events of connections, each as `event clientId`. */
function noteLife({ broker }: ListeningBroker): string[] {
  const noted: string[] = []
  for (const event of LIFE) {
    const note = (first: { id?: string | null }, second?: { id?: string }): void => {
      noted.push(`${event} ${event === 'connackSent' ? second?.id : first.id}`)
    }
    // One listener for events of several signatures.
    broker.on(event as 'client', note)
  }
  return noted
}

for (const kind of BROKER_KINDS) {
  describe(`events of ${kind.name}`, () => {
    it('client, connackSent, clientReady, clientDisconnect come in this order, and the registry follows', async t => {
      const node = await listen(t, kind)
      const noted = noteLife(node)
      const states: unknown[] = []
      node.broker.on('client', client => states.push([client.connecting, client.connected, client.closed]))
      node.broker.on('clientReady', client => states.push([client.connecting, client.connected, client.closed]))
      node.broker.on('clientDisconnect', client => states.push([client.connecting, client.connected, client.closed]))
      assert.equal(node.broker.connectedClients, 0)
      const client = await node.connect('a')
      await until('clientReady', () => noted.length === 3)
      assert.equal(node.broker.connectedClients, 1)
      assert.deepEqual(Object.keys(node.broker.clients), ['a'])
      assert.equal(node.client('a').connected, true)
      await client.end()
      await until('clientDisconnect', () => noted.length === 4)
      assert.deepEqual(noted, ['client a', 'connackSent a', 'clientReady a', 'clientDisconnect a'])
      assert.deepEqual(states, [
        [true, false, false],
        [false, true, false],
        [false, false, true],
      ])
      assert.equal(node.broker.connectedClients, 0)
      assert.deepEqual(Object.keys(node.broker.clients), [])
    })

    it('connackSent: carries the packet', async t => {
      const node = await listen(t, kind)
      const sent: unknown[] = []
      node.broker.on('connackSent', ({ cmd, returnCode, sessionPresent }) =>
        sent.push([cmd, returnCode, sessionPresent]),
      )
      const first = await node.connect('a', { clean: false })
      await first.subscribe('t', 1)
      await first.end()
      await until('the end of the connection', () => node.broker.connectedClients === 0)
      await node.connect('a', { clean: false })
      await until('two events', () => sent.length === 2)
      assert.deepEqual(sent, [
        ['connack', 0, false],
        ['connack', 0, true],
      ])
    })

    it('the newest connection of a client id is the one that stays', async t => {
      const node = await listen(t, kind)
      const first = await node.connect('a')
      const second = await node.connect('a')
      await first.untilClosed()
      await second.publish('t', 'x', 1)
      assert.equal(node.broker.connectedClients, 1)
      assert.equal(node.client('a').closed, false)
    })

    it('connectionError: bytes that are not MQTT, from a client that has no id yet', async t => {
      const node = await listen(t, kind)
      const noted = noteLife(node)
      const stranger = connect(node.port, '127.0.0.1', () => stranger.write(Buffer.from([0, 0])))
      stranger.on('error', () => undefined)
      await until('connectionError', () => noted.some(line => line.startsWith('connectionError')))
      assert.deepEqual(noted.slice(-1), ['connectionError null'])
      stranger.destroy()
    })

    it('clientError: a packet that a client must not send', async t => {
      const node = await listen(t, kind)
      const noted = noteLife(node)
      const client = await node.connect('a')
      client.client.stream.write(Buffer.from([0xf0, 0xff, 0xff, 0xff, 0xff, 0xff]))
      await client.untilClosed()
      await until('clientDisconnect', () => noted.includes('clientDisconnect a'))
      assert.ok(noted.includes('clientError a'))
    })

    it('keepaliveTimeout: comes before the end of a client that is silent', { timeout: 20_000 }, async t => {
      const node = await listen(t, kind)
      const noted = noteLife(node)
      node.broker.on('keepaliveTimeout', client => noted.push(`keepaliveTimeout ${client.id}`))
      const silent = connect(node.port, '127.0.0.1')
      // CONNECT of MQTT 3.1.1, clean, keep-alive 1 s, client id 'a'.
      silent.write(Buffer.from([0x10, 13, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 1, 0, 1, ...Buffer.from('a')]))
      silent.on('error', () => undefined)
      await until('the end of the connection', () => noted.includes('clientDisconnect a'), 15_000)
      assert.deepEqual(noted.slice(3), ['keepaliveTimeout a', 'clientError a', 'clientDisconnect a'])
    })

    it('publish: every message of clients, of the broker, and wills', async t => {
      const node = await listen(t, kind)
      const seen: unknown[] = []
      node.broker.on('publish', (packet, client) => {
        if (packet.topic.startsWith('$SYS/')) return
        const { cmd, topic, payload, qos, retain, dup } = packet
        seen.push([client?.id ?? null, cmd, topic, payload.toString(), qos, retain, dup])
      })
      const will = { topic: 'will', payload: Buffer.from('w'), qos: 0, retain: false } as const
      const client = await node.connect('a', { will })
      await client.publish('t', '1', 1)
      await client.publish('t', '2', 2, true)
      await node.publish({ topic: 't', payload: '3' })
      await until('three messages', () => seen.length === 3)
      await client.drop()
      await until('the will', () => seen.length === 4)
      assert.deepEqual(seen.slice(0, 3), [
        ['a', 'publish', 't', '1', 1, false, false],
        ['a', 'publish', 't', '2', 2, true, false],
        [null, 'publish', 't', '3', 0, false, false],
      ])
      assert.deepEqual((seen[3] as unknown[]).slice(2, 6), ['will', 'w', 0, false])
    })

    for (const clean of [true, false]) {
      it(`ack: the message at QoS 1, PUBREL at QoS 2, of a session that is ${clean ? '' : 'not '}clean`, async t => {
        const node = await listen(t, kind)
        const seen: unknown[] = []
        node.broker.on('ack', (packet, client) => {
          const message = packet as Partial<AedesPublishPacket> | undefined
          seen.push([message?.cmd, message?.topic, message?.payload?.toString(), client.id])
        })
        const client = await node.connect('a', { clean })
        await client.subscribe('t', 2)
        await node.publish({ topic: 't', payload: 'none', qos: 0 })
        await node.publish({ topic: 't', payload: 'one', qos: 1 })
        await until('the first acknowledgement', () => seen.length === 1)
        await node.publish({ topic: 't', payload: 'two', qos: 2 })
        await until('the second acknowledgement', () => seen.length === 2)
        // Stock Aedes finds nothing to show for a clean session.
        if (clean && kind.name === 'Aedes') assert.deepEqual(seen[0], [undefined, undefined, undefined, 'a'])
        else assert.deepEqual(seen[0], ['publish', 't', 'one', 'a'])
        if (clean && kind.name === 'Aedes') assert.deepEqual(seen[1], [undefined, undefined, undefined, 'a'])
        else assert.deepEqual([(seen[1] as unknown[])[0], (seen[1] as unknown[])[3]], ['pubrel', 'a'])
      })
    }

    it('ack: of a message to a group of three', async t => {
      const node = await listen(t, kind)
      const acked = new Set<string>()
      node.broker.on('ack', (_packet, client) => acked.add(client.id))
      for (const id of ['a', 'b', 'c', 'd']) await (await node.connect(id)).subscribe('t', 1)
      await node.publish({ topic: 't', payload: 'x', qos: 1 })
      await until('four acknowledgements', () => acked.size === 4)
    })

    it('subscribe and unsubscribe: what was asked for, with what was granted', async t => {
      const node = await listen(t, kind)
      const seen: unknown[] = []
      node.broker.on('subscribe', (subscriptions, client) =>
        seen.push(['+', subscriptions.map(({ topic, qos }) => [topic, qos]), client.id]),
      )
      node.broker.on('unsubscribe', (topics, client) => seen.push(['-', topics, client.id]))
      const client = await node.connect('a')
      await client.subscribe(['x', 'y/#'], 1)
      await client.client.unsubscribeAsync('x')
      await until('two events', () => seen.length === 2)
      await client.end()
      await until('the last event', () => seen.length === 3)
      assert.deepEqual(seen, [
        [
          '+',
          [
            ['x', 1],
            ['y/#', 1],
          ],
          'a',
        ],
        ['-', ['x'], 'a'],
        // A clean session ends with its connection.
        ['-', ['y/#'], 'a'],
      ])
    })

    it('ping: carries PINGREQ', async t => {
      const node = await listen(t, kind)
      const seen: unknown[] = []
      node.broker.on('ping', (packet, client) => seen.push([packet.cmd, client.id]))
      const client = await node.connect('a')
      client.client.stream.write(Buffer.from([0xc0, 0]))
      await until('ping', () => seen.length > 0)
      assert.deepEqual(seen, [['pingreq', 'a']])
    })

    it('closed: after close() every client is gone', async t => {
      const node = await listen(t, kind)
      const noted = noteLife(node)
      node.broker.on('closed', () => noted.push('closed'))
      const client = await node.connect('a')
      await until('clientReady', () => noted.includes('clientReady a'))
      assert.equal(node.broker.closed, false)
      await new Promise<void>(resolve => node.broker.close(resolve))
      assert.equal(node.broker.closed, true)
      await client.untilClosed()
      assert.deepEqual(noted.slice(-2), ['clientDisconnect a', 'closed'])
      await new Promise<void>(resolve => node.broker.close(resolve))
    })
  })
}
