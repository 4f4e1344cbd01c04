import { hostname } from 'node:os'
import type { Directory, NodeLink, QuotaStore, RecordStore } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import { RetryGate } from '../redis/retry-gate.ts'
import type { RedisRoom } from '../redis/room.ts'
import { ClusterKeys } from './cluster-keys.ts'
import { clusterScripts } from './cluster-scripts.ts'
import { ControlBus } from './control-bus.ts'
import { NodeRegistry } from './node-registry.ts'
import { RedisDirectory } from './redis-directory.ts'
import { type LinkReports, RedisNodeLink } from './redis-node-link.ts'
import { RedisQuotas } from './redis-quotas.ts'
import { RedisRecords } from './redis-records.ts'
import { type ClusterTimings, DEFAULT_TIMINGS, INBOX_BLOCK_MS } from './timings.ts'

/** How a node takes part in a cluster; the reports are for its counters. */
export interface RedisClusterOptions extends LinkReports {
  /** Where its links come from; it is not closed with the cluster. */
  room: RedisRoom
  nodeId: string
  /** Told to peers; the machine's name by default. */
  host?: string
  /** See `durability: replicated`: a write of records is kept only when a replica has it. */
  waitsForReplica?: boolean
  logger: Logger
  timings?: Partial<ClusterTimings>
}

/** The ends of the cluster as one node holds them. */
export interface RedisCluster {
  directory: Directory & Pick<RedisDirectory, 'sizes' | 'summaries'>
  link: NodeLink & Pick<RedisNodeLink, 'framesSent' | 'framesReceived'>
  records: RecordStore
  quotas: QuotaStore
  /** Leaves the cluster; `directory.stop`, `link.stop` and `records.stop` are part of it. */
  stop(): Promise<void>
}

/**
 * Joins a node to its cluster: a link for commands, one for the inbox, and the listener of the node, shared by the
 * directory, the records and the node link.
 *
 * Returns at once and connects in the background. `start` of either waits for Redis as long as it takes, and rejects
 * with `MIDGE_NODE_ID_IN_USE` when another process lives under the node id.
 */
export function createRedisCluster(options: RedisClusterOptions): RedisCluster {
  const { room, nodeId, logger } = options
  const timings = { ...DEFAULT_TIMINGS, ...options.timings }
  const keys = new ClusterKeys(`${room.keyPrefix}:`)
  const redis = room.commandLink('cluster', clusterScripts())
  const inboxLink = room.blockingLink('inbox', INBOX_BLOCK_MS)
  const bus = new ControlBus({ commands: redis, listener: room.listener(), keys, nodeId, logger })
  const gate = new RetryGate(redis)
  const host = options.host ?? hostname()
  const registry = new NodeRegistry({ redis, gate, bus, keys, nodeId, host, timings, logger })
  const directory = new RedisDirectory({ redis, gate, bus, registry, keys, timings, logger })
  const waitsForReplica = options.waitsForReplica ?? false
  const records = new RedisRecords({ redis, gate, bus, registry, keys, timings, waitsForReplica, logger })
  const link = new RedisNodeLink({
    ...reportsOf(options),
    commands: redis,
    inboxLink,
    gate,
    bus,
    registry,
    keys,
    takeoverAnswerMs: timings.takeoverAnswerMs,
    logger,
  })
  const quotas = new RedisQuotas({ redis, keys, token: registry.token, leaseMs: timings.leaseMs })
  const stop = async (): Promise<void> => {
    await Promise.all([directory.stop(), records.stop()])
    gate.stop()
    await link.stop()
    inboxLink.disconnect()
    await redis.stop()
  }
  return { directory, link, quotas, records, stop }
}

function reportsOf({ onDropped, onGap, onUnreadable }: LinkReports): LinkReports {
  const reports: LinkReports = {}
  if (onDropped !== undefined) reports.onDropped = onDropped
  if (onGap !== undefined) reports.onGap = onGap
  if (onUnreadable !== undefined) reports.onUnreadable = onUnreadable
  return reports
}
