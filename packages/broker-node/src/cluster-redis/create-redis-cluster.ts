import { hostname } from 'node:os'
import type { Directory, NodeLink } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import { connectRedis, RedisGate, TroubleLog } from './connection.ts'
import { ControlBus } from './control-bus.ts'
import { ClusterKeys } from './keys.ts'
import { type ClusterTimings, DEFAULT_TIMINGS } from './limits.ts'
import { NodeRegistry } from './node-registry.ts'
import { RedisDirectory } from './redis-directory.ts'
import { type LinkReports, RedisNodeLink } from './redis-node-link.ts'

/** How a node takes part in a cluster; the reports are for its counters. */
export interface RedisClusterOptions extends LinkReports {
  url: string
  /** In front of every key and channel. */
  keyPrefix: string
  nodeId: string
  /** Told to peers; the machine's name by default. */
  host?: string
  logger: Logger
  timings?: Partial<ClusterTimings>
}

/** Both ends of the cluster as one node holds them. */
export interface RedisCluster {
  directory: Directory & Pick<RedisDirectory, 'sizes' | 'summaries'>
  link: NodeLink & Pick<RedisNodeLink, 'framesSent' | 'framesReceived'>
  /** Leaves the cluster and closes the connections; `directory.stop` and `link.stop` are part of it. */
  stop(): Promise<void>
}

/**
 * Joins a node to its cluster: four connections, shared by the directory and the link.
 *
 * Returns at once and connects in the background. `start` of either waits for Redis as long as it takes, and rejects
 * with `MIDGE_NODE_ID_IN_USE` when another process lives under the node id.
 */
export function createRedisCluster(options: RedisClusterOptions): Promise<RedisCluster> {
  const { url, nodeId, logger } = options
  const timings = { ...DEFAULT_TIMINGS, ...options.timings }
  const keys = new ClusterKeys(options.keyPrefix)
  const trouble = new TroubleLog(logger)
  const connect = (name: string, commandTimeoutMs: number): ReturnType<typeof connectRedis> =>
    connectRedis(url, { name, commandTimeoutMs }, trouble)
  const redis = connect('commands', timings.commandTimeoutMs)
  const inboxConnection = connect('inbox', 0)
  const bus = new ControlBus({
    subscriber: connect('bus-in', 0),
    publisher: connect('bus-out', timings.commandTimeoutMs),
    keys,
    nodeId,
    logger,
  })
  const gate = new RedisGate(redis)
  const host = options.host ?? hostname()
  const registry = new NodeRegistry({ redis, gate, bus, keys, nodeId, host, timings, logger })
  const directory = new RedisDirectory({ redis, gate, bus, registry, keys, timings, logger })
  const link = new RedisNodeLink({
    ...reportsOf(options),
    commands: redis,
    inboxConnection,
    gate,
    bus,
    registry,
    keys,
    logger,
  })
  const stop = async (): Promise<void> => {
    await directory.stop()
    gate.stop()
    await link.stop()
    bus.stop()
    inboxConnection.disconnect()
    redis.disconnect()
  }
  return Promise.resolve({ directory, link, stop })
}

function reportsOf({ onDropped, onGap, onUnreadable }: LinkReports): LinkReports {
  const reports: LinkReports = {}
  if (onDropped !== undefined) reports.onDropped = onDropped
  if (onGap !== undefined) reports.onGap = onGap
  if (onUnreadable !== undefined) reports.onUnreadable = onUnreadable
  return reports
}
