import { after, before } from 'node:test'
import { recordStoreContract } from '@midge/protocol-core/testing'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { FAST_TIMINGS, joinCluster } from './testing/test-node.ts'

let redis: TestRedis
let clusters = 0

before(async () => {
  redis = await startRedis()
})
after(() => redis.stop())

recordStoreContract('redis', async () => {
  const keyPrefix = `records-${++clusters}`
  let node = joinCluster(redis.url, 'n', FAST_TIMINGS, keyPrefix)
  return {
    records: node.cluster.records,
    reopen: async () => {
      await node.stop()
      node = joinCluster(redis.url, 'n', FAST_TIMINGS, keyPrefix)
      return node.cluster.records
    },
    dispose: () => node.stop(),
  }
})
