import assert from 'node:assert/strict'
import { SESSION_EXPIRY_NEVER } from '../limits.ts'
import {
  INSTANCE,
  message,
  NODE,
  packetIds,
  payloadsOf,
  rejectsFenced,
  rejectsOwned,
  type StoreTests,
  subscription,
  target,
  will,
} from './store-fixture.ts'

const HOUR_MS = 3_600_000

/** Client ids that break careless keys. */
const CLIENT_IDS = [
  'plain',
  'with}brace',
  '{tag}',
  'a/b',
  'a:b:c',
  '*?[x]',
  '__proto__',
  'constructor',
  ' ',
  '\u0001',
  'größe-日本-🦟',
  `${'x'.repeat(65_534)}1`,
  `${'x'.repeat(65_534)}2`,
  'é'.repeat(32_767),
]

/** A payload that tells the client ids apart and fits the offline queue. */
const shortOf = (clientId: string): string => `${clientId.length} ${clientId.slice(0, 20)} ${clientId.slice(-20)}`

/** Opening, resuming, ending and fencing of sessions, and the records they keep. */
export const sessionContract: StoreTests = {
  'the first open creates an empty session': async f => {
    const opened = await f.open('c')
    assert.ok(opened.epoch > 0)
    assert.deepEqual(
      { ...opened, epoch: 0 },
      {
        epoch: 0,
        sessionPresent: false,
        subscriptions: [],
        headSeq: 1,
        tailSeq: 0,
        sentSeq: 0,
        inboundPacketIds: [],
        previous: undefined,
        displacedWill: undefined,
        dueWills: [],
        claimedWills: [],
        endedSubscriptions: [],
      },
    )
  },

  'a closed session is resumed with all it had': async f => {
    const first = await f.open('c')
    await f.store.saveSubscriptions(INSTANCE, 'c', first.epoch, [subscription('a/#', { qos: 2, subscriptionId: 7 })])
    const inbound = { clientId: 'c', epoch: first.epoch, packetId: 65_535 }
    await f.commit({ message: message('t', 'x'), inbound })
    await f.close('c', first.epoch)
    const seqs = await f.enqueue('c', ['one', 'two'])
    const second = await f.open('c')
    assert.ok(second.epoch > first.epoch)
    assert.deepEqual(
      { ...second, epoch: 0 },
      {
        epoch: 0,
        sessionPresent: true,
        subscriptions: [subscription('a/#', { qos: 2, subscriptionId: 7 })],
        headSeq: seqs[0],
        tailSeq: seqs[1],
        sentSeq: 0,
        inboundPacketIds: [65_535],
        previous: undefined,
        displacedWill: undefined,
        dueWills: [],
        claimedWills: [],
        endedSubscriptions: [],
      },
    )
    assert.deepEqual(payloadsOf(await f.store.readQueue(INSTANCE, 'c', second.epoch, 1, 10)), ['one', 'two'])
  },

  'a client id belongs to whoever has opened its session, connected or stored, clean start or not': async f => {
    const owner = { username: 'anna' }
    const intruders = [{ username: 'bert' }, { username: undefined }, { username: '' }, { username: 'anonymous' }]
    const first = await f.open('c', { ...owner, will: will('last words') })
    await f.store.saveSubscriptions(INSTANCE, 'c', first.epoch, [subscription('a')])
    const refusesAll = async (): Promise<void> => {
      for (const intruder of intruders) {
        for (const cleanStart of [false, true]) await rejectsOwned(f.open('c', { ...intruder, cleanStart }))
      }
    }
    await refusesAll()
    // Nothing has changed: the connection is there, with its will, and owns the session.
    await f.store.saveSubscriptions(INSTANCE, 'c', first.epoch, [subscription('b')])
    await f.close('c', first.epoch, { fate: 'fire' })
    assert.deepEqual(await f.dueWills(f.nowMs), ['last words'])
    await refusesAll()
    const second = await f.open('c', owner)
    assert.equal(second.sessionPresent, true)
    assert.deepEqual(second.subscriptions.map(found => found.topicFilter).sort(), ['a', 'b'])
    // The same name in another instance is another client id.
    await f.open('c', { username: 'bert', instance: 'other' })
  },

  'a client id is free when its session has ended': async f => {
    const HOUR_SECONDS = HOUR_MS / 1000
    const first = await f.open('c', { username: 'anna', sessionExpirySeconds: 0 })
    await rejectsOwned(f.open('c', { username: 'bert' }))
    await f.close('c', first.epoch, { sessionExpirySeconds: 0 })
    const second = await f.open('c', { username: 'bert', sessionExpirySeconds: HOUR_SECONDS })
    await f.close('c', second.epoch, { sessionExpirySeconds: HOUR_SECONDS })
    // Expired, although no sweep has seen it.
    const third = await f.open('c', { username: undefined, nowMs: f.nowMs + HOUR_MS })
    assert.equal(third.sessionPresent, false)
    await rejectsOwned(f.open('c', { username: 'anna', nowMs: f.nowMs + HOUR_MS }))
    await f.open('c', { username: undefined, nowMs: f.nowMs + HOUR_MS })
  },

  'a client id of a dead node belongs to its owner until the session has ended': async f => {
    await f.open('c', { username: 'anna', sessionExpirySeconds: 60 })
    assert.equal(await f.store.reapNode(NODE, f.nowMs, 10), 1)
    await rejectsOwned(f.open('c', { username: 'bert' }))
    const { expired } = await f.sweepAll(f.nowMs + 60_000)
    assert.equal(expired.length, 1)
    await f.open('c', { username: 'bert', nowMs: f.nowMs + 60_000 })
  },

  'clean start ends the stored session and tells its subscriptions': async f => {
    const first = await f.open('c')
    await f.store.saveSubscriptions(INSTANCE, 'c', first.epoch, [subscription('a'), subscription('b')])
    await f.close('c', first.epoch)
    await f.enqueue('c', ['old'])
    const second = await f.open('c', { cleanStart: true })
    assert.equal(second.sessionPresent, false)
    assert.deepEqual(second.subscriptions, [])
    assert.deepEqual(second.inboundPacketIds, [])
    assert.equal(second.headSeq, second.tailSeq + 1)
    assert.equal(second.sentSeq <= second.tailSeq, true)
    assert.deepEqual(second.endedSubscriptions.map(ended => ended.topicFilter).sort(), ['a', 'b'])
    assert.deepEqual(await f.store.readQueue(INSTANCE, 'c', second.epoch, 0, 10), [])
    assert.deepEqual(await f.listed(), [])
  },

  'epochs grow over the end of a session': async f => {
    const first = await f.open('c', { sessionExpirySeconds: 0 })
    await f.close('c', first.epoch, { sessionExpirySeconds: 0 })
    const second = await f.open('c')
    assert.equal(second.sessionPresent, false)
    assert.ok(second.epoch > first.epoch)
  },

  'close with expiry 0 ends the session and tells its subscriptions': async f => {
    const { epoch } = await f.open('c')
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a')])
    assert.deepEqual(await f.close('c', epoch, { sessionExpirySeconds: 0 }), [subscription('a')])
    assert.equal(await f.store.tailSeq(INSTANCE, 'c'), 0)
    assert.deepEqual(await f.listed(), [])
    assert.equal((await f.open('c')).sessionPresent, false)
  },

  'close with an expiry tells nothing, and may be repeated': async f => {
    const { epoch } = await f.open('c', { will: will('w') })
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a')])
    assert.deepEqual(await f.close('c', epoch, { fate: 'fire' }), [])
    assert.deepEqual(await f.close('c', epoch, { fate: 'fire' }), [])
    assert.deepEqual(await f.dueWills(f.nowMs), ['w'])
  },

  'a second open displaces the first connection and tells whose it was': async f => {
    const first = await f.open('c', { nodeId: 'node-a' })
    const second = await f.open('c', { nodeId: 'node-b' })
    assert.deepEqual(second.previous, { nodeId: 'node-a', epoch: first.epoch })
    assert.equal(second.sessionPresent, true)
    const third = await f.open('c', { nodeId: 'node-b', cleanStart: true })
    assert.deepEqual(third.previous, { nodeId: 'node-b', epoch: second.epoch })
    assert.ok(third.epoch > second.epoch && second.epoch > first.epoch)
  },

  'a session of expiry 0 ends when its connection is displaced': async f => {
    const first = await f.open('c', { sessionExpirySeconds: 0 })
    const second = await f.open('c')
    assert.equal(second.sessionPresent, false)
    assert.deepEqual(second.previous, { nodeId: NODE, epoch: first.epoch })
  },

  'every write and read of a displaced connection is refused': async f => {
    const { epoch: old } = await f.open('c')
    const { epoch } = await f.open('c', { nodeId: 'node-2' })
    await f.enqueue('c', ['kept'])
    await f.feedGroup('$share/g/t', ['kept'])
    const { store } = f
    await rejectsFenced(f.close('c', old))
    await rejectsFenced(store.saveSubscriptions(INSTANCE, 'c', old, [subscription('a')]))
    await rejectsFenced(store.removeSubscriptions(INSTANCE, 'c', old, ['a']))
    await rejectsFenced(store.readQueue(INSTANCE, 'c', old, 1, 10))
    await rejectsFenced(store.ackQueue(INSTANCE, 'c', old, 1))
    await rejectsFenced(store.releaseQueue(INSTANCE, 'c', old, [1]))
    await rejectsFenced(store.forgetInbound(INSTANCE, 'c', old, 1))
    await rejectsFenced(store.takeGroup(INSTANCE, '$share/g/t', 'c', old, [1]))
    await rejectsFenced(store.heldOfGroup(INSTANCE, '$share/g/t', 'c', old))
    const inbound = { clientId: 'c', epoch: old, packetId: 1 }
    const item = { message: message('t', 'no'), sessions: [target('c')], retain: true, inbound }
    assert.equal((await f.commit(item)).status, 'fenced')
    assert.deepEqual(await f.matchAll('#'), [])
    assert.deepEqual(payloadsOf(await store.readQueue(INSTANCE, 'c', epoch, 1, 10)), ['kept'])
    assert.deepEqual(await f.listed(), [])
    assert.equal((await store.takeGroup(INSTANCE, '$share/g/t', 'c', epoch, [1])).length, 1)
  },

  'subscriptions are added, replaced and removed': async f => {
    const { epoch } = await f.open('c')
    const full = subscription('a/+', {
      qos: 2,
      noLocal: true,
      retainAsPublished: true,
      retainHandling: 2,
      subscriptionId: 268_435_455,
    })
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a/+'), subscription('$share/g/b/#')])
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [full, subscription('c')])
    await f.store.removeSubscriptions(INSTANCE, 'c', epoch, ['c', 'never there'])
    await f.close('c', epoch)
    const { subscriptions } = await f.open('c')
    const sorted = subscriptions.sort((a, b) => (a.topicFilter < b.topicFilter ? -1 : 1))
    assert.deepEqual(sorted, [subscription('$share/g/b/#'), full])
  },

  'sentSeq is what close said, and the tail where no close came': async f => {
    const first = await f.open('c')
    await f.enqueue('c', ['1', '2', '3'])
    await f.close('c', first.epoch, { sentSeq: 2 })
    await f.enqueue('c', ['4'])
    const second = await f.open('c')
    assert.equal(second.sentSeq, 2)
    await f.enqueue('c', ['5'])
    const third = await f.open('c')
    assert.equal(third.sentSeq, 5)
    await f.enqueue('c', ['6'])
    assert.equal(await f.store.reapNode(NODE, f.nowMs, 10), 1)
    await f.enqueue('c', ['7'])
    assert.equal((await f.open('c')).sentSeq, 6)
  },

  'a session expires at its time, not before, and tells its subscriptions': async f => {
    const { epoch } = await f.open('c')
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a')])
    await f.close('c', epoch, { sessionExpirySeconds: 10 })
    await f.openAndClose('other', { sessionExpirySeconds: 20 })
    assert.deepEqual((await f.sweepAll(f.nowMs + 9_999)).expired, [])
    assert.deepEqual((await f.sweepAll(f.nowMs + 10_000)).expired, [
      { instance: INSTANCE, clientId: 'c', subscriptions: [subscription('a')] },
    ])
    assert.deepEqual(await f.listed(), [])
    assert.equal((await f.open('c', { nowMs: f.nowMs + 10_000 })).sessionPresent, false)
    assert.equal((await f.open('other', { nowMs: f.nowMs + 10_000 })).sessionPresent, true)
  },

  'a session whose time is over is not resumed, even before a sweep': async f => {
    const { epoch } = await f.open('c')
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a')])
    await f.close('c', epoch, { sessionExpirySeconds: 10 })
    const opened = await f.open('c', { nowMs: f.nowMs + 10_001 })
    assert.equal(opened.sessionPresent, false)
    assert.deepEqual(opened.endedSubscriptions, [subscription('a')])
    assert.deepEqual((await f.sweepAll(f.nowMs + 10_001)).expired, [])
  },

  'a resumed session does not expire while it is connected': async f => {
    await f.openAndClose('c', { sessionExpirySeconds: 10 })
    const { epoch } = await f.open('c', { sessionExpirySeconds: 10, nowMs: f.nowMs + 5_000 })
    assert.deepEqual((await f.sweepAll(f.nowMs + HOUR_MS)).expired, [])
    await f.close('c', epoch, { sessionExpirySeconds: 10, nowMs: f.nowMs + HOUR_MS })
    assert.deepEqual((await f.sweepAll(f.nowMs + HOUR_MS + 9_999)).expired, [])
    assert.equal((await f.sweepAll(f.nowMs + HOUR_MS + 10_000)).expired.length, 1)
  },

  'a session of expiry "never" does not expire': async f => {
    await f.openAndClose('c', { sessionExpirySeconds: SESSION_EXPIRY_NEVER })
    const farMs = f.nowMs + 200 * 365 * 24 * HOUR_MS
    assert.deepEqual((await f.sweepAll(farMs)).expired, [])
    assert.equal((await f.open('c', { nowMs: farMs })).sessionPresent, true)
  },

  'many expired sessions come out once each, bounded per sweep': async f => {
    for (let i = 0; i < 7; i++) await f.openAndClose(`c${i}`, { sessionExpirySeconds: 1 })
    const { expired } = await f.sweepAll(f.nowMs + 1_000, 3)
    assert.deepEqual(expired.map(session => session.clientId).sort(), ['c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6'])
  },

  'all subscriptions of all stored sessions are listed': async f => {
    const expected: string[] = []
    for (let i = 0; i < 30; i++) {
      const clientId = `client-${i}`
      const instance = i % 2 === 0 ? 'even' : 'odd'
      const { epoch } = await f.open(clientId, { instance })
      const subscriptions = packetIds(50).map(n => subscription(`filter/${n}/${i}`, { subscriptionId: n }))
      await f.store.saveSubscriptions(instance, clientId, epoch, subscriptions)
      if (i < 10) await f.close(clientId, epoch, { instance })
      for (const { topicFilter, subscriptionId } of subscriptions) {
        expected.push(`${instance} ${clientId} ${topicFilter} ${subscriptionId}`)
      }
    }
    const listed = (await f.listed()).map(
      ({ instance, clientId, subscription: { topicFilter, subscriptionId } }) =>
        `${instance} ${clientId} ${topicFilter} ${subscriptionId}`,
    )
    assert.deepEqual(listed.sort(), expected.sort())
  },

  'client ids are bytes, never syntax': async f => {
    for (const clientId of CLIENT_IDS) {
      const { epoch } = await f.open(clientId, { will: will(clientId) })
      await f.store.saveSubscriptions(INSTANCE, clientId, epoch, [subscription('a')])
      await f.commit({ message: message('t', 'x'), inbound: { clientId, epoch, packetId: 9 } })
      await f.close(clientId, epoch, { fate: 'fire' })
      assert.deepEqual(await f.enqueue(clientId, [shortOf(clientId)]), [1])
    }
    assert.deepEqual((await f.listed()).map(listed => listed.clientId).sort(), [...CLIENT_IDS].sort())
    assert.deepEqual(await f.dueWills(f.nowMs), [...CLIENT_IDS].sort())
    for (const clientId of CLIENT_IDS) {
      const opened = await f.open(clientId)
      assert.deepEqual(opened.subscriptions, [subscription('a')])
      assert.deepEqual(opened.inboundPacketIds, [9])
      assert.deepEqual(payloadsOf(await f.store.readQueue(INSTANCE, clientId, opened.epoch, 1, 5)), [shortOf(clientId)])
      await f.close(clientId, opened.epoch, { sessionExpirySeconds: 0 })
      assert.equal((await f.open(clientId)).sessionPresent, false)
    }
  },

  'instances see nothing of one another': async f => {
    // Names that would be one if they were only joined.
    const places = [
      ['a', 'b:c'],
      ['a:b', 'c'],
      ['a', 'c'],
      ['b', 'c'],
    ] as const
    for (const [instance, clientId] of places) {
      const label = `${instance}|${clientId}`
      const { epoch, sessionPresent } = await f.open(clientId, { instance })
      assert.equal(sessionPresent, false, label)
      await f.store.saveSubscriptions(instance, clientId, epoch, [subscription(label)])
      await f.commit({
        instance,
        message: message(`topic/${clientId}`, label),
        sessions: [target(clientId)],
        groups: [{ group: `$share/g/${clientId}`, qos: 1 }],
        retain: true,
      })
    }
    for (const [instance, clientId] of places) {
      const label = `${instance}|${clientId}`
      const { epoch, subscriptions } = await f.open(clientId, { instance })
      assert.deepEqual(subscriptions, [subscription(label)])
      assert.deepEqual(payloadsOf(await f.store.readQueue(instance, clientId, epoch, 1, 10)), [label])
      const found = await f.matchAll(`topic/${clientId}`, 10, instance)
      assert.deepEqual(payloadsOf(found.map(one => ({ message: one }))), [label])
      const taken = await f.store.takeGroup(instance, `$share/g/${clientId}`, clientId, epoch, [1, 2, 3])
      assert.deepEqual(payloadsOf(taken), [label])
    }
  },

  'as many sessions may outlive their connection as the limit says, however many are opened at once': async f => {
    const opens = await Promise.allSettled(
      packetIds(30).map(n => f.open(`c${n}`, { storedSessionsMax: 10, sessionExpirySeconds: 3600 })),
    )
    assert.equal(opens.filter(({ status }) => status === 'fulfilled').length, 10)
    for (const open of opens) if (open.status === 'rejected') assert.equal(open.reason.code, 'MIDGE_PLAN_LIMIT')
    await assert.rejects(f.open('one more', { storedSessionsMax: 10 }), { code: 'MIDGE_PLAN_LIMIT' })
    const taken = packetIds(30).find(n => opens[n - 1]?.status === 'fulfilled')
    // What exists may be resumed, also when the limit has become smaller.
    const { epoch, sessionPresent } = await f.open(`c${taken}`, { storedSessionsMax: 1 })
    assert.ok(sessionPresent)
    await f.open('not stored', { sessionExpirySeconds: 0 })
    await f.open('other instance', { instance: 'other', storedSessionsMax: 1 })
    await f.close(`c${taken}`, epoch, { sessionExpirySeconds: 0 })
    await f.open('one more', { storedSessionsMax: 10 })
    await assert.rejects(f.open('and one more', { storedSessionsMax: 10 }), { code: 'MIDGE_PLAN_LIMIT' })
  },
}
