import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { AedesPublishPacket, Client } from 'aedes'
import type { TestClient } from '../support/clients.ts'
import { BROKER_KINDS, type LibraryClient, listen } from '../support/library-brokers.ts'
import { until, within } from '../support/until.ts'

/** A client on which a hook has left something, as programs do. */
interface Marked extends Client {
  user?: string
}

/** What the next SUBACK grants. */
function suback({ client }: TestClient): Promise<unknown> {
  return new Promise(resolve => {
    const look = (packet: { cmd?: string; granted?: unknown }): void => {
      if (packet.cmd !== 'suback') return
      client.off('packetreceive', look)
      resolve(packet.granted)
    }
    client.on('packetreceive', look)
  })
}

for (const kind of BROKER_KINDS) {
  describe(`hooks of ${kind.name}`, () => {
    it('preConnect: sees CONNECT and the stream, and refuses', async t => {
      const seen: unknown[] = []
      const node = await listen(t, kind, {
        preConnect: (client, packet, done) => {
          seen.push([client.id, client.connecting, packet.cmd, packet.clientId, packet.username, packet.keepalive])
          seen.push([packet.clean, packet.protocolVersion, packet.will?.topic, String(packet.will?.payload)])
          assert.ok('remoteAddress' in client.conn && client.conn.remoteAddress === '127.0.0.1')
          if (packet.clientId === 'refused') done(new Error('not you'), false)
          else done(null, true)
        },
      })
      const failures: unknown[] = []
      node.broker.on('connectionError', (client, error) => failures.push([client.id, error.message]))
      const will = { topic: 'gone', payload: Buffer.from('bye'), qos: 0, retain: false } as const
      const client = await node.connect('a', { username: 'u', password: 'p', keepalive: 33, will })
      assert.deepEqual(seen, [
        [null, true, 'connect', 'a', 'u', 33],
        [true, 4, 'gone', 'bye'],
      ])
      await client.end()
      await assert.rejects(node.connect('refused'))
      await until('connectionError', () => failures.length > 0)
      assert.deepEqual(failures, [[null, 'not you']])
    })

    it('preConnect: what it changes in CONNECT counts', async t => {
      const node = await listen(t, kind, {
        preConnect: (_client, packet, done) => {
          packet.clientId = `tenant:${packet.clientId}`
          packet.username = 'renamed'
          done(null, true)
        },
        authenticate: (client, username, password, done) => {
          done(null, client.id === 'tenant:a' && username === 'renamed' && password?.toString() === 'p')
        },
      })
      await node.connect('a', { username: 'u', password: 'p' })
      assert.equal(node.client('tenant:a').id, 'tenant:a')
    })

    for (const returnCode of [2, 3, 4, 5] as const) {
      it(`authenticate: return code ${returnCode} of its error is the one of CONNACK`, async t => {
        const node = await listen(t, kind, {
          authenticate: (_client, _username, _password, done) =>
            done(Object.assign(new Error('refused by the hook'), { returnCode }), null),
        })
        const sent: unknown[] = []
        const failures: unknown[] = []
        node.broker.on('connackSent', packet => sent.push(packet.returnCode))
        node.broker.on('clientError', (client, error) => failures.push([client.id, error.message]))
        await assert.rejects(node.connect('a'), { code: returnCode })
        await until('clientError', () => failures.length > 0)
        assert.deepEqual(failures, [['a', 'refused by the hook']])
        assert.deepEqual(sent, [returnCode])
        assert.equal(node.broker.connectedClients, 0)
      })
    }

    it('authenticate: without success and without error the return code is 5', async t => {
      const node = await listen(t, kind, { authenticate: (_client, _username, _password, done) => done(null, false) })
      await assert.rejects(node.connect('a'), { code: 5 })
    })

    it('authenticate: sees the client with its id, and what it sets there stays', async t => {
      const seen: string[] = []
      const note = (client: Marked | null, where: string): void => {
        seen.push(`${where}: ${client?.id} ${client?.user}`)
      }
      const node = await listen(t, kind, {
        preConnect: (client: Marked, _packet, done) => {
          client.user = 'nobody yet'
          done(null, true)
        },
        authenticate: (client: Marked, username, _password, done) => {
          note(client, 'authenticate')
          client.user = username ?? ''
          done(null, true)
        },
        authorizePublish: (client: Marked | null, _packet, done) => {
          note(client, 'authorizePublish')
          done(null)
        },
        authorizeSubscribe: (client: Marked, subscription, done) => {
          note(client, 'authorizeSubscribe')
          done(null, subscription)
        },
        authorizeForward: (client: Marked, packet) => {
          note(client, 'authorizeForward')
          return packet
        },
        published: (_packet, client: Marked, done) => {
          if (client) note(client, 'published')
          done(null)
        },
      })
      node.broker.on('client', (client: Marked) => note(client, 'client'))
      node.broker.on('clientReady', (client: Marked) => note(client, 'clientReady'))
      node.broker.on('clientDisconnect', (client: Marked) => note(client, 'clientDisconnect'))
      node.broker.on('publish', (_packet, client: Marked | null) => {
        if (client !== null) note(client, 'publish')
      })
      node.broker.on('subscribe', (_subscriptions, client: Marked) => note(client, 'subscribe'))
      const client = await node.connect('a', { username: 'ada' })
      await client.subscribe('t')
      await client.publish('t', 'x', 1)
      await client.untilReceived(1)
      await client.end()
      await until('clientDisconnect', () => seen.some(line => line.startsWith('clientDisconnect')))
      assert.deepEqual(seen.sort(), [
        'authenticate: a nobody yet',
        'authorizeForward: a ada',
        'authorizePublish: a ada',
        'authorizeSubscribe: a ada',
        'client: a ada',
        'clientDisconnect: a ada',
        'clientReady: a ada',
        'publish: a ada',
        'published: a ada',
        'subscribe: a ada',
      ])
    })

    it('authorizePublish: is asked for every message, with all that the client sent', async t => {
      const seen: unknown[] = []
      const node = await listen(t, kind, {
        authorizePublish: (client, packet, done) => {
          const { cmd, topic, payload, qos, retain, dup } = packet
          seen.push([client?.id, cmd, topic, payload.toString(), qos, retain, dup])
          assert.ok(Buffer.isBuffer(payload))
          done(null)
        },
      })
      const client = await node.connect('a')
      await client.publish('t', '0', 0)
      await client.publish('t', '1', 1)
      await client.publish('t', '2', 2, true)
      await client.publish('t', '3', 0)
      await until('four questions', () => seen.length === 4)
      assert.deepEqual(seen, [
        ['a', 'publish', 't', '0', 0, false, false],
        ['a', 'publish', 't', '1', 1, false, false],
        ['a', 'publish', 't', '2', 2, true, false],
        ['a', 'publish', 't', '3', 0, false, false],
      ])
    })

    for (const isAsync of [false, true]) {
      it(`authorizePublish that answers ${isAsync ? 'later' : 'at once'}: what it writes into the packet is what is published`, async t => {
        const node = await listen(t, kind, {
          authorizePublish: (_client, packet, done) => {
            if (packet.topic === 'in') {
              packet.topic = 'out'
              packet.payload = Buffer.from(`<${packet.payload.toString()}>`)
              packet.retain = packet.payload.toString() === '<keep>'
            }
            if (isAsync) setImmediate(done, null)
            else done(null)
          },
        })
        const subscriber = await node.connect('s')
        await subscriber.subscribe(['in', 'out'], 2)
        const publisher = await node.connect('p')
        for (const qos of [0, 1, 2] as const) {
          await publisher.publish('in', `q${qos}`, qos)
          await subscriber.untilReceived(qos + 1)
        }
        await publisher.publish('in', 'keep', 1)
        await publisher.publish('in', 'not kept', 1, true)
        const received = await subscriber.untilReceived(5)
        assert.deepEqual(
          received.map(({ topic, text, qos }) => [topic, text, qos]),
          [
            ['out', '<q0>', 0],
            ['out', '<q1>', 1],
            ['out', '<q2>', 2],
            ['out', '<keep>', 1],
            ['out', '<not kept>', 1],
          ],
        )
        const late = await node.connect('late')
        await late.subscribe(['in', 'out'], 1)
        await late.untilReceived(1)
        await publisher.publish('end', '', 1)
        assert.deepEqual(
          late.received.map(({ topic, text, retain }) => [topic, text, retain]),
          [['out', '<keep>', true]],
        )
      })
    }

    it('authorizePublish: a text for the payload will do', async t => {
      const node = await listen(t, kind, {
        authorizePublish: (_client, packet, done) => {
          packet.payload = 'text'
          done(null)
        },
      })
      const client = await node.connect('a')
      await client.subscribe('t')
      await client.publish('t', 'x')
      assert.equal((await client.untilReceived(1))[0]?.text, 'text')
    })

    it('authorizePublish: an error keeps the message from everybody and is told as clientError', async t => {
      const node = await listen(t, kind, {
        authorizePublish: (_client, packet, done) => done(packet.topic === 'no' ? new Error('not there') : null),
      })
      const failures: unknown[] = []
      node.broker.on('clientError', (client, error) => failures.push([client.id, error.message]))
      const subscriber = await node.connect('s')
      await subscriber.subscribe('#', 1)
      const publisher = await node.connect('p')
      publisher.client.publish('no', 'x', { qos: 0 })
      await until('clientError', () => failures.length > 0)
      assert.deepEqual(failures, [['p', 'not there']])
      await node.publish({ topic: 'end', payload: 'end' })
      await subscriber.untilReceived(1)
      assert.deepEqual(subscriber.texts(), ['end'])
    })

    it('authorizePublish: is asked for a will, which it may rewrite', async t => {
      const node = await listen(t, kind, {
        authorizePublish: (client, packet, done) => {
          if (packet.topic === 'will') packet.payload = Buffer.from(`${client?.id} said ${packet.payload.toString()}`)
          done(null)
        },
      })
      const subscriber = await node.connect('s')
      await subscriber.subscribe('will', 1)
      const will = { topic: 'will', payload: Buffer.from('bye'), qos: 1, retain: false } as const
      const dying = await node.connect('dying', { will })
      await dying.drop()
      assert.equal((await subscriber.untilReceived(1))[0]?.text, 'dying said bye')
    })

    it('authorizePublish: clients may not write to $SYS unless a hook lets them', async t => {
      const node = await listen(t, kind)
      const subscriber = await node.connect('s')
      await subscriber.subscribe('$SYS/mine')
      const publisher = await node.connect('p')
      publisher.client.publish('$SYS/mine', 'x')
      await node.publish({ topic: '$SYS/mine', payload: 'end' })
      await subscriber.untilReceived(1)
      assert.deepEqual(subscriber.texts(), ['end'])
    })

    it('authorizeSubscribe: grants, grants less, grants another filter, or refuses', async t => {
      const node = await listen(t, kind, {
        authorizeSubscribe: (_client, subscription, done) => {
          if (subscription.topic === 'never') return done(null, null)
          if (subscription.topic === 'less') subscription.qos = 0
          if (subscription.topic === 'alias') subscription.topic = 'real'
          setImmediate(done, null, subscription)
        },
      })
      const subscribed: unknown[] = []
      node.broker.on('subscribe', subscriptions => subscribed.push(subscriptions.map(({ topic, qos }) => [topic, qos])))
      const client = await node.connect('a')
      // By hand: MQTT.js takes one refused filter for a failure that nobody handles.
      const filters = ['full', 'never', 'alias'].map(name => [0, name.length, ...Buffer.from(name), 1])
      const body = [0, 77, ...filters.flat()]
      client.client.stream.write(Buffer.from([0x82, body.length, ...body]))
      assert.deepEqual(await within('SUBACK', suback(client)), [1, 128, 1])
      await until('subscribe', () => subscribed.length === 1)
      assert.deepEqual(subscribed, [
        [
          ['full', 1],
          ['never', 128],
          ['real', 1],
        ],
      ])
      await client.subscribe('less', 1)
      for (const topic of ['never', 'alias', 'real', 'less', 'full'])
        await node.publish({ topic, payload: topic, qos: 1 })
      const received = await client.untilReceived(3)
      assert.deepEqual(
        received.map(({ topic, qos }) => [topic, qos]),
        [
          ['real', 1],
          ['less', 0],
          ['full', 1],
        ],
      )
      assert.deepEqual(Object.keys(node.client('a').subscriptions).sort(), ['full', 'less', 'real'])
    })

    it('authorizeSubscribe: is asked again when a stored session comes back', async t => {
      const asked: string[] = []
      let isAllowed = true
      const node = await listen(t, kind, {
        authorizeSubscribe: (client, subscription, done) => {
          asked.push(`${client.id} ${subscription.topic} ${subscription.qos}`)
          done(null, subscription.topic === 'always' || isAllowed ? subscription : null)
        },
      })
      const client = await node.connect('a', { clean: false })
      await client.subscribe(['always', 'once'], 1)
      await client.end()
      await until('the end of the connection', () => node.broker.connectedClients === 0)
      isAllowed = false
      const again = await node.connect('a', { clean: false })
      assert.deepEqual(asked.sort(), ['a always 1', 'a always 1', 'a once 1', 'a once 1'])
      assert.deepEqual(Object.keys(node.client('a').subscriptions), ['always'])
      for (const topic of ['once', 'always']) await node.publish({ topic, payload: 'x' })
      await again.untilReceived(1)
      assert.deepEqual(
        again.received.map(({ topic }) => topic),
        ['always'],
      )
    })

    it('authorizeForward: decides for each client, and rewrites for one alone', async t => {
      const seen: unknown[] = []
      const node = await listen(t, kind, {
        authorizeForward: (client, packet) => {
          seen.push([client.id, packet.topic, packet.payload.toString(), packet.qos])
          if (client.id === 'blocked') return null
          if (client.id === 'undefined') return
          if (client.id === 'other') {
            packet.topic = 'rewritten'
            packet.payload = Buffer.from(`for ${client.id}`)
          }
          if (client.id === 'fresh') return { ...packet, topic: 'fresh', payload: 'new object' }
          return packet
        },
      })
      const ids = ['plain', 'blocked', 'undefined', 'other', 'fresh'] as const
      const clients = await Promise.all(ids.map(id => node.connect(id)))
      for (const client of clients) await client.subscribe('t', 1)
      const [plain, blocked, hidden, other, fresh] = clients
      assert.ok(plain && blocked && hidden && other && fresh)
      await node.publish({ topic: 't', payload: 'zero', qos: 0 })
      await node.publish({ topic: 't', payload: 'one', qos: 1 })
      await Promise.all([plain, other, fresh].map(client => client.untilReceived(2)))
      const shape = ({ received }: typeof plain): unknown => received.map(({ topic, text, qos }) => [topic, text, qos])
      assert.deepEqual(shape(plain), [
        ['t', 'zero', 0],
        ['t', 'one', 1],
      ])
      assert.deepEqual(shape(other), [
        ['rewritten', 'for other', 0],
        ['rewritten', 'for other', 1],
      ])
      assert.deepEqual(shape(fresh), [
        ['fresh', 'new object', 0],
        ['fresh', 'new object', 1],
      ])
      assert.deepEqual([shape(blocked), shape(hidden)], [[], []])
      assert.equal(seen.length, 10)
    })

    it('authorizeForward: is asked for retained messages and for what waited for a session', async t => {
      const node = await listen(t, kind, {
        authorizeForward: (_client, packet) => {
          packet.payload = Buffer.from(`<${packet.payload.toString()}>`)
          return packet.topic === 'hidden' ? null : packet
        },
      })
      await node.publish({ topic: 'shown', payload: 'kept', retain: true })
      await node.publish({ topic: 'hidden', payload: 'kept', retain: true })
      const client = await node.connect('a', { clean: false })
      await client.subscribe(['hidden', 'shown'], 1)
      const [first] = await client.untilReceived(1)
      assert.deepEqual([first?.text, first?.retain], ['<kept>', true])
      await client.end()
      await until('the end of the connection', () => node.broker.clients['a'] === undefined)
      await node.publish({ topic: 'hidden', payload: 'waited', qos: 1 })
      await node.publish({ topic: 'shown', payload: 'waited', qos: 1 })
      const again = await node.connect('a', { clean: false })
      await again.untilReceived(1)
      assert.equal(again.received[0]?.topic, 'shown')
    })

    it('published: sees every message of clients and of the broker', async t => {
      const seen: unknown[] = []
      const node = await listen(t, kind, {
        published: (packet: AedesPublishPacket, client: Client | null, done) => {
          if (!packet.topic.startsWith('$SYS/')) {
            seen.push([packet.topic, packet.payload.toString(), packet.qos, client?.id ?? null])
          }
          setImmediate(done, null)
        },
      })
      const client = await node.connect('a')
      for (const qos of [0, 1, 2] as const) await client.publish('t', `${qos}`, qos)
      await until('three messages', () => seen.length === 3)
      await node.publish({ topic: 'own', payload: '3', qos: 1 })
      assert.deepEqual(seen, [
        ['t', '0', 0, 'a'],
        ['t', '1', 1, 'a'],
        ['t', '2', 2, 'a'],
        ['own', '3', 1, null],
      ])
    })

    it('a hook may be replaced while the broker runs', async t => {
      const node = await listen(t, kind)
      const client = await node.connect('a')
      await client.subscribe('t')
      await client.publish('t', 'before')
      await client.untilReceived(1)
      node.broker.authorizePublish = (_client, packet, done) => {
        packet.payload = Buffer.from('after')
        done(null)
      }
      await client.publish('t', 'x')
      await client.untilReceived(2)
      assert.deepEqual(client.texts(), ['before', 'after'])
    })

    it('the client in a hook knows its stream and its broker', async t => {
      let seen: LibraryClient | undefined
      const node = await listen(t, kind, {
        authenticate: (client, _username, _password, done) => {
          seen = client as LibraryClient
          done(null, true)
        },
      })
      await node.connect('a')
      assert.equal(seen, node.client('a'))
      assert.equal(seen?.broker, node.broker)
      const [socket] = node.sockets
      assert.equal(seen?.conn, socket)
    })
  })
}
