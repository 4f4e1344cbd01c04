import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { RouteInterest } from '@midge/protocol-core'
import { Redis } from 'ioredis'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import type { RedisCluster } from './create-redis-cluster.ts'
import { joinCluster, startNode, textMessage, until } from './testing/test-node.ts'

let redis: TestRedis

before(async () => {
  redis = await startRedis()
})
after(() => redis.stop())

test('a node that finds no Redis waits for it, says so once, and then works', async () => {
  await redis.kill()
  const { cluster, log, stop } = joinCluster(redis.url, 'a')
  const nothing = (): void => undefined
  const started = cluster.directory.start({
    onRoute: nothing,
    onStored: nothing,
    onStoredRemoved: nothing,
    onNodeGone: nothing,
    onStoredReset: nothing,
  })
  await until('a line in the log', () => log.length > 0)
  assert.equal(cluster.directory.inSync(), false)
  assert.equal(cluster.link.hasLease(), false)
  cluster.directory.setRoute('default', 'early', RouteInterest.all)
  assert.equal(await cluster.directory.settled(), false)
  await redis.restart()
  await started
  await until('in sync', () => cluster.directory.inSync() && cluster.link.hasLease())
  assert.equal(await cluster.directory.settled(), true)
  assert.equal(log.filter(line => line.includes('redis.lost')).length, 1, log.join('\n'))
  await stop()
})

test('a node that never found Redis can be stopped, and its starts reject', async () => {
  await redis.kill()
  const { cluster, stop } = joinCluster(redis.url, 'a')
  const starting = startNodeLink(cluster)
  await stop()
  await assert.rejects(starting, { code: 'MIDGE_STORE_UNAVAILABLE' })
  await redis.restart()
})

test('a node can be stopped while Redis hangs or is gone', async () => {
  for (const outage of ['pause', 'kill'] as const) {
    const [a, b] = await Promise.all([startNode(redis.url, 'a'), startNode(redis.url, 'b')])
    await until('they meet', () => a.cluster.link.peers().includes('b'))
    await redis[outage]()
    a.cluster.directory.setRoute('default', 'x', RouteInterest.all)
    a.cluster.link.send('b', 'default', textMessage('t', 'x'), [])
    const startedAtMs = performance.now()
    await Promise.all([a.stop(), b.stop()])
    assert.ok(performance.now() - startedAtMs < 8_000)
    redis.resume()
    await redis.restart()
  }
})

test('a Redis that was restarted empty is filled again; what was sent meanwhile arrives or is counted', async t => {
  const [a, b] = await Promise.all([startNode(redis.url, 'a'), startNode(redis.url, 'b')])
  t.after(() => Promise.all([a.stop(), b.stop()]))
  await until('they meet', () => a.cluster.link.peers().includes('b') && b.cluster.link.peers().includes('a'))
  a.cluster.directory.setRoute('default', 'kept', RouteInterest.all)
  assert.equal(await a.cluster.directory.settled(), true)
  await redis.restart()
  let sent = 0
  await until('messages flow', () => {
    a.cluster.link.send('b', 'default', textMessage('t', String(sent++)), [])
    return b.received.length > 0
  })
  const dropped = (): number => a.events.filter(event => event.startsWith('dropped b ')).reduce(addCount, 0)
  // A frame whose first attempt has an unknown outcome may arrive and be counted when its repetition finds no inbox;
  // none may be missing from both, and none may arrive twice.
  await until('every message is accounted for', () => b.received.length + dropped() >= sent, {
    detail: () => [b.received.length, dropped(), sent],
  })
  assert.equal(new Set(b.received.map(message => message.payload)).size, b.received.length)
  a.cluster.directory.setRoute('default', 'new', RouteInterest.all)
  await until('the new route', () => b.routes.has('a default new') && b.routes.has('a default kept'))
  const admin = new Redis(redis.url)
  t.after(() => admin.disconnect())
  assert.equal(await admin.hlen('test:{cluster}:table:routes'), 2)
})

function addCount(sum: number, event: string): number {
  return sum + Number(event.split(' ')[2])
}

function startNodeLink(cluster: RedisCluster): Promise<void> {
  const nothing = (): void => undefined
  return cluster.link.start({
    onMessage: nothing,
    onRun: nothing,
    onGroupGrew: nothing,
    onTakeover: () => 'unknown',
    onKick: nothing,
    onDrain: nothing,
    onQuestion: async () => '',
    onNodesChanged: nothing,
    onNodeDead: nothing,
    onLeaseLost: nothing,
  })
}
