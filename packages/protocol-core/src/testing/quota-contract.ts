import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { QuotaStore, SlotAnswer, SlotLimit, TokenLease, TokenWish } from '../ports/quotas.ts'

/** Quotas in which nothing is counted, and how to get rid of them. */
export interface QuotasUnderTest {
  quotas: QuotaStore
  dispose(): Promise<void>
}

/** Makes what a contract is tested on. */
export type MakeQuotas = () => Promise<QuotasUnderTest>

const INSTANCE = 'acme'
const TEN: SlotLimit = { kind: 'connections', max: 10 }
const ODD_NAMES = ['__proto__', '', 'a\0b', '{x}', 'größe', ' ', 'x'.repeat(1000)]
/** A bucket that gains nothing worth speaking of while a test runs. */
const SLOW: TokenWish = { bucket: 'b', ratePerSecond: 1, burst: 1000, want: 0 }

const promises: [name: string, check: (quotas: QuotaStore) => Promise<void>][] = [
  [
    'as many are counted as have room, however many come at once',
    async quotas => {
      const answers = await Promise.all(numbers(50).map(n => take(quotas, `c${n}`)))
      assert.equal(answers.filter(({ isTaken }) => isTaken).length, 10)
      const refused = answers.find(({ isTaken }) => !isTaken)
      assert.deepEqual(refused, { isTaken: false, full: TEN, used: 10 })
      assert.equal(await quotas.usedSlots(INSTANCE, TEN.kind), 10)
    },
  ],
  [
    'the same name takes its own place, also when all are taken',
    async quotas => {
      for (const n of numbers(10)) assert.ok((await take(quotas, `c${n}`)).isTaken)
      assert.ok((await take(quotas, 'c3', { claim: 'again' })).isTaken)
      assert.equal(await quotas.usedSlots(INSTANCE, TEN.kind), 10)
      // What the older connection of the name gives back is not its own any more.
      await quotas.freeSlots(INSTANCE, [TEN.kind], { name: 'c3', claim: 'first' })
      assert.ok(!(await take(quotas, 'other')).isTaken)
      await quotas.freeSlots(INSTANCE, [TEN.kind], { name: 'c3', claim: 'again' })
      await quotas.freeSlots(INSTANCE, [TEN.kind], { name: 'c3', claim: 'again' })
      assert.ok((await take(quotas, 'other')).isTaken)
      assert.ok(!(await take(quotas, 'one more')).isTaken)
    },
  ],
  [
    'of several limits all have room, or none is touched',
    async quotas => {
      const user: SlotLimit = { kind: 'user:anna', max: 1 }
      assert.ok((await take(quotas, 'a', { limits: [TEN, user] })).isTaken)
      assert.deepEqual(await take(quotas, 'b', { limits: [TEN, user] }), { isTaken: false, full: user, used: 1 })
      assert.equal(await quotas.usedSlots(INSTANCE, TEN.kind), 1)
      assert.ok((await take(quotas, 'a', { claim: 'again', limits: [TEN, user] })).isTaken)
      await quotas.freeSlots(INSTANCE, [TEN.kind, user.kind], { name: 'a', claim: 'again' })
      assert.equal(await quotas.usedSlots(INSTANCE, user.kind), 0)
      assert.equal(await quotas.usedSlots(INSTANCE, TEN.kind), 0)
    },
  ],
  [
    'what is held already is counted beyond the limit, and leaves a newer claim alone',
    async quotas => {
      await take(quotas, 'held 1', { claim: 'newer' })
      await quotas.keepSlots(
        INSTANCE,
        TEN.kind,
        numbers(12).map(n => ({ name: `held ${n}`, claim: 'older' })),
      )
      assert.equal(await quotas.usedSlots(INSTANCE, TEN.kind), 12)
      await quotas.freeSlots(INSTANCE, [TEN.kind], { name: 'held 1', claim: 'older' })
      assert.equal(await quotas.usedSlots(INSTANCE, TEN.kind), 12)
      assert.ok(!(await take(quotas, 'other')).isTaken)
      await quotas.keepSlots(INSTANCE, TEN.kind, [])
    },
  ],
  [
    'instances and kinds do not meet, whatever the names',
    async quotas => {
      for (const instance of ['acme', 'acm', 'acme:connections', '{acme}', '__proto__']) {
        for (const kind of ['connections', 'user:connections', '__proto__']) {
          const limits = [{ kind, max: ODD_NAMES.length }]
          for (const name of ODD_NAMES) {
            assert.deepEqual(await quotas.takeSlots({ instance, name, claim: '1', limits }), { isTaken: true })
          }
          assert.equal((await quotas.takeSlots({ instance, name: 'more', claim: '1', limits })).isTaken, false)
        }
      }
    },
  ],
  [
    'a bucket is full at first, gives what it has, and takes back what was not used',
    async quotas => {
      assert.deepEqual(await lease(quotas, { want: 700 }), { granted: 700, waitMs: 0, left: 300 })
      const second = await lease(quotas, { want: 700 })
      assert.ok(second.granted >= 300 && second.granted <= 310, `granted ${second.granted}`)
      assert.ok(second.waitMs > 0 && second.waitMs <= 1000, `wait ${second.waitMs}`)
      assert.equal((await lease(quotas, { want: -200 })).granted, 0)
      const third = await lease(quotas, { want: 1000 })
      assert.ok(third.granted >= 200 && third.granted <= 210, `granted ${third.granted}`)
      await lease(quotas, { want: -100_000 })
      assert.equal((await lease(quotas, { want: 100_000 })).granted, 1000)
    },
  ],
  [
    'callers at once share what is there to the last token',
    async quotas => {
      const leases = await Promise.all(numbers(30).map(() => lease(quotas, { want: 100 })))
      const granted = leases.reduce((sum, one) => sum + one.granted, 0)
      assert.ok(granted >= 1000 && granted <= 1010, `granted ${granted}`)
    },
  ],
  [
    'the rate is that of the clock, and a smaller burst counts at once',
    async quotas => {
      const wish = { bucket: 'quick', ratePerSecond: 1000, burst: 5000, want: 5000 }
      await quotas.leaseTokens(INSTANCE, [wish])
      const startMs = performance.now()
      let granted = 0
      while (performance.now() - startMs < 1000) {
        const [one] = await quotas.leaseTokens(INSTANCE, [{ ...wish, want: 50 }])
        granted += one?.granted ?? 0
        await new Promise(resolve => setTimeout(resolve, 10))
      }
      const due = performance.now() - startMs
      assert.ok(Math.abs(granted - due) <= due * 0.02 + 51, `${granted} in ${due} ms`)
      await quotas.leaseTokens(INSTANCE, [{ ...wish, want: -5000 }])
      const [small] = await quotas.leaseTokens(INSTANCE, [{ ...wish, burst: 10, want: 5000 }])
      assert.ok((small?.granted ?? 0) <= 15, `granted ${small?.granted}`)
    },
  ],
  [
    'a rate of 0 gives nothing, ever',
    async quotas => {
      const [none] = await quotas.leaseTokens(INSTANCE, [{ bucket: 'none', ratePerSecond: 0, burst: 0, want: 1 }])
      assert.equal(none?.granted, 0)
      assert.ok((none?.waitMs ?? 0) >= 60_000)
    },
  ],
  [
    'several buckets in one call are answered in order',
    async quotas => {
      const leases = await quotas.leaseTokens(INSTANCE, [
        { ...SLOW, bucket: 'x', want: 5 },
        { ...SLOW, bucket: 'y', burst: 2, want: 5 },
      ])
      assert.deepEqual(
        leases.map(({ granted }) => granted),
        [5, 2],
      )
      assert.deepEqual(await quotas.leaseTokens(INSTANCE, []), [])
    },
  ],
]

/**
 * Declares the tests that every adapter of the `QuotaStore` port has to pass, as one suite of `node:test`.
 *
 * @param name - of the adapter, shown with every test
 */
export function quotaContract(name: string, makeQuotas: MakeQuotas): void {
  describe(`quota contract: ${name}`, () => {
    for (const [promise, check] of promises) {
      test(promise, async t => {
        const { quotas, dispose } = await makeQuotas()
        t.after(dispose)
        await check(quotas)
      })
    }
  })
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1)
}

function take(
  quotas: QuotaStore,
  name: string,
  more: { claim?: string; limits?: SlotLimit[] } = {},
): Promise<SlotAnswer> {
  return quotas.takeSlots({ instance: INSTANCE, name, claim: 'first', limits: [TEN], ...more })
}

async function lease(quotas: QuotaStore, wish: Partial<TokenWish>): Promise<TokenLease> {
  const [one] = await quotas.leaseTokens(INSTANCE, [{ ...SLOW, ...wish }])
  assert.ok(one)
  return one
}
