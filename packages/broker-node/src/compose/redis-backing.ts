import type { Store } from '@midge/protocol-core'
import { createRedisCluster } from '../cluster-redis/create-redis-cluster.ts'
import { type Counters, DropReason } from '../counters.ts'
import type { Logger } from '../ports.ts'
import { RedisRoom } from '../redis/room.ts'
import { openRedisStore, type RedisStore } from '../store-redis/index.ts'
import type { Backing, BackingConfig } from './backing.ts'
import { StorePatience } from './store-patience.ts'

const REAP_COUNT_MAX = 500

/** A node of a cluster: store and peers are reached through one Redis. */
export function openRedisBacking(
  config: BackingConfig,
  url: string,
  { logger, counters }: { logger: Logger; counters: Counters },
): Backing {
  const { nodeId, durability } = config
  const stopped = new AbortController()
  const patience = new StorePatience(logger, stopped.signal)
  const room = new RedisRoom({
    settings: { ...config.redis, url },
    keyPrefix: config.redis.keyPrefix,
    logger,
    onOutage: () => {
      counters.redisOutages++
    },
    onDeaf: () => {
      counters.redisDeafnesses++
    },
  })
  const store = openRedisStore({ room, nodeId, limits: config.limits, durability, logger })
  const cluster = createRedisCluster({
    room,
    nodeId,
    logger,
    waitsForReplica: durability === 'replicated',
    timings: { barrierMs: config.suback.barrierMs },
    onDropped: (_nodeId, count) => counters.drop(DropReason.linkFull, count),
    onGap: (_nodeId, frames) => {
      counters.linkFramesLost += frames
    },
    onUnreadable: () => {
      counters.linkFramesUnreadable++
    },
  })
  return {
    kind: 'redis',
    store,
    directory: cluster.directory,
    link: cluster.link,
    records: cluster.records,
    quotas: cluster.quotas,
    secrets: {
      secret: (name, bytesCount) => patience.repeat('read a shared key', () => store.secret(name, bytesCount)),
    },
    ready: async () => {
      await Promise.race([store.ready, room.health.loginRefused])
      await patience.repeat('check the settings of Redis', () => warnOfSettings(store, logger))
    },
    patiently: (what, step) => patience.repeat(what, step),
    recover: () => patience.repeat('end what an earlier process left open', () => reapOwn(store, nodeId)),
    outage: () => (['connecting', 'down'].includes(room.health.state) ? 'Redis does not answer' : undefined),
    stop: async () => {
      stopped.abort()
      await cluster.stop()
      await store.stop()
      await room.stop()
    },
  }
}

/** Says once which settings of Redis promise less than the durability that is configured; too old a Redis rejects. */
async function warnOfSettings(store: RedisStore, logger: Logger): Promise<void> {
  for (const { code, text } of await store.check()) logger.warn({ event: 'store.setting', setting: code }, text)
}

/** By now the node id is ours alone, so whatever it has open in the store is of a process that is gone. */
async function reapOwn(store: Store, nodeId: string): Promise<void> {
  let count: number
  do {
    count = await store.reapNode(nodeId, Date.now(), REAP_COUNT_MAX)
  } while (count > 0)
}
