import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { TokenBucket } from './token-bucket.ts'

describe('TokenBucket', () => {
  it('lets a burst through at once and then the rate', () => {
    const bucket = new TokenBucket({ ratePerSecond: 10, burst: 3 }, 1000)
    assert.deepEqual(
      [1, 2, 3, 4].map(() => bucket.tryTake(1, 1000)),
      [true, true, true, false],
    )
    assert.equal(bucket.waitMs(1, 1000), 100)
    assert.equal(bucket.tryTake(1, 1099), false)
    assert.equal(bucket.tryTake(1, 1100), true)
    assert.equal(bucket.waitMs(1, 1100), 100)
    assert.equal(bucket.waitMs(1, 9999), 0)
  })

  it('fills to the burst and no further', () => {
    const bucket = new TokenBucket({ ratePerSecond: 10, burst: 3 }, 0)
    assert.equal(bucket.tryTake(3, 1_000_000), true)
    assert.equal(bucket.tryTake(1, 1_000_000), false)
  })

  it('lets something larger than the burst through when full, and makes the next wait for it', () => {
    const bucket = new TokenBucket({ ratePerSecond: 1000, burst: 1000 }, 0)
    assert.equal(bucket.tryTake(5000, 0), true)
    assert.equal(bucket.waitMs(1, 0), 4001)
    assert.equal(bucket.tryTake(1, 4000), false)
    assert.equal(bucket.tryTake(1, 4001), true)
  })

  it('take() goes into debt', () => {
    const bucket = new TokenBucket({ ratePerSecond: 1000, burst: 10 }, 0)
    bucket.take(30, 0)
    assert.equal(bucket.waitMs(1, 0), 21)
  })

  it('takeUpTo() takes what is there, and giveBack() fills no further than the burst', () => {
    const bucket = new TokenBucket({ ratePerSecond: 1000, burst: 10 }, 0)
    assert.equal(bucket.takeUpTo(7, 0), 7)
    assert.equal(bucket.takeUpTo(7, 0), 3)
    assert.equal(bucket.takeUpTo(7, 2), 2)
    bucket.giveBack(100, 2)
    assert.equal(bucket.takeUpTo(100, 2), 10)
  })

  it('gives nothing for a clock that is set back, and goes on from there', () => {
    const bucket = new TokenBucket({ ratePerSecond: 1000, burst: 10 }, 10_000)
    assert.equal(bucket.tryTake(10, 10_000), true)
    assert.equal(bucket.tryTake(1, 5000), false)
    assert.equal(bucket.tryTake(5, 5005), true)
    assert.equal(bucket.tryTake(1, 5005), false)
  })

  it('never lets more through than burst + rate × time, and waitMs() is exact', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 1, max: 20 })), { maxLength: 100, size: 'max' }),
        (ratePerSecond, burst, steps) => {
          const bucket = new TokenBucket({ ratePerSecond, burst }, 0)
          let nowMs = 0
          let taken = 0
          for (const [stepMs, wanted] of steps) {
            const count = Math.min(wanted, burst)
            nowMs += stepMs
            const waitMs = bucket.waitMs(count, nowMs)
            const isTaken = bucket.tryTake(count, nowMs)
            assert.equal(isTaken, waitMs === 0)
            if (!isTaken) {
              assert.equal(bucket.tryTake(count, nowMs + waitMs - 1), false)
              nowMs += waitMs
              assert.equal(bucket.tryTake(count, nowMs), true)
            }
            taken += count
            assert.ok(taken * 1000 <= burst * 1000 + ratePerSecond * nowMs)
          }
        },
      ),
    )
  })
})
