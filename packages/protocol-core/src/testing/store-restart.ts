import assert from 'node:assert/strict'
import {
  INSTANCE,
  message,
  NODE,
  payloadsOf,
  rejectsOwned,
  type StoreTests,
  subscription,
  target,
  will,
} from './store-fixture.ts'

const GROUP = '$share/g/t'

/** What a store that keeps something has kept after its process was started again. */
export const restartContract: StoreTests = {
  'restart: sessions with subscriptions, queue, released and inbound ids': async f => {
    const { epoch } = await f.open('c')
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [
      subscription('a/#', { qos: 2, noLocal: true, retainHandling: 1, subscriptionId: 300 }),
      subscription('gone'),
    ])
    await f.store.removeSubscriptions(INSTANCE, 'c', epoch, ['gone'])
    await f.commit({ message: message('t', 'x'), inbound: { clientId: 'c', epoch, packetId: 5 } })
    await f.commit({ message: message('t', 'x'), inbound: { clientId: 'c', epoch, packetId: 6 } })
    await f.store.forgetInbound(INSTANCE, 'c', epoch, 6)
    await f.enqueue('c', ['1', '2', '3', '4'], { qos: 2, retain: true, subscriptionIds: [1, 70_000] })
    await f.store.ackQueue(INSTANCE, 'c', epoch, 1)
    await f.store.releaseQueue(INSTANCE, 'c', epoch, [2])
    await f.close('c', epoch, { sentSeq: 3 })
    if (!(await f.reopen())) return
    const opened = await f.open('c')
    assert.ok(opened.epoch > epoch)
    assert.equal(opened.sessionPresent, true)
    assert.deepEqual([opened.headSeq, opened.tailSeq, opened.sentSeq], [2, 4, 3])
    assert.deepEqual(opened.inboundPacketIds, [5])
    assert.deepEqual(opened.subscriptions, [
      subscription('a/#', { qos: 2, noLocal: true, retainHandling: 1, subscriptionId: 300 }),
    ])
    const entries = await f.store.readQueue(INSTANCE, 'c', opened.epoch, 1, 10)
    assert.deepEqual(payloadsOf(entries), ['2', '3', '4'])
    assert.deepEqual(
      entries.map(({ qos, retain, released, subscriptionIds }) => ({ qos, retain, released, subscriptionIds })),
      [true, false, false].map(released => ({ qos: 2, retain: true, released, subscriptionIds: [1, 70_000] })),
    )
    assert.deepEqual((await f.listed()).length, 1)
  },

  'restart: a client id belongs to whom it did before': async f => {
    await f.openAndClose('named', { username: 'größe' })
    await f.openAndClose('nameless', { username: undefined })
    const { epoch } = await f.open('with a will', { username: '', will: will('x') })
    if (!(await f.reopen())) return
    await rejectsOwned(f.open('named', { username: undefined }))
    await rejectsOwned(f.open('nameless', { username: '' }))
    await rejectsOwned(f.open('with a will', { username: undefined }))
    assert.ok((await f.open('with a will', { username: '' })).epoch > epoch)
    assert.equal((await f.open('named', { username: 'größe' })).sessionPresent, true)
    assert.equal((await f.open('nameless', { username: undefined })).sessionPresent, true)
  },

  'restart: sequence numbers and epochs go on where they were': async f => {
    const { epoch } = await f.open('c')
    await f.enqueue('c', ['1', '2', '3'])
    await f.store.ackQueue(INSTANCE, 'c', epoch, 3)
    await f.close('c', epoch)
    const gone = await f.open('gone', { sessionExpirySeconds: 0 })
    await f.close('gone', gone.epoch, { sessionExpirySeconds: 0 })
    if (!(await f.reopen())) return
    assert.deepEqual(await f.enqueue('c', ['4']), [4])
    const opened = await f.open('c')
    assert.deepEqual([opened.headSeq, opened.tailSeq], [4, 4])
    const again = await f.open('gone')
    assert.equal(again.sessionPresent, false)
    assert.ok(again.epoch > gone.epoch)
  },

  'restart: connections that were open are reaped, their wills become due': async f => {
    const { epoch } = await f.open('c', { will: will('at once') })
    await f.enqueue('c', ['1', '2'])
    await f.open('delayed', { will: will('delayed', 30), sessionExpirySeconds: 60 })
    await f.open('short', { will: will('short', 30), sessionExpirySeconds: 0 })
    if (!(await f.reopen())) return
    assert.equal(await f.store.reapNode(NODE, f.nowMs, 10), 3)
    assert.equal(await f.store.reapNode(NODE, f.nowMs, 10), 0)
    assert.deepEqual(await f.dueWills(f.nowMs), ['at once', 'short'])
    assert.deepEqual(await f.dueWills(f.nowMs + 30_000), ['delayed'])
    assert.equal((await f.open('short')).sessionPresent, false)
    const opened = await f.open('c')
    assert.deepEqual([opened.sessionPresent, opened.sentSeq, opened.previous], [true, 2, undefined])
    assert.ok(opened.epoch > epoch)
  },

  'restart: a discarded will stays away': async f => {
    for (const instance of [INSTANCE, `${INSTANCE}-2`]) {
      const { epoch } = await f.open('c', { instance, will: will(instance) })
      await f.close('c', epoch, { instance, fate: 'fire' })
    }
    await f.store.discardWills(INSTANCE)
    if (!(await f.reopen())) return
    assert.deepEqual(await f.dueWills(f.nowMs), [`${INSTANCE}-2`])
  },

  'restart: wills know whose they are, of connections that were open and of those that were not': async f => {
    const owner = { username: 'größe', isKnown: true }
    const { epoch } = await f.open('closed', { will: { ...will('closed', 5), owner } })
    await f.close('closed', epoch, { fate: 'fire' })
    await f.open('open', { will: { ...will('open'), owner } })
    if (!(await f.reopen())) return
    await f.store.reapNode(NODE, f.nowMs, 10)
    const { wills } = await f.sweepAll(f.nowMs + 5000)
    assert.deepEqual(
      wills.map(due => due.will.owner),
      [owner, owner],
    )
  },

  'restart: deadlines of wills and sessions keep running': async f => {
    const { epoch } = await f.open('c', { will: will('w', 5) })
    await f.close('c', epoch, { fate: 'fire', sessionExpirySeconds: 10 })
    const confirmed = await f.open('confirmed', { will: will('confirmed') })
    await f.close('confirmed', confirmed.epoch, { fate: 'fire' })
    assert.deepEqual(await f.dueWills(f.nowMs), ['confirmed'])
    const cancelled = await f.open('cancelled', { will: will('cancelled', 5) })
    await f.close('cancelled', cancelled.epoch, { fate: 'fire' })
    await f.openAndClose('cancelled')
    if (!(await f.reopen())) return
    assert.deepEqual(await f.dueWills(f.nowMs + 4_999), [])
    assert.deepEqual(await f.dueWills(f.nowMs + 5_000), ['w'])
    assert.deepEqual(
      (await f.sweepAll(f.nowMs + 10_000)).expired.map(session => session.clientId),
      ['c'],
    )
  },

  'restart: a delayed will is still cancelled by a new connection': async f => {
    const { epoch } = await f.open('c', { will: will('w', 5) })
    await f.close('c', epoch, { fate: 'fire' })
    if (!(await f.reopen())) return
    await f.open('c', { nowMs: f.nowMs + 1_000 })
    assert.deepEqual(await f.dueWills(f.nowMs + 100_000), [])
  },

  'restart: groups, and what a stored session holds of them at QoS 2': async f => {
    const a = await f.open('a')
    await f.feedGroup(GROUP, ['held', 'released', 'acknowledged'], 2)
    await f.feedGroup(GROUP, ['below', 'waiting'], 1)
    const taken = await f.store.takeGroup(INSTANCE, GROUP, 'a', a.epoch, [31, 32, 33, 34])
    assert.equal(taken.length, 4)
    await f.store.releaseGroup(INSTANCE, GROUP, 'a', [taken[1]?.seq ?? 0])
    await f.store.ackGroup(INSTANCE, GROUP, 'a', [taken[2]?.seq ?? 0])
    if (!(await f.reopen())) return
    await f.store.reapNode(NODE, f.nowMs, 10)
    const b = await f.open('b')
    const others = await f.store.takeGroup(INSTANCE, GROUP, 'b', b.epoch, [1, 2, 3, 4, 5])
    assert.deepEqual(payloadsOf(others), ['below', 'waiting'])
    const again = await f.open('a')
    const held = await f.store.heldOfGroup(INSTANCE, GROUP, 'a', again.epoch)
    assert.deepEqual(payloadsOf(held), ['held', 'released'])
    assert.deepEqual(
      held.map(({ packetId, released }) => [packetId, released]),
      [
        [31, false],
        [32, true],
      ],
    )
  },

  'restart: secrets': async f => {
    const secret = await f.store.secret('a', 32)
    const other = await f.store.secret('b', 16)
    if (!(await f.reopen())) return
    assert.deepEqual(Buffer.from(await f.store.secret('a', 32)), Buffer.from(secret))
    assert.deepEqual(Buffer.from(await f.store.secret('b', 32)), Buffer.from(other))
  },

  'restart: retained messages': async f => {
    for (const topicName of ['a', 'b/c', '$SYS/x', 'removed']) {
      await f.commit({ message: message(topicName, topicName, { retain: true }), retain: true })
    }
    await f.commit({ message: message('b/c', 'replaced', { retain: true }), retain: true })
    await f.commit({ message: message('removed', '', { retain: true }), retain: true })
    if (!(await f.reopen())) return
    assert.deepEqual(await f.matchedTopics('#'), ['a', 'b/c'])
    assert.deepEqual(payloadsOf((await f.matchAll('b/c')).map(one => ({ message: one }))), ['replaced'])
    assert.deepEqual(await f.matchedTopics('$SYS/#'), ['$SYS/x'])
  },

  'restart: an ended session and a deleted group leave nothing behind': async f => {
    const { epoch } = await f.open('c', { will: will('w') })
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a')])
    await f.commit({
      message: message('t', 'x'),
      sessions: [target('c')],
      groups: [{ group: GROUP, qos: 2 }],
      inbound: { clientId: 'c', epoch, packetId: 1 },
    })
    await f.store.takeGroup(INSTANCE, GROUP, 'c', epoch, [1])
    await f.store.deleteGroup(INSTANCE, GROUP)
    await f.close('c', epoch, { sessionExpirySeconds: 0 })
    if (!(await f.reopen())) return
    const opened = await f.open('c')
    assert.deepEqual(
      [opened.sessionPresent, opened.subscriptions, opened.inboundPacketIds, opened.tailSeq + 1 - opened.headSeq],
      [false, [], [], 0],
    )
    assert.deepEqual(await f.store.takeGroup(INSTANCE, GROUP, 'c', opened.epoch, [1]), [])
    assert.deepEqual(await f.store.heldOfGroup(INSTANCE, GROUP, 'c', opened.epoch), [])
    assert.deepEqual(await f.listed(), [])
    assert.deepEqual(await f.dueWills(f.nowMs + 100_000), [])
  },
}
