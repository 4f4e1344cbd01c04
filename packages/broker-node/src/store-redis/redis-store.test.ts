import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { SESSION_EXPIRY_NEVER } from '@midge/protocol-core'
import type { Redis } from 'ioredis'
import type { TestRedis } from '../testing/redis-server.ts'
import type { RedisStore } from './index.ts'
import {
  close,
  INSTANCE,
  isFenced,
  leftovers,
  message,
  open,
  startTwoStores,
  stopTwoStores,
  subscription,
  textOf,
  toGroup,
  toSessions,
  until,
  will,
} from './redis-store.test.support.ts'

describe('RedisStore', () => {
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

  it('resumes a session on another node with its queue in order', async () => {
    const first = await open(a, 'c')
    await a.saveSubscriptions(INSTANCE, 'c', first.epoch, [subscription('a/b')])
    await close(a, 'c', first.epoch, { sentSeq: 0 })
    for (const text of ['1', '2', '3']) await b.commit([toSessions(['c'], text)])
    const again = await open(b, 'c')
    assert.equal(again.sessionPresent, true)
    assert.deepEqual(again.subscriptions, [subscription('a/b')])
    assert.deepEqual([again.headSeq, again.tailSeq, again.sentSeq], [1, 3, 0])
    const entries = await b.readQueue(INSTANCE, 'c', again.epoch, 1, 10)
    assert.deepEqual(entries.map(textOf), ['1', '2', '3'])
    assert.deepEqual(
      entries.map(entry => entry.seq),
      [1, 2, 3],
    )
    await b.ackQueue(INSTANCE, 'c', again.epoch, 2)
    assert.deepEqual((await b.readQueue(INSTANCE, 'c', again.epoch, 1, 10)).map(textOf), ['3'])
  })

  it('refuses every write of an owner that was taken over', async () => {
    const old = await open(a, 'c')
    const current = await open(b, 'c')
    assert.deepEqual(current.previous, { nodeId: 'node-a', epoch: old.epoch })
    assert.ok(current.epoch > old.epoch)
    const { epoch } = old
    await assert.rejects(a.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('x')]), isFenced)
    await assert.rejects(a.removeSubscriptions(INSTANCE, 'c', epoch, ['x']), isFenced)
    await assert.rejects(a.readQueue(INSTANCE, 'c', epoch, 1, 10), isFenced)
    await assert.rejects(a.ackQueue(INSTANCE, 'c', epoch, 1), isFenced)
    await assert.rejects(a.releaseQueue(INSTANCE, 'c', epoch, [1]), isFenced)
    await assert.rejects(a.forgetInbound(INSTANCE, 'c', epoch, 1), isFenced)
    await assert.rejects(a.takeGroup(INSTANCE, '$share/g/t', 'c', epoch, [1]), isFenced)
    await assert.rejects(close(a, 'c', epoch), isFenced)
    const [result] = await a.commit([{ ...toSessions(['c'], 'q2', 2), inbound: { clientId: 'c', epoch, packetId: 9 } }])
    assert.equal(result?.status, 'fenced')
    assert.deepEqual(await b.readQueue(INSTANCE, 'c', current.epoch, 1, 10), [])
  })

  it('never gives an epoch out twice, whatever became of the session', async () => {
    const first = await open(a, 'c', { sessionExpirySeconds: 0 })
    await close(a, 'c', first.epoch, { sessionExpirySeconds: 0 })
    const second = await open(a, 'c', { sessionExpirySeconds: 0 })
    assert.ok(second.epoch > first.epoch)
    assert.equal(second.sessionPresent, false)
  })

  it('pokes the owner of an online session on the other node, and not the caller', async () => {
    const heard: string[] = []
    const listener = (name: string) => ({
      onQueueGrew: (instance: string, clientId: string, tail: number) =>
        heard.push(`${name} ${instance} ${clientId} ${tail}`),
      onReconnected: () => {},
    })
    a.setListener(listener('a'))
    b.setListener(listener('b'))
    await open(b, 'odd } {id: é/#', { sessionExpirySeconds: 60 })
    await open(a, 'mine')
    const results = await a.commit([toSessions(['odd } {id: é/#', 'mine'], '1'), toSessions(['odd } {id: é/#'], '2')])
    assert.deepEqual(
      results.map(result => result.seqs),
      [[1, 1], [2]],
    )
    await until(() => heard.length > 0, 'poke')
    assert.deepEqual(heard, [`b ${INSTANCE} odd } {id: é/# 2`])
  })

  it('refuses the newest message when a queue is full, by count and by bytes', async () => {
    const { epoch } = await open(a, 'c')
    await close(a, 'c', epoch)
    const results = await a.commit(Array.from({ length: 120 }, (_, i) => toSessions(['c'], String(i))))
    const seqs = results.map(result => result.seqs[0])
    assert.deepEqual(seqs.slice(98, 102), [99, 100, 0, 0])
    const again = await open(a, 'c')
    assert.equal(again.tailSeq, 100)
    const [big] = await a.commit([toSessions(['c'], 'y'.repeat(300_000))])
    assert.deepEqual(big?.seqs, [0])
  })

  it('drops unsent expired messages of an offline queue before it refuses a new one', async () => {
    const { epoch } = await open(a, 'c')
    await close(a, 'c', epoch)
    const past = Date.now() - 1000
    const items = Array.from({ length: 100 }, () => ({ ...toSessions(['c']), message: message('t', 'old', 1, past) }))
    const withIds = items.map(item => ({
      ...item,
      sessions: item.sessions.map(target => ({ ...target, subscriptionIds: [1, 300, 268_435_455] })),
    }))
    await a.commit(withIds)
    const [result] = await a.commit([toSessions(['c'], 'new')])
    assert.equal(result?.seqs[0], 101)
    const again = await open(a, 'c')
    assert.deepEqual((await a.readQueue(INSTANCE, 'c', again.epoch, again.headSeq, 5)).map(textOf), ['new'])
  })

  it('does not show again what was acknowledged ahead of an older entry', async () => {
    const { epoch } = await open(a, 'c')
    await a.commit(['1', '2', '3', '4'].map(text => toSessions(['c'], text)))
    await close(a, 'c', epoch, { sentSeq: 4, ackedAhead: [2, 4, 99] })
    const again = await open(b, 'c')
    const entries = await b.readQueue(INSTANCE, 'c', again.epoch, 1, 10)
    assert.deepEqual(
      entries.map(entry => [entry.seq, textOf(entry)]),
      [
        [1, '1'],
        [3, '3'],
      ],
    )
    assert.deepEqual(
      (await b.readQueue(INSTANCE, 'c', again.epoch, 2, 1)).map(entry => entry.seq),
      [3],
    )
    await b.ackQueue(INSTANCE, 'c', again.epoch, 4)
    const record = (await admin.keys('midge:s:*'))[0] ?? ''
    assert.deepEqual(await admin.hmget(record, 'b', 'h'), ['0', '5'])
  })

  it('commits a QoS 2 message once', async () => {
    const pub = await open(a, 'pub')
    await open(a, 'sub')
    const item = { ...toSessions(['sub'], 'once', 2), inbound: { clientId: 'pub', epoch: pub.epoch, packetId: 5 } }
    const twice = await a.commit([item, item])
    assert.deepEqual(
      twice.map(result => result.status),
      ['stored', 'duplicate'],
    )
    assert.equal((await a.commit([item]))[0]?.status, 'duplicate')
    assert.equal(await a.tailSeq(INSTANCE, 'sub'), 1)
    const resumed = await open(b, 'pub')
    assert.deepEqual(resumed.inboundPacketIds, [5])
    await b.forgetInbound(INSTANCE, 'pub', resumed.epoch, 5)
    const [next] = await b.commit([{ ...item, inbound: { ...item.inbound, epoch: resumed.epoch } }])
    assert.deepEqual(next, { status: 'stored', seqs: [2], droppedGroups: 0 })
    await b.ping()
    assert.deepEqual(await admin.keys('midge:dd*'), [], 'tokens are forgotten when all is done')
  })

  it('fires a will once, by delay, by takeover and by the death of a node', async () => {
    const now = 1_000_000
    const one = await open(a, 'one', { will: will() })
    await close(a, 'one', one.epoch, { will: 'fire' })
    const first = await a.sweep('node-a', now, 100)
    assert.equal(first.wills.length, 1)
    assert.equal((await b.sweep('node-b', now, 100)).wills.length, 0, 'claimed')
    assert.equal((await b.sweep('node-b', now + 10_001, 100)).wills.length, 1, 'claim ran out')
    await b.confirmWill(INSTANCE, 'one', first.wills[0]?.id ?? '')
    assert.equal((await b.sweep('node-b', now + 30_000, 100)).wills.length, 0)

    const two = await open(a, 'two', { will: will(20) })
    await close(a, 'two', two.epoch, { will: 'fire' })
    assert.equal((await a.sweep('node-a', now + 19_999, 100)).wills.length, 0)
    await open(b, 'two', { nowMs: now + 19_999 })
    assert.equal((await a.sweep('node-a', now + 30_000, 100)).wills.length, 0, 'the session came back in time')

    await open(a, 'three', { will: will(5), sessionExpirySeconds: 0 })
    await open(a, 'four', { will: will(), sessionExpirySeconds: SESSION_EXPIRY_NEVER })
    let reaped = 0
    for (let round = await b.reapNode('node-a', now, 2); round > 0; round = await b.reapNode('node-a', now, 2))
      reaped += round
    assert.equal(reaped, 2)
    const { wills } = await b.sweep('node-b', now, 100)
    assert.deepEqual(wills.map(due => due.clientId).sort(), ['four', 'three'])
  })

  it('ends a session when its expiry has passed and tells its subscriptions', async () => {
    const { epoch } = await open(a, 'c')
    await a.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('x/+')])
    await a.commit([toSessions(['c'])])
    await close(a, 'c', epoch, { sessionExpirySeconds: 10 })
    assert.deepEqual((await a.sweep('node-a', 1_009_999, 10)).expired, [])
    const { expired } = await a.sweep('node-a', 1_010_000, 10)
    assert.deepEqual(expired, [{ instance: INSTANCE, clientId: 'c', subscriptions: [subscription('x/+')] }])
    assert.deepEqual(await leftovers(admin), [])
  })

  it('finds an expired session gone although no sweep has run', async () => {
    const { epoch } = await open(a, 'c')
    await a.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('x')])
    await close(a, 'c', epoch, { sessionExpirySeconds: 10 })
    const again = await open(a, 'c', { nowMs: 1_010_000 })
    assert.equal(again.sessionPresent, false)
    assert.deepEqual(again.endedSubscriptions, [subscription('x')])
  })

  it('lets members that race never share a message, and keeps the order of what is given back', async () => {
    const group = '$share/g/jobs/#'
    const one = await open(a, 'one')
    const two = await open(b, 'two')
    await a.commit(Array.from({ length: 60 }, (_, i) => toGroup(group, String(i))))
    const pids = [1, 2, 3, 4, 5, 6]
    const taken = await Promise.all(
      pids.flatMap(() => [
        a.takeGroup(INSTANCE, group, 'one', one.epoch, pids.slice(0, 5)),
        b.takeGroup(INSTANCE, group, 'two', two.epoch, pids.slice(0, 5)),
      ]),
    )
    const seqs = taken.flat().map(entry => entry.seq)
    assert.equal(seqs.length, 60)
    assert.equal(new Set(seqs).size, 60)
    await close(b, 'two', two.epoch)
    await close(a, 'one', one.epoch)
    const three = await open(a, 'three')
    const all = await a.takeGroup(
      INSTANCE,
      group,
      'three',
      three.epoch,
      Array.from({ length: 100 }, (_, i) => i + 1),
    )
    assert.deepEqual(
      all.map(textOf),
      Array.from({ length: 60 }, (_, i) => String(i)),
    )
    await a.ackGroup(
      INSTANCE,
      group,
      'three',
      all.map(entry => entry.seq),
    )
    await a.deleteGroup(INSTANCE, group)
    for (const [clientId, session] of [['three', three]] as const)
      await close(a, clientId, session.epoch, { sessionExpirySeconds: 0 })
    await a.sweep('node-a', 9_000_000, 100)
    assert.deepEqual(await leftovers(admin), [])
  })

  it('keeps QoS 2 messages of a member that resumes and gives them to nobody when its session ends', async () => {
    const group = '$share/g/jobs'
    const one = await open(a, 'one')
    await a.commit([toGroup(group, 'q1', 1), toGroup(group, 'q2', 2)])
    await a.takeGroup(INSTANCE, group, 'one', one.epoch, [11, 12])
    await a.releaseGroup(INSTANCE, group, 'one', [2])
    const resumed = await open(b, 'one')
    const held = await b.heldOfGroup(INSTANCE, group, 'one', resumed.epoch)
    assert.deepEqual(
      held.map(entry => [entry.seq, entry.packetId, entry.released, textOf(entry)]),
      [[2, 12, true, 'q2']],
    )
    await close(b, 'one', resumed.epoch, { sessionExpirySeconds: 10 })
    await a.sweep('node-a', 2_000_000, 10)
    const two = await open(a, 'two')
    const all = await a.takeGroup(INSTANCE, group, 'two', two.epoch, [1, 2, 3])
    assert.deepEqual(all.map(textOf), ['q1'])
  })

  it('gives the messages of a member back when its node has died before it could', async () => {
    const group = '$share/g/jobs'
    const one = await open(a, 'one', { sessionExpirySeconds: 0 })
    await a.commit([toGroup(group, '1')])
    await a.takeGroup(INSTANCE, group, 'one', one.epoch, [1])
    await b.reapNode('node-a', 1_000_000, 10)
    const two = await open(b, 'two')
    assert.deepEqual((await b.takeGroup(INSTANCE, group, 'two', two.epoch, [1])).map(textOf), ['1'])
  })

  it('lists every stored subscription', async () => {
    const expected: string[] = []
    for (let i = 0; i < 50; i++) {
      const { epoch } = await open(a, `c${i}`)
      await a.saveSubscriptions(INSTANCE, `c${i}`, epoch, [subscription('x'), subscription(`y/${i}`)])
      expected.push(`c${i} x`, `c${i} y/${i}`)
    }
    const found: string[] = []
    for await (const page of b.listSubscriptions()) {
      for (const { clientId, subscription: one } of page) found.push(`${clientId} ${one.topicFilter}`)
    }
    assert.deepEqual(found.sort(), expected.sort())
  })
})
