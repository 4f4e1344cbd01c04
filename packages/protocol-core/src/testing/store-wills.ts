import assert from 'node:assert/strict'
import { EMPTY_BYTES } from '../message.ts'
import { INSTANCE, message, NODE, type StoreTests, subscription, will } from './store-fixture.ts'

/** When wills become due, who gets them, and the death of a node. */
export const willContract: StoreTests = {
  'a discarded will is never due': async f => {
    const { epoch } = await f.open('c', { will: will('w') })
    await f.close('c', epoch, { fate: 'discard', sessionExpirySeconds: 10 })
    assert.deepEqual(await f.dueWills(f.nowMs + 100_000), [])
  },

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

  'a will with an empty payload stays a will': async f => {
    const stored = { ...will(''), message: message('t', '', { payload: EMPTY_BYTES }) }
    const { epoch } = await f.open('c', { will: stored })
    await f.close('c', epoch, { fate: 'fire' })
    assert.deepEqual(await f.dueWills(f.nowMs), [''])
  },

  'a connection without a will fires nothing': async f => {
    const { epoch } = await f.open('c')
    await f.close('c', epoch, { fate: 'fire' })
    assert.deepEqual(await f.dueWills(f.nowMs + 100_000), [])
  },

  'a will is due after its delay when the session lives longer': async f => {
    const { epoch } = await f.open('c', { will: will('w', 5) })
    await f.close('c', epoch, { fate: 'fire', sessionExpirySeconds: 10 })
    assert.deepEqual(await f.dueWills(f.nowMs + 4_999), [])
    assert.deepEqual(await f.dueWills(f.nowMs + 5_000), ['w'])
    assert.equal((await f.sweepAll(f.nowMs + 10_000)).expired.length, 1)
  },

  'a will is due at the end of the session when its delay is longer. v5 [MQTT-3.1.3-9]': async f => {
    const { epoch } = await f.open('c', { will: will('w', 50) })
    await f.close('c', epoch, { fate: 'fire', sessionExpirySeconds: 10 })
    assert.deepEqual(await f.dueWills(f.nowMs + 9_999), [])
    assert.deepEqual(await f.dueWills(f.nowMs + 10_000), ['w'])
    assert.deepEqual(await f.dueWills(f.nowMs + 60_000), [])
  },

  'a will with a delay is due at once when the session ends with its connection': async f => {
    const { epoch } = await f.open('c', { will: will('w', 50), sessionExpirySeconds: 0 })
    await f.close('c', epoch, { fate: 'fire', sessionExpirySeconds: 0 })
    assert.deepEqual(await f.dueWills(f.nowMs), ['w'])
  },

  'a new connection within the delay cancels the will': async f => {
    const { epoch } = await f.open('c', { will: will('w', 5) })
    await f.close('c', epoch, { fate: 'fire' })
    await f.open('c', { nowMs: f.nowMs + 4_000 })
    assert.deepEqual(await f.dueWills(f.nowMs + 100_000), [])
  },

  'a clean start within the delay ends the session, so the will is due': async f => {
    const { epoch } = await f.open('c', { will: will('w', 5) })
    await f.close('c', epoch, { fate: 'fire' })
    await f.open('c', { nowMs: f.nowMs + 1_000, cleanStart: true })
    assert.deepEqual(await f.dueWills(f.nowMs + 1_000), ['w'])
  },

  'a new connection does not take back a will that was due': async f => {
    const { epoch } = await f.open('c', { will: will('w') })
    await f.close('c', epoch, { fate: 'fire' })
    await f.open('c', { will: will('next') })
    assert.deepEqual(await f.dueWills(f.nowMs), ['w'])
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

  'takeover: a will without delay is due at once, one with a delay is cancelled': async f => {
    await f.open('now', { will: will('now') })
    await f.open('delayed', { will: will('delayed', 5) })
    await f.open('now', { nodeId: 'node-2' })
    await f.open('delayed', { nodeId: 'node-2' })
    assert.deepEqual(await f.dueWills(f.nowMs), ['now'])
    assert.deepEqual(await f.dueWills(f.nowMs + 100_000), [])
  },

  'takeover that ends the session: the will is due at once, whatever its delay': async f => {
    await f.open('clean', { will: will('clean', 5) })
    await f.open('clean', { cleanStart: true })
    await f.open('short', { will: will('short', 5), sessionExpirySeconds: 0 })
    await f.open('short')
    assert.deepEqual(await f.dueWills(f.nowMs), ['clean', 'short'])
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

  'several wills of one client are several wills': async f => {
    for (const payload of ['1', '2', '3']) {
      const { epoch } = await f.open('c', { will: will(payload) })
      await f.close('c', epoch, { fate: 'fire' })
    }
    const { wills } = await f.sweepAll(f.nowMs, 2)
    assert.equal(new Set(wills.map(due => due.id)).size, 3)
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
}
