import { after, before } from 'node:test'
import { CONTRACT_LIMITS, type MakeStore, storeContract } from '@midge/protocol-core/testing'
import { Redis } from 'ioredis'
import { testRoom } from '../testing/redis-room.ts'
import { startRedis } from '../testing/redis-server.ts'
import { startRedisCluster, type TestTopology } from '../testing/redis-topologies.ts'
import type { RedisStore } from './index.ts'
import { connect } from './redis-store.test.support.ts'

/** Stores on servers that all tests of a suite share, emptied for each. */
function storesOn(start: () => Promise<TestTopology>): MakeStore {
  let topology: TestTopology
  let admins: Redis[]
  before(async () => {
    topology = await start()
    admins = topology.servers.map(({ url }) => new Redis(url, { disableClientInfo: true, enableReadyCheck: false }))
  })
  after(async () => {
    for (const admin of admins) admin.disconnect()
    await topology.stop()
  })
  const open = async (): Promise<RedisStore> => {
    const room = testRoom(topology.settings, { commandTimeoutMs: 2_000 })
    const store = connect('', 'node-1', { limits: CONTRACT_LIMITS, room })
    await store.ready
    return store
  }
  return async () => {
    await Promise.all(admins.map(admin => admin.flushall()))
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
  storesOn(async () => {
    const server = await startRedis()
    return { settings: { url: server.url }, servers: [server], stop: () => server.stop() }
  }),
)

storeContract(
  'redis cluster',
  storesOn(() => startRedisCluster()),
)
