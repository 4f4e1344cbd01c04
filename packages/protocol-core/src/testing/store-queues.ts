import assert from 'node:assert/strict'
import type { QueueEntry } from '../ports/queues.ts'
import {
  CONTRACT_LIMITS,
  type Fixture,
  INSTANCE,
  message,
  packetIds,
  payloadsOf,
  type StoreTests,
  target,
} from './store-fixture.ts'

const names = (count: number, prefix = 'm'): string[] => packetIds(count).map(n => `${prefix}${n}`)

async function readAll(f: Fixture, clientId: string, epoch: number, countMax: number): Promise<QueueEntry[]> {
  const all: QueueEntry[] = []
  for (;;) {
    const page = await f.store.readQueue(INSTANCE, clientId, epoch, (all.at(-1)?.seq ?? 0) + 1, countMax)
    if (page.length === 0) return all
    assert.ok(page.length <= countMax, 'countMax bounds a page')
    all.push(...page)
  }
}

/** Commits, session queues and the inbound side of QoS 2. */
export const queueContract: StoreTests = {
  'a message is delivered as it was committed, with what each session is to get': async f => {
    const first = await f.open('first')
    const second = await f.open('second')
    const sent = message('größe/日本', 'payload', {
      qos: 2,
      retain: true,
      properties: Uint8Array.of(0x01, 0x01, 0x03, 0, 1, 0x61),
      expiresAtMs: f.nowMs + 3_600_000,
      publisherId: 'pub}lisher',
    })
    const result = await f.commit({
      message: sent,
      sessions: [
        target('first', { qos: 2, retain: true, subscriptionIds: [1, 300, 268_435_455] }),
        target('second', { qos: 1 }),
      ],
    })
    assert.deepEqual(result, { status: 'stored', seqs: [1, 1], droppedGroups: 0 })
    const [one] = await f.store.readQueue(INSTANCE, 'first', first.epoch, 1, 10)
    const [two] = await f.store.readQueue(INSTANCE, 'second', second.epoch, 1, 10)
    assert.ok(one !== undefined && two !== undefined)
    assert.deepEqual([one.seq, one.qos, one.retain, one.released], [1, 2, true, false])
    assert.deepEqual(one.subscriptionIds, [1, 300, 268_435_455])
    assert.deepEqual([two.seq, two.qos, two.retain, two.released], [1, 1, false, false])
    assert.equal(two.subscriptionIds, undefined)
    for (const { message: kept } of [one, two]) {
      assert.deepEqual(
        [kept.topicName, kept.qos, kept.retain, kept.expiresAtMs, kept.publisherId],
        [sent.topicName, 2, true, sent.expiresAtMs, 'pub}lisher'],
      )
      assert.deepEqual([...kept.topicBytes], [...sent.topicBytes])
      assert.deepEqual([...kept.payload], [...sent.payload])
      assert.deepEqual([...kept.properties], [...sent.properties])
    }
  },

  'what is committed is a copy: the receive buffer may be used again': async f => {
    const { epoch } = await f.open('c')
    const buffer = new TextEncoder().encode('topicpayload')
    const sent = message('topic', '', { topicBytes: buffer.subarray(0, 5), payload: buffer.subarray(5) })
    const result = await f.commit({ message: sent, sessions: [target('c')], retain: true })
    assert.equal(result.status, 'stored')
    buffer.fill(0)
    assert.deepEqual(payloadsOf(await f.store.readQueue(INSTANCE, 'c', epoch, 1, 1)), ['payload'])
    assert.deepEqual(payloadsOf((await f.matchAll('topic')).map(one => ({ message: one }))), ['payload'])
  },

  'sequence numbers are contiguous and ascending over batches, in the order of the items': async f => {
    const { epoch } = await f.open('c')
    assert.deepEqual(await f.enqueue('c', ['1', '2', '3']), [1, 2, 3])
    // Not awaited one by one: batches of one caller take effect in the order of the calls.
    const batches = await Promise.all([f.enqueue('c', ['4', '5']), f.enqueue('c', ['6']), f.enqueue('c', ['7', '8'])])
    assert.deepEqual(batches.flat(), [4, 5, 6, 7, 8])
    assert.equal(await f.store.tailSeq(INSTANCE, 'c'), 8)
    const entries = await f.store.readQueue(INSTANCE, 'c', epoch, 1, 100)
    assert.deepEqual(payloadsOf(entries), ['1', '2', '3', '4', '5', '6', '7', '8'])
    assert.deepEqual(
      entries.map(entry => entry.seq),
      [1, 2, 3, 4, 5, 6, 7, 8],
    )
  },

  'one batch may name sessions and groups in any mixture, and answers one result per item': async f => {
    for (const clientId of ['a', 'b', 'c']) await f.openAndClose(clientId)
    const results = await f.store.commit([
      f.item({ message: message('t', '1'), sessions: [target('a'), target('b')] }),
      f.item({ message: message('t', '2') }),
      f.item({ message: message('t', '3'), sessions: [target('b')], groups: [{ group: '$share/g/t', qos: 1 }] }),
      f.item({ message: message('t', '4'), sessions: [target('c'), target('a'), target('b')] }),
    ])
    assert.deepEqual(
      results.map(result => result.seqs),
      [[1, 1], [], [2], [1, 2, 3]],
    )
    for (const [clientId, expected] of [
      ['a', ['1', '4']],
      ['b', ['1', '3', '4']],
      ['c', ['4']],
    ] as const) {
      const { epoch } = await f.open(clientId)
      assert.deepEqual(payloadsOf(await f.store.readQueue(INSTANCE, clientId, epoch, 1, 10)), expected)
    }
  },

  'a session that is gone takes nothing and harms nobody': async f => {
    const { epoch } = await f.open('here')
    const result = await f.commit({ message: message('t', 'x'), sessions: [target('gone'), target('here')] })
    assert.deepEqual(result, { status: 'stored', seqs: [-1, 1], droppedGroups: 0 })
    assert.equal(await f.store.tailSeq(INSTANCE, 'gone'), 0)
    assert.equal((await f.open('gone')).sessionPresent, false)
    assert.equal((await f.store.readQueue(INSTANCE, 'here', epoch, 1, 10)).length, 1)
  },

  'entries acknowledged ahead of older ones are dropped by close(), the others keep their places': async f => {
    const { epoch } = await f.open('c')
    await f.enqueue('c', names(5))
    await f.close('c', epoch, { sentSeq: 4, ackedAhead: [2, 4] })
    const resumed = await f.open('c')
    assert.deepEqual([resumed.headSeq, resumed.tailSeq], [1, 5])
    const entries = await f.store.readQueue(INSTANCE, 'c', resumed.epoch, 1, 10)
    assert.deepEqual(
      entries.map(entry => entry.seq),
      [1, 3, 5],
    )
  },

  'an empty batch has no results': async f => {
    assert.deepEqual(await f.store.commit([]), [])
  },

  'an offline queue refuses the newest beyond its messages': async f => {
    const max = CONTRACT_LIMITS.offlineQueueMessages
    await f.openAndClose('c')
    const seqs = await f.enqueue('c', names(max + 3))
    assert.deepEqual(seqs, [...packetIds(max), 0, 0, 0])
    const { epoch, tailSeq } = await f.open('c')
    assert.equal(tailSeq, max)
    assert.deepEqual(payloadsOf(await readAll(f, 'c', epoch, 7)), names(max))
    await f.store.ackQueue(INSTANCE, 'c', epoch, 1)
    await f.close('c', epoch)
    assert.deepEqual(await f.enqueue('c', ['fits', 'not']), [max + 1, 0])
  },

  'an offline queue refuses the newest beyond its bytes, and takes a smaller one': async f => {
    await f.openAndClose('c')
    const large = 'x'.repeat(CONTRACT_LIMITS.offlineQueueBytes / 5)
    const seqs = await f.enqueue('c', [large, large, large, large, large, large])
    const kept = seqs.filter(seq => seq !== 0).length
    // Four, or five where only the payload counts.
    assert.ok(kept === 4 || kept === 5, `kept ${kept}`)
    assert.ok(seqs.slice(kept).every(seq => seq === 0))
    if (kept === 4) assert.deepEqual(await f.enqueue('c', ['small']), [5])
  },

  'a connected session has the online limits': async f => {
    const max = CONTRACT_LIMITS.onlineQueueMessages
    const { epoch } = await f.open('c')
    const seqs = await f.enqueue('c', names(max + 1))
    assert.equal(seqs[max - 1], max)
    assert.equal(seqs[max], 0)
    await f.close('c', epoch)
    assert.deepEqual(await f.enqueue('c', ['offline now']), [0])
  },

  'a full queue of one session keeps no other from its message': async f => {
    await f.openAndClose('full')
    await f.openAndClose('free')
    await f.enqueue('full', names(CONTRACT_LIMITS.offlineQueueMessages))
    const result = await f.commit({ message: message('t', 'x'), sessions: [target('full'), target('free')] })
    assert.deepEqual(result, { status: 'stored', seqs: [0, 1], droppedGroups: 0 })
  },

  'readQueue pages by count and by about 256 KiB, and starts where it is told': async f => {
    const { epoch } = await f.open('c')
    await f.enqueue('c', names(25))
    const page = await f.store.readQueue(INSTANCE, 'c', epoch, 11, 10)
    assert.deepEqual(
      page.map(entry => entry.seq),
      packetIds(10, 11),
    )
    assert.deepEqual(payloadsOf(await readAll(f, 'c', epoch, 10)), names(25))
    assert.deepEqual(await f.store.readQueue(INSTANCE, 'c', epoch, 26, 10), [])
    const large = await f.open('large')
    const payload = 'x'.repeat(64 * 1024)
    await f.enqueue('large', new Array<string>(12).fill(payload))
    const first = await f.store.readQueue(INSTANCE, 'large', large.epoch, 1, 100)
    assert.ok(first.length >= 3 && first.length <= 6, `${first.length} messages of 64 KiB`)
    assert.equal((await readAll(f, 'large', large.epoch, 100)).length, 12)
  },

  'a message of more than a page is read alone': async f => {
    const { epoch } = await f.open('c')
    await f.enqueue('c', ['x'.repeat(600_000), 'next'])
    const all = await readAll(f, 'c', epoch, 10)
    assert.deepEqual(
      all.map(entry => entry.message.payload.length),
      [600_000, 4],
    )
  },

  'ackQueue drops up to a sequence number, once or often': async f => {
    const { epoch } = await f.open('c')
    await f.enqueue('c', names(5))
    await f.store.ackQueue(INSTANCE, 'c', epoch, 3)
    await f.store.ackQueue(INSTANCE, 'c', epoch, 3)
    await f.store.ackQueue(INSTANCE, 'c', epoch, 1)
    assert.deepEqual(payloadsOf(await f.store.readQueue(INSTANCE, 'c', epoch, 1, 10)), ['m4', 'm5'])
    await f.store.ackQueue(INSTANCE, 'c', epoch, 5)
    assert.deepEqual(await f.enqueue('c', ['m6']), [6])
    await f.close('c', epoch)
    const { headSeq, tailSeq } = await f.open('c')
    assert.deepEqual([headSeq, tailSeq], [6, 6])
  },

  'sequence numbers go on after a queue was empty': async f => {
    const { epoch } = await f.open('c')
    await f.enqueue('c', names(3))
    await f.store.ackQueue(INSTANCE, 'c', epoch, 3)
    await f.close('c', epoch)
    const { headSeq, tailSeq } = await f.open('c')
    assert.deepEqual([headSeq, tailSeq], [4, 3])
    assert.deepEqual(await f.enqueue('c', ['next']), [4])
  },

  'a released entry stays released for the next connection, until it is acknowledged': async f => {
    const { epoch } = await f.open('c')
    await f.enqueue('c', names(3), { qos: 2 })
    await f.store.releaseQueue(INSTANCE, 'c', epoch, [1, 3])
    await f.store.releaseQueue(INSTANCE, 'c', epoch, [1, 99])
    await f.close('c', epoch)
    const next = await f.open('c')
    const entries = await f.store.readQueue(INSTANCE, 'c', next.epoch, 1, 10)
    assert.deepEqual(
      entries.map(entry => [entry.seq, entry.released]),
      [
        [1, true],
        [2, false],
        [3, true],
      ],
    )
    await f.store.ackQueue(INSTANCE, 'c', next.epoch, 2)
    assert.deepEqual(
      (await f.store.readQueue(INSTANCE, 'c', next.epoch, 1, 10)).map(entry => entry.seq),
      [3],
    )
  },

  'an expired message is left out, unless PUBREL is owed for it': async f => {
    const { epoch } = await f.open('c')
    const expiresAtMs = Date.now() + 50
    const commit = (payload: string, fields: { expiresAtMs: number }): Promise<unknown> =>
      f.commit({ message: message('t', payload, fields), sessions: [target('c', { qos: 2 })] })
    await commit('released', { expiresAtMs })
    await commit('expired', { expiresAtMs })
    await commit('later', { expiresAtMs: Date.now() + 3_600_000 })
    await commit('never', { expiresAtMs: 0 })
    await f.store.releaseQueue(INSTANCE, 'c', epoch, [1])
    await f.clockPasses(expiresAtMs)
    const entries = await f.store.readQueue(INSTANCE, 'c', epoch, 1, 10)
    assert.deepEqual(
      entries.map(entry => entry.seq),
      [1, 3, 4],
    )
    assert.deepEqual(payloadsOf(entries.slice(1)), ['later', 'never'])
  },

  'an expired message that may have been sent is read again': async f => {
    const { epoch } = await f.open('c')
    const expiresAtMs = Date.now() + 50
    for (const payload of ['sent', 'not sent']) {
      await f.commit({ message: message('t', payload, { expiresAtMs }), sessions: [target('c', { qos: 2 })] })
    }
    await f.close('c', epoch, { sentSeq: 1 })
    const resumed = await f.open('c')
    await f.clockPasses(expiresAtMs)
    assert.deepEqual(payloadsOf(await f.store.readQueue(INSTANCE, 'c', resumed.epoch, 1, 10)), ['sent'])
  },

  'a QoS 2 packet id commits once, until it is forgotten': async f => {
    const { epoch } = await f.open('pub')
    await f.openAndClose('sub')
    const item = (payload: string, packetId: number): Parameters<Fixture['commit']>[0] => ({
      message: message('t', payload, { qos: 2 }),
      sessions: [target('sub')],
      inbound: { clientId: 'pub', epoch, packetId },
    })
    assert.equal((await f.commit(item('1', 10))).status, 'stored')
    const again = await f.commit({ ...item('again', 10), retain: true, groups: [{ group: '$share/g/t', qos: 1 }] })
    assert.equal(again.status, 'duplicate')
    const batch = await f.store.commit([item('2', 11), item('again', 11), item('3', 12)].map(one => f.item(one)))
    assert.deepEqual(
      batch.map(result => result.status),
      ['stored', 'duplicate', 'stored'],
    )
    await f.store.forgetInbound(INSTANCE, 'pub', epoch, 10)
    await f.store.forgetInbound(INSTANCE, 'pub', epoch, 10)
    assert.equal((await f.commit(item('4', 10))).status, 'stored')
    const opened = await f.open('pub')
    assert.deepEqual(
      opened.inboundPacketIds.sort((a, b) => a - b),
      [10, 11, 12],
    )
    const sub = await f.open('sub')
    assert.deepEqual(payloadsOf(await readAll(f, 'sub', sub.epoch, 10)), ['1', '2', '3', '4'])
    assert.deepEqual(await f.matchAll('#'), [])
    assert.deepEqual(await f.store.takeGroup(INSTANCE, '$share/g/t', 'sub', sub.epoch, [1]), [])
  },

  'a fenced item commits nothing, the others of its batch do': async f => {
    const { epoch: old } = await f.open('pub')
    await f.open('pub')
    await f.openAndClose('sub')
    const results = await f.store.commit([
      f.item({ message: message('t', '1'), sessions: [target('sub')] }),
      f.item({
        message: message('t', 'fenced'),
        sessions: [target('sub')],
        inbound: { clientId: 'pub', epoch: old, packetId: 1 },
      }),
      f.item({ message: message('t', '2'), sessions: [target('sub')] }),
    ])
    assert.deepEqual(
      results.map(result => result.status),
      ['stored', 'fenced', 'stored'],
    )
    const { epoch } = await f.open('sub')
    assert.deepEqual(payloadsOf(await readAll(f, 'sub', epoch, 10)), ['1', '2'])
    assert.deepEqual((await f.open('pub')).inboundPacketIds, [])
  },

  'messages keep to the limits of their instance, and others of the same batch to theirs': async f => {
    const queue = { ...CONTRACT_LIMITS, onlineQueueMessages: 2, offlineQueueMessages: 2 }
    const limits = { queue, retained: undefined }
    await f.open('c')
    await f.open('c', { instance: 'other' })
    const item = (payload: string): ReturnType<Fixture['item']> =>
      f.item({ message: message('t', payload), sessions: [target('c')], groups: [{ group: '$share/g/t', qos: 1 }] })
    const items = names(4).flatMap(payload => [
      { ...item(payload), limits },
      { ...item(payload), instance: 'other' },
    ])
    const results = await f.store.commit(items)
    assert.deepEqual(
      results.map(({ seqs, droppedGroups }) => [...seqs, droppedGroups]),
      [
        [1, 0],
        [1, 0],
        [2, 0],
        [2, 0],
        [0, 1],
        [3, 0],
        [0, 1],
        [4, 0],
      ],
    )
  },
}
