import { describe, test } from 'node:test'
import { declareTests, type MakeStore } from './store-fixture.ts'
import { groupContract } from './store-groups.ts'
import { queueContract } from './store-queues.ts'
import { restartContract } from './store-restart.ts'
import { retainedContract } from './store-retained.ts'
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
      willContract,
      queueContract,
      groupContract,
      retainedContract,
      restartContract,
    ]) {
      declareTests(tests, makeStore)
    }
    test('a store answers a ping', async t => {
      const { store, dispose } = await makeStore()
      t.after(dispose)
      await store.ping()
    })
  })
}
