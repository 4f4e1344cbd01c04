import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BYTES, Message } from '@midge/protocol-core'
import { Deadlines } from './deadlines.ts'
import { EntryQueue, StoredEntry } from './entry-queue.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 0x7fff_ffff))
console.log(`structures.test seed ${seed}`)

/** Numbers from 0 to below `bound`, the same for the same seed. */
function randomFrom(start: number): (bound: number) => number {
  let state = start >>> 0 || 1
  return bound => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % bound
  }
}

const message = new Message({
  topicName: 't',
  topicBytes: Uint8Array.of(0x74),
  payload: EMPTY_BYTES,
  qos: 1,
  retain: false,
  properties: EMPTY_BYTES,
  expiresAtMs: 0,
  publisherId: '',
})

test(`deadlines come out in order and once, whatever was moved or cancelled, seed ${seed}`, () => {
  const random = randomFrom(seed)
  const deadlines = new Deadlines<{ dueAtMs: number; name: number }>()
  const items = Array.from({ length: 200 }, (_, name) => ({ dueAtMs: 0, name }))
  const expected = new Map<number, number>()
  for (let step = 0; step < 20_000; step++) {
    const item = items[random(items.length)]
    assert.ok(item !== undefined)
    const choice = random(10)
    if (choice < 6) {
      const atMs = 1 + random(1_000)
      deadlines.schedule(item, atMs)
      expected.set(item.name, atMs)
    } else if (choice < 8) {
      deadlines.cancel(item)
      expected.delete(item.name)
    } else {
      const nowMs = random(1_000)
      const due = deadlines.takeDue(nowMs)
      const first = Math.min(Number.POSITIVE_INFINITY, ...expected.values())
      if (due === undefined) {
        assert.ok(first > nowMs)
      } else {
        assert.equal(expected.get(due.name), first)
        assert.equal(due.dueAtMs, 0)
        expected.delete(due.name)
      }
    }
    assert.ok(deadlines.size <= 2 * expected.size + 200, `${deadlines.size} slots for ${expected.size} deadlines`)
  }
  const rest: number[] = []
  for (let due = deadlines.takeDue(2_000); due !== undefined; due = deadlines.takeDue(2_000)) rest.push(due.name)
  assert.deepEqual(
    rest.sort((a, b) => a - b),
    [...expected.keys()].sort((a, b) => a - b),
  )
})

test(`the ring of a queue behaves like a sorted map, seed ${seed}`, () => {
  const random = randomFrom(seed)
  const queue = new EntryQueue()
  const model = new Map<number, StoredEntry>()
  let tail = 0
  for (let step = 0; step < 20_000; step++) {
    const choice = random(10)
    if (choice < 5) {
      const entry = new StoredEntry(message, { qos: 1, retain: false, subscriptionIds: undefined }, 1 + random(100))
      assert.equal(queue.append(entry), ++tail)
      model.set(tail, entry)
    } else if (choice < 9 && model.size > 0) {
      // Mostly from the front, as acknowledgements come; sometimes from the middle, as expiry does.
      const seqs = [...model.keys()]
      const seq = seqs[random(4) === 0 ? random(seqs.length) : 0] ?? 0
      assert.equal(queue.remove(seq), model.get(seq))
      model.delete(seq)
    } else if (random(50) === 0) {
      for (const seq of [...model.keys()]) queue.remove(seq)
      model.clear()
    }
    assert.equal(queue.tailSeq, tail)
    assert.equal(queue.headSeq, Math.min(tail + 1, ...model.keys()))
    assert.equal(queue.count, model.size)
    assert.equal(
      queue.bytes,
      [...model.values()].reduce((sum, entry) => sum + entry.size, 0),
    )
    const probe = random(tail + 2)
    assert.equal(queue.at(probe), model.get(probe))
  }
})
