import { after, before } from 'node:test'
import { CONTRACT_LIMITS, storeContract } from '@midge/protocol-core/testing'
import { Redis } from 'ioredis'
import type { Logger } from '../ports.ts'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { openRedisStore, type RedisStore } from './index.ts'

const silent: Logger = {
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  isLevelEnabled: () => false,
  child: () => silent,
}

let redis: TestRedis
let admin: Redis

before(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url, { disableClientInfo: true })
})

after(async () => {
  admin.disconnect()
  await redis.stop()
})

storeContract('redis', async () => {
  const open = async (): Promise<RedisStore> => {
    const store = openRedisStore({
      url: redis.url,
      nodeId: 'node-1',
      limits: CONTRACT_LIMITS,
      durability: 'memory',
      logger: silent,
    })
    await store.ready
    return store
  }
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
})
