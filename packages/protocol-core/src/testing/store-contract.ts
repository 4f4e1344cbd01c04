import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { declareTests, type MakeStore } from './store-fixture.ts'
import { groupContract } from './store-groups.ts'
import { inspectionContract } from './store-inspection.ts'
import { queueContract } from './store-queues.ts'
import { restartContract } from './store-restart.ts'
import { retainedContract } from './store-retained.ts'
import { rulesContract } from './store-rules.ts'
import { sessionContract } from './store-sessions.ts'
import { willContract } from './store-wills.ts'

/**
 * Declares the tests that every adapter of the `Store` port has to pass, as one suite of `node:test`.
 *
 * Each test gets a fresh store with `CONTRACT_LIMITS`. Time is told by the callers; only the expiry of messages, for
 * which calls carry no time, follows the wall clock.
 *
 * @param name - of the adapter, shown with every test
 */
export function storeContract(name: string, makeStore: MakeStore): void {
  describe(`store contract: ${name}`, () => {
    for (const tests of [
      sessionContract,
      rulesContract,
      willContract,
      queueContract,
      groupContract,
      retainedContract,
      inspectionContract,
      restartContract,
    ]) {
      declareTests(tests, makeStore)
    }
    test('a secret is made once, also for callers that ask together, and each name has its own', async t => {
      const { store, dispose } = await makeStore()
      t.after(dispose)
      const [first, ...others] = await Promise.all([1, 2, 3].map(() => store.secret('a', 32)))
      assert.equal(first?.length, 32)
      for (const other of others) assert.deepEqual(Buffer.from(other), Buffer.from(first))
      assert.notDeepEqual(Buffer.from(await store.secret('b', 32)), Buffer.from(first))
    })
    test('a store answers a ping', async t => {
      const { store, dispose } = await makeStore()
      t.after(dispose)
      await store.ping()
    })
  })
}
