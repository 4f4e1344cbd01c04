import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { CONTRACT_LIMITS, type MakeStore, storeContract } from '@midge/protocol-core/testing'
import { Redis } from 'ioredis'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import type { RedisStore } from './index.ts'
import { connect } from './redis-store.test.support.ts'

/** Stores on one server that all tests of a suite share, emptied for each. */
function storesOn(args: string[], prepare: (admin: Redis) => Promise<void>): MakeStore {
  let redis: TestRedis
  let admin: Redis
  before(async () => {
    redis = await startRedis(args)
    admin = new Redis(redis.url, { disableClientInfo: true, enableReadyCheck: false })
    await prepare(admin)
  })
  after(async () => {
    admin.disconnect()
    await redis.stop()
  })
  const open = async (): Promise<RedisStore> => {
    const store = connect(redis.url, 'node-1', { limits: CONTRACT_LIMITS, commandTimeoutMs: 2_000 })
    await store.ready
    return store
  }
  return async () => {
    await admin.flushall()
    let store = await open()
    return {
      store,
      reopen: async () => {
        await store.stop()
        store = await open()
        return store
      },
      dispose: () => store.stop(),
    }
  }
}

storeContract(
  'redis',
  storesOn([], async () => {}),
)

// A cluster of one node has all keys, and still refuses a script whose keys are in different slots.
storeContract(
  'redis in cluster mode',
  storesOn(['--cluster-enabled', 'yes'], async admin => {
    await admin.cluster('ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot))
    while (!(await admin.cluster('INFO')).includes('cluster_state:ok')) {
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    await assert.rejects(admin.mget('a', 'b'), /CROSSSLOT/)
  }),
)
