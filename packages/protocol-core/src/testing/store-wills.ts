import assert from 'node:assert/strict'
import { EMPTY_BYTES } from '../message.ts'
import {
  INSTANCE,
  message,
  NODE,
  payloadOf,
  payloadsOf,
  rejectsFenced,
  type StoreTests,
  subscription,
  will,
} from './store-fixture.ts'

/** Wills and the death of a node, where more happens than one row of `store-rules.ts` says. */
export const willContract: StoreTests = {
  'a fired will without delay is due at once, with all its fields': async f => {
    const properties = Uint8Array.of(1, 1)
    const stored = {
      message: message('will/t', 'w', { qos: 2, retain: true, properties, publisherId: 'c' }),
      willDelaySeconds: 0,
      messageExpirySeconds: 77,
    }
    const { epoch } = await f.open('c', { will: stored })
    assert.deepEqual((await f.sweepAll(f.nowMs + 100_000)).wills, [], 'not due while the connection is open')
    await f.close('c', epoch, { fate: 'fire' })
    const { wills } = await f.sweepAll(f.nowMs)
    assert.equal(wills.length, 1)
    const due = wills[0]
    assert.ok(due !== undefined)
    assert.deepEqual([due.instance, due.clientId], [INSTANCE, 'c'])
    assert.deepEqual([due.will.willDelaySeconds, due.will.messageExpirySeconds], [0, 77])
    const { topicName, payload, qos, retain, publisherId } = due.will.message
    assert.deepEqual([topicName, [...payload], qos, retain, publisherId], ['will/t', [0x77], 2, true, 'c'])
    assert.deepEqual([...due.will.message.properties], [...properties])
  },

  'a will knows whose it is, however it comes to be published': async f => {
    for (const owner of [{ username: 'anna', isKnown: true }, { username: undefined, isKnown: false }, undefined]) {
      const stored = { ...will('w', 5), owner }
      const { epoch } = await f.open('c', { will: stored })
      await f.close('c', epoch, { fate: 'fire' })
      const { wills } = await f.sweepAll(f.nowMs + 5000)
      assert.deepEqual(
        wills.map(due => due.will.owner),
        [owner],
      )
      await f.store.confirmWill(INSTANCE, 'c', wills[0]?.id ?? '')
      await f.open('c', { will: { ...will('w'), owner } })
      const { displacedWill } = await f.open('c')
      assert.deepEqual(displacedWill?.will.owner, owner)
      await f.store.confirmWill(INSTANCE, 'c', displacedWill?.id ?? '')
    }
  },

  'a will with an empty payload stays a will': async f => {
    const stored = { ...will(''), message: message('t', '', { payload: EMPTY_BYTES }) }
    const { epoch } = await f.open('c', { will: stored })
    await f.close('c', epoch, { fate: 'fire' })
    assert.deepEqual(await f.dueWills(f.nowMs), [''])
  },

  'a claimed will is not taken back or repeated by a new connection': async f => {
    for (const cleanStart of [false, true]) {
      const { epoch } = await f.open('c', { will: will('w', 5) })
      await f.close('c', epoch, { fate: 'fire' })
      const { wills } = await f.sweepAll(f.nowMs + 5_000)
      assert.equal(wills.length, 1)
      await f.open('c', { nowMs: f.nowMs + 5_001, cleanStart })
      assert.deepEqual((await f.sweepAll(f.nowMs + 5_002)).wills, [])
      const again = await f.sweepAll(f.nowMs + 16_000)
      assert.deepEqual(
        again.wills.map(due => due.id),
        wills.map(due => due.id),
      )
      await f.store.confirmWill(INSTANCE, 'c', wills[0]?.id ?? '')
    }
  },

  'a displaced connection cannot touch the will of the new one': async f => {
    const { epoch: old } = await f.open('c')
    const { epoch } = await f.open('c', { will: will('new') })
    await assert.rejects(f.close('c', old, { fate: 'fire' }))
    assert.deepEqual(await f.dueWills(f.nowMs), [])
    await f.close('c', epoch, { fate: 'fire' })
    assert.deepEqual(await f.dueWills(f.nowMs), ['new'])
  },

  'a claimed will is due again after 10 s, under the same id, until it is confirmed': async f => {
    const { epoch } = await f.open('c', { will: will('w') })
    await f.close('c', epoch, { fate: 'fire' })
    const first = await f.store.sweep('node-1', f.nowMs, 10)
    assert.equal(first.wills.length, 1)
    assert.deepEqual((await f.store.sweep('node-2', f.nowMs, 10)).wills, [])
    assert.deepEqual((await f.store.sweep('node-2', f.nowMs + 9_900, 10)).wills, [])
    const second = await f.store.sweep('node-2', f.nowMs + 10_100, 10)
    assert.deepEqual(
      second.wills.map(due => due.id),
      first.wills.map(due => due.id),
    )
    const id = first.wills[0]?.id ?? ''
    await f.store.confirmWill(INSTANCE, 'c', id)
    await f.store.confirmWill(INSTANCE, 'c', id)
    assert.deepEqual((await f.store.sweep('node-1', f.nowMs + 100_000, 10)).wills, [])
  },

  'several wills of one client are several wills, and an open gets them oldest first': async f => {
    const opened = await f.open('c', { will: will('1') })
    await f.close('c', opened.epoch, { fate: 'fire' })
    const second = await f.open('c', { will: will('2') })
    const [first] = second.dueWills
    // Whoever was to publish the first one has died, and the second connection is still open.
    const third = await f.open('c', { will: will('3'), nowMs: f.nowMs + 10_000 })
    assert.deepEqual(third.dueWills, [first])
    assert.equal(third.displacedWill === undefined ? '' : payloadOf(third.displacedWill.will), '2')
    assert.notEqual(third.displacedWill?.id, first?.id)
    await f.close('c', third.epoch, { fate: 'fire' })
    const fourth = await f.open('c', { nowMs: f.nowMs + 20_000 })
    assert.deepEqual(payloadsOf(fourth.dueWills.map(due => due.will)), ['1', '2', '3'])
    await f.store.confirmWill(INSTANCE, 'c', fourth.dueWills[1]?.id ?? '')
    const fifth = await f.open('c', { nowMs: f.nowMs + 30_000 })
    assert.deepEqual(payloadsOf(fifth.dueWills.map(due => due.will)), ['1', '3'])
  },

  'a will of a session that is gone is found by the next open, of its client id and instance alone': async f => {
    for (const clientId of ['c', 'c:1', 'd']) {
      const { epoch } = await f.open(clientId, { will: will(clientId), sessionExpirySeconds: 0 })
      await f.close(clientId, epoch, { fate: 'fire', sessionExpirySeconds: 0 })
    }
    assert.deepEqual((await f.open('c', { instance: 'other' })).dueWills, [])
    const opened = await f.open('c')
    assert.equal(opened.sessionPresent, false)
    assert.deepEqual(payloadsOf(opened.dueWills.map(due => due.will)), ['c'])
    assert.deepEqual(await f.dueWills(f.nowMs), ['c:1', 'd'])
  },

  'DISCONNECT that is slower than the next connection takes its will back all the same': async f => {
    const first = await f.open('c', { will: will('w') })
    const second = await f.open('c', { nodeId: 'node-2', will: will('kept') })
    assert.equal(second.displacedWill === undefined ? '' : payloadOf(second.displacedWill.will), 'w')
    await rejectsFenced(f.close('c', first.epoch, { fate: 'discard' }))
    assert.equal(await f.store.claimWill(INSTANCE, 'c', second.displacedWill?.id ?? '', f.nowMs), 'gone')
    // The same when the session has ended, or its node was taken for dead.
    await f.close('c', second.epoch, { fate: 'fire', sessionExpirySeconds: 0 })
    assert.deepEqual(await f.close('c', second.epoch, { fate: 'discard', sessionExpirySeconds: 0 }), [])
    const third = await f.open('c', { will: will('w') })
    await f.store.reapNode(NODE, f.nowMs, 10)
    assert.deepEqual(await f.close('c', third.epoch, { fate: 'discard' }), [])
    assert.deepEqual(await f.dueWills(f.nowMs + 100_000), [])
  },

  'a broken connection that is slower than the next one changes nothing': async f => {
    const first = await f.open('c', { will: will('w') })
    const { displacedWill } = await f.open('c', { nodeId: 'node-2' })
    await rejectsFenced(f.close('c', first.epoch, { fate: 'fire' }))
    assert.equal(await f.store.claimWill(INSTANCE, 'c', displacedWill?.id ?? '', f.nowMs), 'claimed')
    assert.deepEqual((await f.sweepAll(f.nowMs + 10_000)).wills, [displacedWill])
  },

  'reapNode ends the connections of that node alone, bounded per call': async f => {
    for (let i = 0; i < 5; i++) await f.open(`dead-${i}`, { nodeId: 'dead', will: will(`w${i}`) })
    const alive = await f.open('alive', { nodeId: 'alive', will: will('alive') })
    await f.open('moved', { nodeId: 'dead' })
    await f.open('moved', { nodeId: 'alive' })
    const counts: number[] = []
    for (;;) {
      const count = await f.store.reapNode('dead', f.nowMs, 2)
      if (count === 0) break
      assert.ok(count <= 2)
      counts.push(count)
    }
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      5,
    )
    assert.deepEqual(await f.dueWills(f.nowMs), ['w0', 'w1', 'w2', 'w3', 'w4'])
    assert.deepEqual(await f.store.readQueue(INSTANCE, 'alive', alive.epoch, 1, 1), [])
    assert.equal((await f.open('dead-0')).previous, undefined)
  },

  'a reaped session expires as it would have, and its delayed will runs': async f => {
    const { epoch } = await f.open('c', { nodeId: 'dead', sessionExpirySeconds: 20, will: will('w', 5) })
    await f.store.saveSubscriptions(INSTANCE, 'c', epoch, [subscription('a')])
    await f.open('gone', { nodeId: 'dead', sessionExpirySeconds: 0, will: will('gone', 5) })
    assert.equal(await f.store.reapNode('dead', f.nowMs, 10), 2)
    assert.deepEqual(await f.dueWills(f.nowMs), ['gone'])
    assert.deepEqual(await f.dueWills(f.nowMs + 5_000), ['w'])
    assert.equal((await f.open('gone', { nodeId: NODE })).sessionPresent, false)
    const { expired } = await f.sweepAll(f.nowMs + 20_000)
    assert.deepEqual(expired, [{ instance: INSTANCE, clientId: 'c', subscriptions: [subscription('a')] }])
  },

  'wills of an instance are discarded, delayed, due or claimed; those of its neighbours and of open connections stay':
    async f => {
      const instances = ['a', 'a-b', 'a:b', 'b']
      for (const instance of instances) {
        for (const [clientId, delay] of [
          ['now', 0],
          ['later', 60],
        ] as const) {
          const options = { instance, will: will(`${clientId} of ${instance}`, delay) }
          for (const id of [clientId, `${clientId} again`]) {
            const { epoch } = await f.open(id, options)
            await f.close(id, epoch, { instance, fate: 'fire' })
          }
        }
        await f.open('open', { instance, will: will(`open of ${instance}`) })
      }
      assert.equal((await f.store.sweep(NODE, f.nowMs, 3)).wills.length, 3)
      await f.store.discardWills('a')
      await f.store.discardWills('a')
      await f.store.discardWills('nobody')
      const left = (await f.sweepAll(f.nowMs + 100_000)).wills
      assert.deepEqual(
        left.filter(({ instance }) => instance === 'a'),
        [],
      )
      assert.equal(left.length, 12)
      const { displacedWill, dueWills } = await f.open('open', { instance: 'a' })
      assert.deepEqual([displacedWill && payloadOf(displacedWill.will), dueWills], ['open of a', []])
      assert.deepEqual((await f.open('later', { instance: 'a' })).dueWills, [])
      assert.equal((await f.open('now', { instance: 'a-b', nowMs: f.nowMs + 100_000 })).claimedWills.length, 1)
    },
}
