import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type BrokerOptions, createBroker, type MidgeBroker } from '@midge/broker-node'
import type { Aedes } from 'aedes'
import { type BrokerKind, type LibraryBroker, listen } from '../support/library-brokers.ts'
import { until } from '../support/until.ts'

const inMemory: BrokerKind = { name: 'Midge', open: options => createBroker({ memory: true, ...options }) }

/** Options that only Aedes knows, with a value that somebody may have given. */
const ONLY_AEDES: Readonly<Record<string, unknown>> = {
  mq: {},
  persistence: {},
  concurrency: 100,
  heartbeatInterval: 60_000,
  keepaliveLimit: 60,
  queueLimit: 42,
  maxClientsIdLength: 23,
  decodeProtocol: () => undefined,
  trustProxy: true,
  trustedProxies: ['127.0.0.1'],
}

/** What TypeScript would not let a program write. */
function untyped(options: object): BrokerOptions {
  return options
}

describe('createBroker', () => {
  it('wants one place for the state, and says so', async () => {
    const wanted = { code: 'MIDGE_CONFIG_INVALID', message: /one of redisUrl, dataDir and memory/ }
    await assert.rejects(createBroker({}), wanted)
    await assert.rejects(createBroker({ memory: false }), wanted)
    await assert.rejects(createBroker({ memory: true, dataDir: 'x' }), wanted)
    await assert.rejects(createBroker({ redisUrl: 'redis://127.0.0.1:1', dataDir: 'x' }), wanted)
  })

  it('refuses an option that nobody knows, and a value out of bounds', async () => {
    const code = 'MIDGE_CONFIG_INVALID'
    await assert.rejects(createBroker(untyped({ memory: true, authentcate: () => undefined })), { code })
    await assert.rejects(createBroker({ memory: true, id: 'not / a name' }), { code })
    await assert.rejects(createBroker(untyped({ memory: true, limits: { recieveMax: 1 } })), { code })
    await assert.rejects(createBroker({ memory: true, drainTimeout: 0 }), { code })
  })

  for (const [name, value] of Object.entries(ONLY_AEDES)) {
    it(`refuses Aedes' option ${name} and says what to do instead`, async () => {
      const options = untyped({ memory: true, [name]: value })
      await assert.rejects(createBroker(options), {
        code: 'MIDGE_LIBRARY_UNSUPPORTED',
        message: new RegExp(`^option ${name}: .{20}`),
      })
    })
  }

  it('is the only way to a broker: the class and its own createBroker name it', async t => {
    const { broker } = await listen(t, inMemory)
    // As a JavaScript program would reach the class.
    const ours = broker.constructor as unknown as { new (): MidgeBroker; createBroker(): Promise<Aedes> }
    const wanted = { code: 'MIDGE_LIBRARY_UNSUPPORTED', message: /createBroker\(/ }
    assert.throws(() => new ours(), wanted)
    await assert.rejects(ours.createBroker(), wanted)
    await broker.listen()
  })

  it('refuses methods of Aedes that it does not have', async t => {
    const node = await listen(t, inMemory)
    await node.connect('a')
    const code = 'MIDGE_LIBRARY_UNSUPPORTED'
    assert.throws(() => node.client('a').emptyOutgoingQueue(), { code })
    assert.throws(() => (node.broker.mq as unknown as { close(): void }).close(), { code })
    const subscribing = new Promise((resolve, reject) => {
      node.broker.subscribe('$share/g/t', () => undefined, ((error?: Error) =>
        error ? reject(error) : resolve(undefined)) as () => void)
    })
    await assert.rejects(subscribing, { code })
  })

  it('refuses what it cannot do for a client that is not there yet', async t => {
    const failures: unknown[] = []
    const node = await listen(t, inMemory, {
      authenticate: (client, _username, _password, done) => {
        client.subscribe({ topic: 't', qos: 0 }, error => failures.push(error))
        client.publish({ cmd: 'publish', topic: 't', payload: '', qos: 0, retain: false, dup: false }, error =>
          failures.push(error),
        )
        done(null, true)
      },
    })
    await node.connect('a')
    assert.deepEqual(
      failures.map(error => (error as { code?: string }).code),
      ['MIDGE_LIBRARY_UNSUPPORTED', 'MIDGE_LIBRARY_UNSUPPORTED'],
    )
  })

  it("takes Aedes' names for bounds", async t => {
    const node = await listen(t, inMemory, { connectTimeout: 200 })
    const idle = connect(node.port, '127.0.0.1')
    idle.on('error', () => undefined)
    await new Promise(resolve => idle.once('close', resolve))
  })

  it('with dataDir keeps sessions and retained messages in that folder', async t => {
    const dataDir = await mkdtemp(join(tmpdir(), 'midge-library-'))
    t.after(() => rm(dataDir, { recursive: true, force: true }))
    const onDisk: BrokerKind = { name: 'Midge', open: options => createBroker({ dataDir, ...options }) }
    const first = await listen(t, onDisk)
    const client = await first.connect('a', { clean: false })
    await client.subscribe('t', 1)
    await client.end()
    await until('the end of the connection', () => first.broker.connectedClients === 0)
    await first.publish({ topic: 't', payload: 'kept', qos: 1, retain: true })
    await new Promise<void>(resolve => first.broker.close(resolve))
    const second = await listen(t, onDisk)
    const again = await second.connect('a', { clean: false })
    assert.equal((await again.untilReceived(1))[0]?.text, 'kept')
    const late = await second.connect('late')
    await late.subscribe('t')
    assert.equal((await late.untilReceived(1))[0]?.retain, true)
  })

  it('a function given to subscribe that throws is logged and harms nobody', async t => {
    const lines: string[] = []
    const logger = {
      trace: () => undefined,
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: (fields: object) => lines.push(String((fields as { event?: string }).event)),
      isLevelEnabled: () => false,
      child: () => logger,
    }
    const open = (): Promise<LibraryBroker> => createBroker({ memory: true, logger })
    const node = await listen(t, { name: 'Midge', open })
    await node.subscribe('t', () => {
      throw new Error('bug of the program')
    })
    const client = await node.connect('a')
    await client.subscribe('t')
    await client.publish('t', 'x', 1)
    await client.untilReceived(1)
    assert.deepEqual(lines, ['connection.bug'])
  })
})

describe('what differs from Aedes, as docs/aedes-migration.md says', () => {
  it('a message that authorizePublish refuses is acknowledged and its client stays', async t => {
    const node = await listen(t, inMemory, { authorizePublish: (_client, _packet, done) => done(new Error('no')) })
    const client = await node.connect('a')
    for (const qos of [0, 1, 2] as const) await client.publish('t', 'x', qos)
    assert.equal(node.client('a').connected, true)
  })

  it('a hook that changes the QoS of a message changes what subscribers get, not what the client is answered', async t => {
    const node = await listen(t, inMemory, {
      authorizePublish: (_client, packet, done) => {
        packet.qos = packet.topic === 'up' ? 2 : 0
        done(null)
      },
    })
    const client = await node.connect('a')
    await client.subscribe(['up', 'down'], 2)
    await client.publish('up', '0', 0)
    await client.publish('up', '1', 1)
    await client.publish('up', '2', 2)
    await client.publish('down', '1', 1)
    await client.publish('down', '2', 2)
    const received = await client.untilReceived(5)
    assert.deepEqual(received.map(({ topic, text, qos }) => `${topic} ${text} ${qos}`).sort(), [
      'down 1 0',
      'down 2 0',
      'up 0 2',
      'up 1 2',
      'up 2 2',
    ])
  })

  it('authorizeForward may lower a delivery to QoS 0, in a clean session and in a stored one', async t => {
    const node = await listen(t, inMemory, { authorizeForward: (_client, packet) => ({ ...packet, qos: 0 }) })
    const clean = await node.connect('clean')
    const stored = await node.connect('stored', { clean: false })
    for (const client of [clean, stored]) await client.subscribe('t', 2)
    for (const text of ['0', '1', '2']) await node.publish({ topic: 't', payload: text, qos: 2 })
    for (const client of [clean, stored]) {
      const received = await client.untilReceived(3)
      assert.deepEqual(
        received.map(({ text, qos }) => [text, qos]),
        [
          ['0', 0],
          ['1', 0],
          ['2', 0],
        ],
      )
    }
  })

  it('a client is read no further until the published hook has answered', async t => {
    const seen: string[] = []
    let answer: (() => void) | undefined
    const node = await listen(t, inMemory, {
      published: (packet, _client, done) => {
        if (packet.topic.startsWith('$SYS/')) return done(null)
        seen.push(packet.topic)
        if (packet.topic === 'slow') answer = () => done(null)
        else done(null)
      },
    })
    const client = await node.connect('a')
    // Otherwise the second message would wait in this process for the first to be confirmed.
    ;(client.client.stream as Socket).setNoDelay()
    client.client.publish('slow', '1', { qos: 0 })
    await until('the slow one', () => answer !== undefined)
    client.client.publish('next', '2', { qos: 0 })
    const other = await node.connect('b')
    await other.publish('other', '3', 1)
    await node.publish({ topic: 'own', payload: '4', qos: 1 })
    answer?.()
    await until('four messages', () => seen.length === 4)
    assert.deepEqual(seen, ['slow', 'other', 'own', 'next'])
  })

  it('an error of the published hook ends the connection', async t => {
    const node = await listen(t, inMemory, { published: (_packet, _client, done) => done(new Error('no more')) })
    const failures: string[] = []
    node.broker.on('clientError', (_client, error) => failures.push(error.message))
    const client = await node.connect('a')
    client.client.publish('t', 'x')
    await client.untilClosed()
    assert.deepEqual(failures, ['no more'])
  })

  it('SUBACK says what was granted, also when a hook grants less', async t => {
    const node = await listen(t, inMemory, {
      authorizeSubscribe: (_client, subscription, done) => done(null, { ...subscription, qos: 0 }),
    })
    const client = await node.connect('a')
    assert.equal((await client.subscribe('t', 2))[0]?.qos, 0)
  })

  it('clients of MQTT 5 meet the same hooks', async t => {
    const node = await listen(t, inMemory, {
      authorizePublish: (client, packet, done) => {
        packet.payload = `${client?.version}: ${packet.payload.toString()}`
        done(null)
      },
    })
    const client = await node.connect('a', { protocolVersion: 5 })
    await client.subscribe('t', 1)
    const properties = { userProperties: { colour: 'red' }, contentType: 'text/plain' }
    await client.client.publishAsync('t', 'x', { qos: 1, properties })
    const [received] = await client.untilReceived(1)
    assert.equal(received?.text, '5: x')
    assert.deepEqual({ ...received?.packet.properties?.userProperties }, { colour: 'red' })
    assert.equal(received?.packet.properties?.contentType, 'text/plain')
  })
})
