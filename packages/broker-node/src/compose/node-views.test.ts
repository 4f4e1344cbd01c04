import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { BrokerError } from '@midge/protocol-core'
import { loadConfig } from '../config/load-config.ts'
import {
  ackPacket,
  type ConnectOptions,
  disconnectPacket,
  publishPacket,
  type RawClient,
} from '../engine/testing/raw-client.ts'
import { poll, startBroker, type TestBroker } from '../engine/testing/test-broker.ts'
import { doorThat, letIn } from '../engine/testing/test-door.ts'
import { TEST_LIMITS } from '../engine/testing/test-services.ts'
import { Readiness } from '../lifecycle/readiness.ts'
import { type EventLoopLag, sampleEventLoopLag } from '../observe/event-loop-lag.ts'
import { ClientLog } from '../views/client-log.ts'
import type { LiveCluster } from '../views/live-cluster.ts'
import { createViews } from './node-views.ts'

/** Names that run into each other where a key is put together carelessly. */
const INSTANCES = ['a', 'a-b', 'a:b'] as const
const HOUR = [0x11, 0, 0, 0x0e, 0x10]
const GROUP = '$share/g/jobs/#'
/** A minute, before which a will is not published. */
const DELAYED = [0x18, 0, 0, 0, 60]

let midge: TestBroker
let lag: EventLoopLag
let views: LiveCluster
const clients: RawClient[] = []

before(async () => {
  midge = await startBroker({ door: doorThat(({ username = '' }) => letIn({ instance: username, username: 'ann' })) })
  const { store, counters } = midge
  const { core } = midge.broker
  const { directory, link } = core.services
  const { config } = loadConfig({ env: {}, values: { nodeId: 'n1', dataDir: 'memory' } })
  lag = sampleEventLoopLag()
  views = createViews({
    ...{ config, core, store, link, counters, lag, log: new ClientLog(Date.now) },
    readiness: new Readiness({ store, directory, link, outage: () => undefined }),
  })
})
after(async () => {
  lag.stop()
  await midge.stop()
})
afterEach(() => {
  for (const client of clients.splice(0)) client.stream.destroy()
})

async function enter(instance: string, options: ConnectOptions): Promise<RawClient> {
  const client = await midge.dial(5)
  clients.push(client)
  assert.equal(await client.open({ username: instance, clean: false, properties: HOUR, ...options }), 0)
  return client
}

async function leave(instance: string, client: RawClient, clientId: string): Promise<void> {
  client.send(disconnectPacket(0))
  await poll(() => client.isClosed, 'closed')
  const find = (): Promise<string | undefined> => views.session(instance, clientId).then(session => session?.nodeId)
  while ((await find()) !== undefined) await new Promise(resolve => setImmediate(resolve))
}

/** What waits in the queue of the group. */
async function waiting(instance: string): Promise<string[]> {
  const { epoch } = await midge.store.open({
    ...{ instance, clientId: 'looking', username: 'ann', nodeId: 'n1', cleanStart: true, sessionExpirySeconds: 0 },
    ...{ will: undefined, nowMs: Date.now() },
  })
  const taken = await midge.store.takeGroup(instance, GROUP, 'looking', epoch, [1, 2, 3])
  await midge.store.close({
    ...{ instance, clientId: 'looking', epoch, sessionExpirySeconds: 0, sentSeq: 0, ackedAhead: [] },
    ...{ will: 'discard', nowMs: Date.now() },
  })
  return taken.map(({ message }) => Buffer.from(message.payload).toString())
}

/** A member that is away, and two jobs for it. */
async function withJobs(instance: string, clientId: string): Promise<void> {
  const member = await enter(instance, { clientId })
  await member.subscribe([{ filter: GROUP, options: 1 }])
  await leave(instance, member, clientId)
  const publisher = await enter(instance, { clientId: 'publisher' })
  publisher.send(...['1', '2'].map((text, i) => publishPacket('jobs/x', text, { version: 5, qos: 1, packetId: i + 1 })))
  await publisher.until(() => publisher.frames.filter(({ type }) => type === 4).length === 2)
}

test('the queue of a share group goes with the session of its last member', async () => {
  await withJobs('a', 'worker')
  await withJobs('a', 'other')
  await views.deleteSession('a', 'worker')
  assert.deepEqual(await waiting('a'), ['1', '2', '1'], 'the other member still gets them')
  await views.deleteSession('a', 'other')
  assert.deepEqual(await waiting('a'), [])
})

test('a wipe leaves nothing of an instance, and its neighbours as they are', async () => {
  for (const instance of INSTANCES) {
    await withJobs(instance, 'worker')
    const will = { topic: 'w', payload: instance, properties: DELAYED }
    const dead = await enter(instance, { clientId: 'dead', will })
    const alive = await enter(instance, { clientId: 'alive', will: { topic: 'w', payload: 'at once' } })
    dead.stream.destroy()
    await alive.subscribe([{ filter: 'kept', options: 1 }])
    await views.publish(instance, [{ topic: 'kept', payload: Buffer.from('x'), qos: 1, retain: true }])
  }
  await views.wipe('a')
  const found = async (instance: string): Promise<unknown[]> => [
    (await views.statistics(instance)).connections,
    (await views.sessions(instance, { countMax: 100 })).items.map(({ clientId }) => clientId).sort(),
    (await views.subscriptions(instance, { countMax: 100 })).items.length,
    (await views.retained(instance, '#', { countMax: 100 })).items.length,
    await waiting(instance),
  ]
  assert.deepEqual(await found('a'), [0, [], 0, 0, []])
  for (const instance of INSTANCES.slice(1)) {
    assert.deepEqual(await found(instance), [2, ['alive', 'dead', 'publisher', 'worker'], 2, 1, ['1', '2']])
  }
  const { wills } = await midge.store.sweep('n1', Date.now() + 100_000, 100)
  assert.deepEqual(wills.map(({ instance }) => instance).sort(), ['a-b', 'a:b'])
})

