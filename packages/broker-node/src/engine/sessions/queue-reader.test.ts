import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerError, EMPTY_BYTES, encodeUtf8, Message, PacketIdPool, type QueueEntry } from '@midge/protocol-core'
import fc from 'fast-check'
import { Counters } from '../../counters.ts'
import { formOf } from '../ground/delivery-form.ts'
import { ScriptedOutlet } from '../testing/scripted-outlet.ts'
import { MemoryLogger } from '../testing/test-services.ts'
import { packetIdOfSeq, type QueueOwner, QueueReader, type QueueReaderParts, type QueueState } from './queue-reader.ts'

function entry(seq: number, options: Partial<QueueEntry> & { expiresAtMs?: number } = {}): QueueEntry {
  const { expiresAtMs, ...rest } = options
  const message = new Message({
    topicName: 't',
    topicBytes: encodeUtf8('t'),
    payload: encodeUtf8(`${seq}`),
    qos: 1,
    retain: false,
    properties: EMPTY_BYTES,
    expiresAtMs: expiresAtMs ?? 0,
    publisherId: 'p',
  })
  return { seq, qos: 1, retain: false, subscriptionIds: undefined, released: false, message, ...rest }
}

/** A session, its connection and a store's queue, as far as the reader sees them. */
class Bench {
  readonly entries = new Map<number, QueueEntry>()
  readonly outlet = new ScriptedOutlet()
  readonly counters = new Counters()
  readonly acked: number[] = []
  readonly ids = new PacketIdPool()
  reads = 0
  window = 10
  tail = 0
  nowMs = 1000
  failing = false
  whileLooking: (() => Promise<void>) | undefined
  readonly reader: QueueReader
  private flushes = 0

  constructor(state: Partial<QueueState> = {}) {
    this.tail = state.tailSeq ?? 0
    this.reader = new QueueReader(this.parts(), this.owner(), { headSeq: 1, tailSeq: 0, sentSeq: 0, ...state })
  }

  get sent(): { seq: number; packetId: number; dup: boolean }[] {
    return this.outlet.sent.map(({ payload, packetId, dup }) => ({ seq: Number(payload), packetId, dup }))
  }

  get seqs(): number[] {
    return this.outlet.payloads.map(Number)
  }

  get failures(): unknown[] {
    return this.outlet.failures
  }

  get drops(): number {
    return [...this.counters.dropped.values()].reduce((sum, count) => sum + count, 0)
  }

  store(...added: QueueEntry[]): void {
    for (const found of added) {
      this.entries.set(found.seq, found)
      this.tail = Math.max(this.tail, found.seq)
    }
  }

  commit(seq: number): void {
    const found = entry(seq)
    this.store(found)
    this.reader.onCommitted(seq, found.message, formOf(1, false, undefined))
  }

  /** The client acknowledges. */
  ack(seq: number): void {
    const packetId = packetIdOfSeq(seq)
    this.ids.free(packetId)
    this.reader.onAcked(packetId)
    this.reader.pump()
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await Promise.resolve()
    if (this.flushes === 0) return
    this.flushes = 0
    await this.reader.flushAcks().catch((error: unknown) => this.failures.push(error))
  }

  private parts(): QueueReaderParts {
    const bench = this
    return {
      services: {
        counters: this.counters,
        logger: new MemoryLogger(),
        nowMs: () => bench.nowMs,
        store: {
          async readQueue(_instance, _clientId, _epoch, from, count) {
            bench.reads++
            if (bench.failing) throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'down')
            const all = [...bench.entries.values()].sort((a, b) => a.seq - b.seq)
            return all.filter(({ seq }) => seq >= from).slice(0, count)
          },
          async tailSeq() {
            const { tail } = bench
            await bench.whileLooking?.()
            return tail
          },
          async ackQueue(_instance, _clientId, _epoch, upTo) {
            if (bench.failing) throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'down')
            bench.acked.push(upTo)
            for (const seq of [...bench.entries.keys()]) if (seq <= upTo) bench.entries.delete(seq)
          },
          async releaseQueue() {},
        },
      },
      ackFlushes: { add: () => void bench.flushes++ },
    }
  }

  private owner(): QueueOwner {
    const bench = this
    return {
      instance: 'default',
      clientId: 'c',
      epoch: 1,
      outlet: this.outlet,
      get windowRoom() {
        return bench.outlet.isClosed ? 0 : bench.window - bench.ids.count
      },
      beginQueued: packetId => bench.window > bench.ids.count && bench.ids.takeSpecific(packetId),
      abandon: packetId => bench.ids.free(packetId),
    }
  }
}

test('a message next in line is sent without a read; one behind a gap waits for what is before it', async () => {
  const bench = new Bench()
  bench.commit(1)
  bench.commit(2)
  assert.equal(bench.reads, 0)
  bench.store(entry(3))
  bench.commit(4)
  await bench.settle()
  assert.deepEqual(bench.seqs, [1, 2, 3, 4])
  assert.ok(bench.reads > 0)
})

test('the window bounds what is in flight; acknowledgements in any order free it, and the store hears of the beginning', async () => {
  const bench = new Bench()
  bench.window = 3
  for (let seq = 1; seq <= 6; seq++) bench.commit(seq)
  await bench.settle()
  assert.deepEqual(bench.seqs, [1, 2, 3])
  bench.ack(2)
  await bench.settle()
  assert.deepEqual(bench.seqs, [1, 2, 3, 4])
  assert.deepEqual(bench.acked, [])
  assert.deepEqual(bench.reader.acknowledgedAhead, [2])
  bench.ack(1)
  await bench.settle()
  assert.deepEqual(bench.acked, [2])
  assert.deepEqual(bench.reader.acknowledgedAhead, [])
  assert.equal(bench.reader.sentSeq, 5)
})

