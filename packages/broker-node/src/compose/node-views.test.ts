import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { loadConfig } from '../config/load-config.ts'
import { type ConnectOptions, disconnectPacket, publishPacket, type RawClient } from '../engine/testing/raw-client.ts'
import { poll, startBroker, type TestBroker } from '../engine/testing/test-broker.ts'
import { doorThat, letIn } from '../engine/testing/test-door.ts'
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
