import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { CommitItem } from '@midge/protocol-core'
import type { Redis } from 'ioredis'
import { memoryLogger, testRoom } from '../testing/redis-room.ts'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import type { RedisStore } from './index.ts'
import {
  connect,
  INSTANCE,
  isUnavailable,
  open,
  startTwoStores,
  stopTwoStores,
  textOf,
  toSessions,
  until,
} from './redis-store.test.support.ts'

describe('RedisStore when Redis fails', () => {
  let redis: TestRedis
  let admin: Redis
  let a: RedisStore
  let b: RedisStore

  before(async () => {
    ;({ redis, admin, a, b } = await startTwoStores())
  })

  after(async () => {
    await stopTwoStores({ redis, admin, a, b })
  })

  beforeEach(async () => {
    await admin.flushall()
  })

  it('commits a QoS 2 message once although its node died between storing it and saying so', async () => {
    const group = '$share/g/jobs'
    const pub = await open(a, 'pub')
    await open(a, 'sub')
    const inbound = { clientId: 'pub', epoch: pub.epoch, packetId: 5 }
    const item: CommitItem = { ...toSessions(['sub'], 'once', 2), groups: [{ group, qos: 2 }], inbound }
    // The first pipeline of a commit notes the packet id, the second stores; the third would say that it is stored.
    let pipelines = Number.NEGATIVE_INFINITY
    const room = testRoom(redis.url)
    const makeLink = room.commandLink.bind(room)
    room.commandLink = (...made) => {
      const link = makeLink(...made)
      const run = link.run.bind(link)
      link.run = async calls => {
        const replies = await run(calls)
        if (++pipelines === 2) link.disconnect()
        return replies
      }
      return link
    }
    const dying = connect(redis.url, 'node-a', { room })
    await dying.ready
    await dying.ping()
    pipelines = 0
    await assert.rejects(dying.commit([item]), isUnavailable)
    assert.equal(await b.tailSeq(INSTANCE, 'sub'), 1)

    const resumed = await open(b, 'pub')
    assert.deepEqual(resumed.inboundPacketIds, [], 'not known to be committed')
    const [resent] = await b.commit([{ ...item, inbound: { ...inbound, epoch: resumed.epoch } }])
    assert.deepEqual(resent, { status: 'stored', seqs: [1], droppedGroups: 0 })
    assert.equal(await b.tailSeq(INSTANCE, 'sub'), 1)
    const member = await open(b, 'member')
    assert.equal((await b.takeGroup(INSTANCE, group, 'member', member.epoch, [1, 2])).length, 1)
    assert.deepEqual((await open(a, 'pub')).inboundPacketIds, [5])
    await dying.stop()
  })

  it('loads its scripts again after SCRIPT FLUSH', async () => {
    const { epoch } = await open(a, 'c')
    await admin.script('FLUSH')
    const results = await Promise.all([1, 2, 3].map(n => a.commit([toSessions(['c'], String(n))])))
    assert.deepEqual(
      results.map(([result]) => result?.seqs[0]),
      [1, 2, 3],
    )
    assert.deepEqual((await a.readQueue(INSTANCE, 'c', epoch, 1, 9)).map(textOf), ['1', '2', '3'])
  })

  it('says that the store is unavailable while Redis is paused, and recovers', async () => {
    let reconnected = 0
    a.setListener({ onQueueGrew: () => {}, onReconnected: () => reconnected++ })
    const { epoch } = await open(a, 'c')
    redis.pause()
    await assert.rejects(a.commit([toSessions(['c'])]), isUnavailable)
    await assert.rejects(a.ping(), isUnavailable)
    redis.resume()
    const [result] = await a.commit([toSessions(['c'], 'after')])
    assert.ok((result?.seqs[0] ?? 0) > 0)
    assert.equal(reconnected, 1, 'the outcome of the first commit was unknown')
    assert.equal((await a.readQueue(INSTANCE, 'c', epoch, 1, 9)).map(textOf).pop(), 'after')
  })

  it('rejects at once while Redis is gone, and tells the listener when it is back', async () => {
    let reconnected = 0
    a.setListener({ onQueueGrew: () => {}, onReconnected: () => reconnected++ })
    await redis.kill()
    await assert.rejects(a.commit([toSessions(['c'])]), isUnavailable)
    await assert.rejects(open(a, 'c'), isUnavailable)
    await redis.restart()
    await until(() => reconnected >= 2, 'both connections are back')
    const { epoch } = await open(a, 'c')
    await a.commit([toSessions(['c'], 'back')])
    assert.deepEqual((await a.readQueue(INSTANCE, 'c', epoch, 1, 9)).map(textOf), ['back'])
    await until(() => admin.status === 'ready', 'test connection')
    await b.ping().catch(() => {})
  })

  it('reports settings that break the durability that was asked for', async () => {
    await until(() => admin.status === 'ready', 'test connection')
    assert.deepEqual(await a.check(), [])
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
    assert.deepEqual(
      (await a.check()).map(warning => warning.code),
      ['eviction'],
    )
    const strict = connect(redis.url, 's', { durability: 'fsync' })
    await strict.ready
    assert.deepEqual(
      (await strict.check()).map(warning => warning.code),
      ['eviction', 'aof_off', 'fsync_not_always'],
    )
    await strict.stop()
    await admin.config('SET', 'maxmemory-policy', 'noeviction')
  })
  it('waits for a Redis that is not there yet and says so', async () => {
    const lines: string[] = []
    const late = await startRedis()
    await late.kill()
    const store = connect(late.url, 'late', { logger: memoryLogger(lines) })
    await until(() => lines.some(line => line.includes('redis.lost')), 'a line')
    await assert.rejects(store.ping(), isUnavailable)
    await late.restart()
    await store.ready
    await store.ping()
    await until(() => lines.some(line => line.includes('redis.restored')), 'a line')
    await store.stop()
    assert.deepEqual(
      lines.map(line => [line.split(' ', 1)[0], /"event":"([^"]+)"/.exec(line)?.[1]]),
      [
        ['warn', 'redis.lost'],
        ['info', 'redis.restored'],
      ],
      'one pair of lines for all connections',
    )
    assert.ok(lines[0]?.includes(`127.0.0.1:${late.port}`) && lines[0].includes('ECONNREFUSED'), lines[0])
    await late.stop()
  })

  it('acknowledges with durability replicated only what a replica has', async () => {
    await admin.config('SET', 'repl-diskless-sync-delay', '0')
    const store = connect(redis.url, 'careful', { durability: 'replicated', commandTimeoutMs: 3000 })
    await store.ready
    await open(store, 'c')
    await assert.rejects(store.commit([toSessions(['c'])]), isUnavailable)
    assert.deepEqual(
      (await store.check()).map(warning => warning.code),
      ['aof_off', 'no_replica'],
    )
    const replica = await startRedis(['--replicaof', '127.0.0.1', String(redis.port)])
    const deadline = Date.now() + 15_000
    while (!/connected_slaves:1\r\n.*state=online/s.test(await admin.info('replication'))) {
      assert.ok(Date.now() < deadline, 'the replica follows')
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    const [result] = await store.commit([toSessions(['c'])])
    assert.equal(result?.status, 'stored')
    await store.stop()
    await replica.stop()
  })

  it('survives foreign messages on its poke channel', async () => {
    const heard: string[] = []
    a.setListener({ onQueueGrew: (_, clientId) => heard.push(clientId), onReconnected: () => {} })
    await admin.publish('midge:poke:node-a', '%zz')
    await open(a, 'c')
    await b.commit([toSessions(['c'])])
    await until(() => heard.includes('c'), 'poke')
  })
})
