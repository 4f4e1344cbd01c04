import { after, before } from 'node:test'
import { directoryContract } from '@midge/protocol-core/testing'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { FAST_TIMINGS, joinCluster, startNode } from './testing/test-node.ts'

let redis: TestRedis
let clusters = 0

before(async () => {
  redis = await startRedis()
})
after(() => redis.stop())

directoryContract('redis', async stored => {
  const keyPrefix = `contract-${++clusters}`
  const before = await startNode(redis.url, 'before', FAST_TIMINGS, keyPrefix)
  for (const { instance, clientId, subscription } of stored) {
    before.cluster.directory.addStored(instance, clientId, subscription)
  }
  await before.stop()
  const { cluster, stop } = joinCluster(redis.url, 'n', FAST_TIMINGS, keyPrefix)
  return { directory: cluster.directory, dispose: stop }
})
