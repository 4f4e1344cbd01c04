import type { Logger } from '../ports.ts'
import type { CommandLink } from '../redis/command-link.ts'
import type { RetryGate } from '../redis/retry-gate.ts'
import type { ClusterKeys } from './cluster-keys.ts'
import type { ClusterScript } from './cluster-scripts.ts'
import type { ControlBus } from './control-bus.ts'
import type { NodeRegistry, Peer } from './node-registry.ts'
import type { TablePoint } from './replicated-table.ts'
import type { SettleBarrier } from './settle-barrier.ts'
import type { ClusterTimings } from './timings.ts'

/** Heartbeats in a row at which a peer's summary has to differ before a table is loaded again. */
const MISMATCHES_MAX = 2

/** What whoever keeps replicated tables is made of. */
export interface TableOwnerOptions {
  redis: CommandLink<ClusterScript>
  gate: RetryGate
  bus: ControlBus
  registry: NodeRegistry
  keys: ClusterKeys
  timings: ClusterTimings
  logger: Logger
}

/** A table as its node's peers know it. */
export interface WatchedTable {
  readonly name: string
  /** What this node tells that it has applied. */
  readonly appliedPoint: TablePoint
  /** See `ReplicatedTable`. */
  summary(): string | undefined
  follow(): void
  reload(): void
}

/** What {@link watchTables} needs. */
export interface TablePeersOptions {
  registry: NodeRegistry
  bus: ControlBus
  /** Hears of what peers have applied. */
  barrier: SettleBarrier
  logger: Logger
}

/**
 * Keeps tables in step with those of the peers: reads a log when somebody has written to it, and compares with every
 * heartbeat how far each peer is, and whether it has the same rows.
 */
export function watchTables(tables: readonly WatchedTable[], options: TablePeersOptions): void {
  const { registry, bus, barrier, logger } = options
  const mismatches = new Map<string, number>()
  registry.describe(() => describe(tables))
  registry.observe({
    onPeers: peers => {
      for (const peer of peers) {
        for (const table of tables) {
          // Acknowledgements that the bus may have lost.
          const [epoch = '', version = ''] = peer.info[`${table.name}At`]?.split(' ') ?? []
          if (epoch !== '') barrier.onApplied(peer.nodeId, table.name, { epoch, version: Number(version) })
          if (!isMismatch(peer, table, mismatches)) continue
          logger.warn(
            { event: 'cluster.table_differs', table: table.name, peerNodeId: peer.nodeId },
            'two nodes disagree about a table; loading it again',
          )
          table.reload()
        }
      }
      barrier.check()
    },
  })
  bus.onMessage(message => {
    if (message.kind === 'nodes') return
    const table = tables.find(({ name }) => name === message.table)
    if (table === undefined) return
    if (message.kind === 'changed') table.follow()
    else barrier.onApplied(message.nodeId, table.name, message)
  })
}

function describe(tables: readonly WatchedTable[]): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const table of tables) {
    const { epoch, version } = table.appliedPoint
    fields[`${table.name}At`] = `${epoch} ${version}`
    const summary = table.summary()
    if (summary !== undefined) fields[`${table.name}Sum`] = summary
  }
  return fields
}

/** @returns true when both have stood at the same version with different rows for {@link MISMATCHES_MAX} heartbeats */
function isMismatch(peer: Peer, table: WatchedTable, mismatches: Map<string, number>): boolean {
  const key = `${table.name} ${peer.nodeId}`
  const theirs = peer.info[`${table.name}Sum`]
  const mine = table.summary()
  const versionOf = (summary: string): string => summary.split(' ', 2).join()
  const differs = theirs !== undefined && mine !== undefined && versionOf(theirs) === versionOf(mine) && theirs !== mine
  const count = differs ? (mismatches.get(key) ?? 0) + 1 : 0
  if (count === 0 || count >= MISMATCHES_MAX) mismatches.delete(key)
  else mismatches.set(key, count)
  return count >= MISMATCHES_MAX
}
