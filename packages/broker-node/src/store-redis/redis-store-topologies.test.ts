import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerError } from '@midge/protocol-core'
import type { RedisSettings } from '../redis/settings.ts'
import { memoryLogger, testRoom } from '../testing/redis-room.ts'
import type { TestRedis } from '../testing/redis-server.ts'
import { poll, redisCli, startRedisCluster, startSentinels, startTlsRedis } from '../testing/redis-topologies.ts'
import { PARTITION_TAGS } from './hash-tag.ts'
import type { RedisStore } from './index.ts'
import { connect, INSTANCE, open, textOf, toSessions } from './redis-store.test.support.ts'
import { StoreKeys } from './store-keys.ts'

function storeOn(settings: RedisSettings, log: string[] = []): RedisStore {
  const room = testRoom(settings, { logger: memoryLogger(log), commandTimeoutMs: 1_000 })
  return connect('', 'node-1', { room })
}

/** Repeats a call for as long as the store says that it is away; returns how long that was. */
async function untilTaken(call: () => Promise<unknown>, timeoutMs = 12_000): Promise<number> {
  const startMs = performance.now()
  for (;;) {
    try {
      await call()
      return performance.now() - startMs
    } catch (error) {
      if (!(error instanceof BrokerError && error.retryable)) throw error
      if (performance.now() - startMs > timeoutMs) throw error
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}

async function queueOf(store: RedisStore, clientId: string, epoch: number): Promise<string[]> {
  return (await store.readQueue(INSTANCE, clientId, epoch, 1, 10_000)).map(textOf)
}

for (const [what, fail] of [
  ['was demoted', (_master, sentinelPort) => redisCli(sentinelPort, 'SENTINEL', 'FAILOVER', 'main')],
  ['hangs', master => master.pause()],
] satisfies [string, (master: TestRedis, sentinelPort: number) => unknown][]) {
  test(`Sentinel: the store goes on at the new master when the old one ${what}`, async t => {
    const { settings, servers, stop } = await startSentinels()
    t.after(stop)
    const [master, replica] = servers
    assert.ok(master && replica)
    const log: string[] = []
    const store = storeOn(settings, log)
    t.after(() => store.stop())
    await store.ready
    const { epoch } = await open(store, 'c')
    await store.commit([toSessions(['c'], 'before')])
    await fail(master, Number(settings.url.split(':').at(-1)))
    await poll('the replica is the master', () => isMaster(replica.port))
    await untilTaken(() => store.commit([toSessions(['c'], 'after')]))
    const queue = await queueOf(store, 'c', epoch)
    assert.equal(queue[0], 'before')
    assert.equal(queue.at(-1), 'after')
    master.resume()
  })
}

/** False also without an answer: a Sentinel ends all connections of the server that it promotes, the one that asks too. */
function isMaster(port: number): Promise<boolean> {
  return redisCli(port, 'INFO', 'replication').then(
    text => text.includes('role:master'),
    () => false,
  )
}

test('Redis Cluster: the store goes on when a master dies and its replica takes over', async t => {
  const { settings, servers, stop } = await startRedisCluster(1)
  t.after(stop)
  const log: string[] = []
  const store = storeOn(settings, log)
  t.after(() => store.stop())
  await store.ready
  const clientIds = Array.from({ length: 64 }, (_, i) => `client-${i}`)
  for (const clientId of clientIds) await open(store, clientId)
  await store.commit([toSessions(clientIds, 'before')])
  await servers[0]?.kill()
  await untilTaken(() => store.commit([toSessions(clientIds, 'after')]))
  for (const clientId of clientIds) assert.ok((await store.tailSeq(INSTANCE, clientId)) >= 2, clientId)
  assert.equal(log.filter(line => line.includes('redis.lost')).length, 1, log.join('\n'))
})

test('Redis Cluster: a slot that moves under load costs no message and no order', async t => {
  const { settings, servers, stop } = await startRedisCluster()
  t.after(stop)
  const store = storeOn(settings)
  t.after(() => store.stop())
  await store.ready
  const { epoch } = await open(store, 'c')
  const place = new StoreKeys('midge').place(INSTANCE, 'c')
  let isMoved = false
  const ports = servers.map(({ port }) => port)
  const moving = moveSlot(PARTITION_TAGS[place.partition] ?? '', ports).then(() => {
    isMoved = true
  })
  const read: string[] = []
  let sent = 0
  for (let roundsAfter = 0; roundsAfter < 3; roundsAfter += isMoved ? 1 : 0) {
    const round: Promise<unknown>[] = []
    for (let i = 0; i < 60; i++) {
      round.push(store.commit([toSessions(['c'], String(sent++))]))
      // Many batches under way at a time.
      if (i % 2 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    await Promise.all(round)
    const from = read.length + 1
    read.push(...(await store.readQueue(INSTANCE, 'c', epoch, from, 100)).map(textOf))
    await store.ackQueue(INSTANCE, 'c', epoch, read.length)
  }
  await moving
  assert.deepEqual(
    read,
    Array.from({ length: sent }, (_, i) => String(i)),
  )
})

/** Moves a slot from the server that has it to the next one, with all of its keys, while others write to them. */
async function moveSlot(tag: string, ports: number[]): Promise<void> {
  const slot = (await redisCli(ports[0] ?? 0, 'CLUSTER', 'KEYSLOT', `{${tag}}`)).trim()
  const ids = await Promise.all(ports.map(async port => (await redisCli(port, 'CLUSTER', 'MYID')).trim()))
  const counts = await Promise.all(ports.map(port => redisCli(port, 'CLUSTER', 'COUNTKEYSINSLOT', slot)))
  const from = counts.findIndex(count => Number(count) > 0)
  const to = (from + 1) % ports.length
  const [source = 0, target = 0] = [ports[from], ports[to]]
  await redisCli(target, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from] ?? '')
  await redisCli(source, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to] ?? '')
  for (;;) {
    const keys = (await redisCli(source, 'CLUSTER', 'GETKEYSINSLOT', slot, '100')).split('\n').filter(key => key !== '')
    if (keys.length === 0) break
    await redisCli(source, 'MIGRATE', '127.0.0.1', String(target), '', '0', '5000', 'KEYS', ...keys)
  }
  for (const port of [target, source, ...ports]) await redisCli(port, 'CLUSTER', 'SETSLOT', slot, 'NODE', ids[to] ?? '')
}

test('TLS with an ACL user: the store works, and refuses a server that is not the one', async t => {
  const acl = 'midge on >secret ~midge:* &midge:* +@all -@dangerous +info'
  const { settings, servers, stop } = await startTlsRedis(acl)
  t.after(stop)
  assert.ok(servers.length === 1)
  const store = storeOn({ ...settings, username: 'midge', password: 'secret' })
  t.after(() => store.stop())
  await store.ready
  const { epoch } = await open(store, 'c')
  await store.commit([toSessions(['c'], 'hidden')])
  assert.deepEqual(await queueOf(store, 'c', epoch), ['hidden'])
  assert.deepEqual(await store.check(), [])

  for (const [wrong, reason] of [
    [{ ...settings, username: 'midge', password: 'wrong' }, /WRONGPASS/],
    [
      { ...settings, tls: { ...settings.tls, servername: 'other.test' }, username: 'midge', password: 'secret' },
      /altnames|ERR_TLS/,
    ],
  ] as const) {
    const log: string[] = []
    const stranger = storeOn(wrong, log)
    await untilLine(log, reason)
    await stranger.stop()
  }
})

async function untilLine(log: string[], pattern: RegExp): Promise<void> {
  const deadlineMs = performance.now() + 5_000
  while (!log.some(line => pattern.test(line))) {
    assert.ok(performance.now() < deadlineMs, `no line like ${pattern} in ${log.join('\n')}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