test('a resumed session sends again with DUP and the same ids, then goes on without', async () => {
  const bench = new Bench({ headSeq: 5, tailSeq: 8, sentSeq: 6 })
  bench.store(entry(5, { qos: 2, released: true }), entry(6), entry(7), entry(8))
  bench.reader.pump()
  await bench.settle()
  assert.deepEqual(bench.outlet.pubrels, [packetIdOfSeq(5)])
  assert.deepEqual(bench.sent, [
    { seq: 6, packetId: 7, dup: true },
    { seq: 7, packetId: 8, dup: false },
    { seq: 8, packetId: 9, dup: false },
  ])
})

test('gaps and expired entries are passed over, and the queue does not wait for them', async () => {
  const bench = new Bench({ tailSeq: 6 })
  bench.store(entry(2), entry(3, { expiresAtMs: 999 }), entry(5))
  bench.tail = 6
  bench.reader.pump()
  await bench.settle()
  assert.deepEqual(bench.seqs, [2, 5])
  assert.equal(bench.drops, 1)
  for (const seq of [2, 5]) bench.ack(seq)
  await bench.settle()
  assert.equal(bench.acked.at(-1), 6)
  bench.commit(7)
  assert.deepEqual(bench.seqs, [2, 5, 7])
})

test('an announcement about an earlier session of the client id loses nothing of the new one', async () => {
  const bench = new Bench()
  bench.reader.onGrew(500)
  await bench.settle()
  bench.commit(1)
  bench.commit(2)
  await bench.settle()
  assert.deepEqual(bench.seqs, [1, 2])
})

test('a message stored while the true tail is looked up is not lost', async () => {
  const bench = new Bench()
  bench.whileLooking = async () => {
    bench.whileLooking = undefined
    bench.commit(1)
    await Promise.resolve()
  }
  bench.reader.onGrew(500)
  await bench.settle()
  await bench.settle()
  assert.deepEqual(bench.seqs, [1])
})

test('a failing store is reported, and nothing acknowledged is forgotten', async () => {
  const bench = new Bench()
  bench.commit(1)
  bench.failing = true
  bench.ack(1)
  await bench.settle()
  assert.equal(bench.failures.length, 1)
  bench.store(entry(2))
  bench.reader.onGrew(2)
  await bench.settle()
  assert.equal(bench.failures.length, 2)
  bench.failing = false
  // As the end of the connection does.
  await bench.reader.flushAcks()
  assert.deepEqual(bench.acked, [1])
  bench.reader.pump()
  await bench.settle()
  assert.deepEqual(bench.seqs, [1, 2])
})

test('ids wrap round; one that is still in use holds back its successor and nothing is skipped', async () => {
  const bench = new Bench()
  const count = 66_000
  for (let seq = 1; seq <= count; seq++) {
    bench.commit(seq)
    if (seq !== 10 && seq <= 65_544) bench.ack(seq)
  }
  await bench.settle()
  assert.equal(bench.sent.at(-1)?.seq, 65_544)
  assert.equal(packetIdOfSeq(65_545), packetIdOfSeq(10))
  bench.ack(10)
  for (let seq = 65_545; seq <= count; seq++) {
    await bench.settle()
    if (bench.sent.at(-1)?.seq !== undefined && (bench.sent.at(-1)?.seq ?? 0) >= seq) bench.ack(seq)
  }
  await bench.settle()
  assert.deepEqual(
    bench.seqs,
    Array.from({ length: count }, (_, i) => i + 1),
  )
})

test('whatever the order of events, every message is sent once and in order', async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant('commit' as const) },
    { weight: 1, arbitrary: fc.constant('remote' as const) },
    { weight: 1, arbitrary: fc.constant('settle' as const) },
    { weight: 3, arbitrary: fc.nat(9) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 5 }), async (steps, window) => {
      const bench = new Bench()
      bench.window = window
      let tail = 0
      const acked = new Set<number>()
      for (const found of steps) {
        if (found === 'commit') bench.commit(++tail)
        else if (found === 'remote') {
          bench.store(entry(++tail))
          if (tail % 3 !== 0) bench.reader.onGrew(tail)
        } else if (found === 'settle') await bench.settle()
        else {
          const open = bench.seqs.filter(seq => !acked.has(seq))
          const seq = open[found % Math.max(1, open.length)]
          if (seq === undefined) continue
          acked.add(seq)
          bench.ack(seq)
        }
        assert.ok(bench.ids.count <= window)
      }
      bench.reader.onGrew(tail)
      for (let i = 0; acked.size < tail && i <= tail; i++) {
        await bench.settle()
        for (const seq of bench.seqs) {
          if (acked.has(seq)) continue
          acked.add(seq)
          bench.ack(seq)
        }
      }
      await bench.settle()
      assert.deepEqual(
        bench.seqs,
        Array.from({ length: tail }, (_, i) => i + 1),
      )
      if (tail > 0) assert.equal(bench.acked.at(-1), tail)
      assert.equal(bench.entries.size, 0)
    }),
    { numRuns: 300 },
  )
})