async function textOf(lines: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const piece of lines) text += piece
  return text
}

async function refused(code: string, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, error => error instanceof BrokerError && error.code === code)
}

test('a session is taken out and put in elsewhere with all that its client still gets', async () => {
  const properties = [...HOUR, 0x21, 0, 1]
  const receiver = await enter('from', { clientId: 'größe', properties })
  await receiver.subscribe(
    [
      { filter: 'x/#', options: 2 },
      { filter: GROUP, options: 1 },
    ],
    7,
  )
  const texts = Array.from({ length: 450 }, (_, i) => `${i}`)
  const publish = (text: string, qos: 1 | 2) => ({ topic: 'x/y', payload: Buffer.from(text), qos, retain: false })
  await views.publish('from', [{ ...publish('first', 2), contentType: 'a/b', messageExpirySeconds: 600 }])
  const first = await receiver.delivery()
  receiver.send(ackPacket(0x50, first.packetId))
  await receiver.expect(6)
  await leave('from', receiver, 'größe')
  await views.publish(
    'from',
    texts.map(text => publish(text, 1)),
  )
  const lines = await textOf(views.exportSession('from', 'größe'))
  assert.equal(lines.trim().split('\n').length, 1 + 2 + 1 + 450)
  assert.equal(await views.importSession('to', lines), 'größe')
  const { username, expirySeconds, queueMessages, nodeId } = (await views.session('to', 'größe')) ?? assert.fail()
  assert.deepEqual([username, expirySeconds, queueMessages, nodeId], ['ann', 3600, 451, undefined])
  assert.equal(await textOf(views.exportSession('to', 'größe')), lines)
  await views.publish('to', [publish('routed', 1)])
  await refused('MIDGE_ALREADY_EXISTS', views.importSession('to', lines))

  const client = await enter('to', { clientId: 'größe' })
  assert.equal(client.frames[0]?.body[0], 1, 'Session Present')
  await client.expect(6)
  const got: string[] = []
  while (got.at(-1) !== 'routed') {
    const { payload, packetId } = await client.delivery()
    got.push(payload)
    client.send(ackPacket(0x40, packetId))
  }
  assert.deepEqual(got, [...texts, 'routed'])
})

test('a session with more messages than a queue may hold is not put in, and leaves nothing', async () => {
  const text = Buffer.alloc(1000, 'x').toString('base64')
  const message = { topic: 'x', qos: 1, payload: text, properties: '', expiresAtMs: 0, deliveryQos: 1, retain: false }
  const session = { session: { clientId: 'c', expirySeconds: 60 } }
  const subscription = { topicFilter: 'x', qos: 1, retainHandling: 0, subscriptionId: 0 }
  const count = TEST_LIMITS.onlineQueueMessages + 1
  const messages = Array.from({ length: count }, () => ({ message }))
  const lines = [session, { subscription }, ...messages].map(line => JSON.stringify(line)).join('\n')
  await refused('MIDGE_INVALID', views.importSession('full', lines))
  assert.deepEqual((await views.sessions('full', { countMax: 10 })).items, [])
  assert.deepEqual((await views.subscriptions('full', { countMax: 10 })).items, [])
  assert.equal(await views.session('full', 'c'), undefined)
})

test('lines that no export has written change nothing', async () => {
  const session = { session: { clientId: 'c', expirySeconds: 60 } }
  const subscription = { topicFilter: 'x', qos: 1, retainHandling: 0, subscriptionId: 0 }
  const message = { topic: 'x', qos: 1, payload: '', properties: '', expiresAtMs: 0, deliveryQos: 1 }
  const cases: unknown[][] = [
    [],
    [session, session],
    [{ subscription }, session],
    [{ session: { ...session.session, clientId: '' } }],
    [{ session: { ...session.session, clientId: '\ud800' } }],
    [{ session: { ...session.session, clientId: 'a\0' } }],
    [{ session: { ...session.session, clientId: 'x'.repeat(65_536) } }],
    [{ session: { ...session.session, expirySeconds: 0 } }],
    [{ session: { ...session.session, username: 1 } }],
    [session, { subscription: { ...subscription, topicFilter: 'a#' } }],
    [session, { subscription: { ...subscription, qos: 3 } }],
    [session, { subscription: { ...subscription, subscriptionId: -1 } }],
    [session, { message: { ...message, topic: '#' } }],
    [session, { message: { ...message, deliveryQos: 0 } }],
    [session, { message: { ...message, properties: '/w==' } }],
    [session, 'text'],
    [session, null],
  ]
  for (const lines of cases) {
    await refused('MIDGE_INVALID', views.importSession('bad', lines.map(line => JSON.stringify(line)).join('\n')))
  }
  await refused('MIDGE_INVALID', views.importSession('bad', '{'))
  assert.deepEqual((await views.sessions('bad', { countMax: 10 })).items, [])
  await refused('MIDGE_NOT_FOUND', textOf(views.exportSession('bad', 'c')))
  await refused('MIDGE_INVALID', views.importRetained('bad', JSON.stringify({ ...message, properties: '/w==' })))
})
