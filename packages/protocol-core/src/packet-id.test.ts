import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { PACKET_ID_MAX } from './limits.ts'
import { PacketIdPool } from './packet-id.ts'

describe('PacketIdPool', () => {
  it('gives 1, 2, 3 and does not reuse a freed identifier before it has gone round', () => {
    const pool = new PacketIdPool()
    assert.deepEqual([pool.take(), pool.take(), pool.take()], [1, 2, 3])
    pool.free(2)
    assert.equal(pool.take(), 4)
    for (let i = 5; i <= PACKET_ID_MAX; i++) assert.equal(pool.take(), i)
    assert.equal(pool.take(), 2)
    assert.equal(pool.count, PACKET_ID_MAX)
    assert.equal(pool.take(), 0)
    pool.free(40_000)
    assert.equal(pool.take(), 40_000)
    assert.equal(pool.take(), 0)
  })

  it('gives every identifier once, never 0, whatever was taken before', () => {
    const pool = new PacketIdPool()
    for (const id of [1, 31, 32, 1023, 1024, 1025, 65_535]) assert.equal(pool.takeSpecific(id), true)
    const seen = new Set<number>()
    for (let id = pool.take(); id !== 0; id = pool.take()) seen.add(id)
    assert.equal(seen.size, PACKET_ID_MAX - 7)
    assert.equal(seen.has(0), false)
    assert.equal(pool.has(65_535), true)
  })

  it('refuses to take what is taken or does not exist, and to free what is free', () => {
    const pool = new PacketIdPool()
    assert.equal(pool.takeSpecific(7), true)
    for (const id of [7, 0, -1, 65_536]) assert.equal(pool.takeSpecific(id), false)
    for (const id of [0, 8, 65_535, 65_536, -1]) {
      assert.equal(pool.free(id), false)
      assert.equal(pool.has(id), false)
    }
    assert.equal(pool.free(7), true)
    assert.equal(pool.free(7), false)
    assert.equal(pool.count, 0)
  })

  it('agrees with a set, over any calls', () => {
    const idArbitrary = fc.oneof(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1000, max: 1060 }),
      fc.constant(65_535),
    )
    const callArbitrary = fc.tuple(fc.constantFrom('take', 'takeSpecific', 'free'), idArbitrary)
    fc.assert(
      fc.property(fc.array(callArbitrary, { maxLength: 300, size: 'max' }), calls => {
        const pool = new PacketIdPool()
        const model = new Set<number>()
        let last = 0
        for (const [call, id] of calls) {
          if (call === 'free') assert.equal(pool.free(id), model.delete(id))
          else if (call === 'takeSpecific') {
            assert.equal(pool.takeSpecific(id), !model.has(id))
            model.add(id)
          } else {
            do last = (last % PACKET_ID_MAX) + 1
            while (model.has(last))
            assert.equal(pool.take(), last)
            model.add(last)
          }
          assert.equal(pool.count, model.size)
          assert.equal(pool.has(id), model.has(id))
        }
      }),
    )
  })
})
