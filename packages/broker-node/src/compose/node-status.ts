import { createNodeMetrics } from '@midge/metrics-exporter'
import type { Config } from '../config/schema.ts'
import { type Counters, DropReason, PACKET_NAMES } from '../counters.ts'
import type { HttpSources } from '../http/server.ts'
import type { StatusReport } from '../http/status-report.ts'
import { durabilitySentence } from '../lifecycle/durability.ts'
import type { Readiness } from '../lifecycle/readiness.ts'
import { MIDGE_VERSION } from '../lifecycle/version.ts'
import type { InstancePorts } from '../listeners/instance-ports.ts'
import type { RunningListener } from '../listeners/options.ts'
import type { EventLoopLag } from '../observe/event-loop-lag.ts'
import { WebhookDropReason } from '../webhooks/webhook-drop-reason.ts'
import type { Backing } from './backing.ts'

/** What health, status and metrics are read from. */
export interface StatusParts {
  config: Config
  backing: Backing
  counters: Counters
  readiness: Readiness
  /** Grows while the node starts. */
  listeners: readonly RunningListener[]
  /** Absent until the node has started. */
  instancePorts: () => InstancePorts | undefined
  lag: EventLoopLag
}

/** What the HTTP server shows of this node. */
export function statusSources(parts: StatusParts): HttpSources {
  const { config, backing, counters, readiness } = parts
  const metrics = createNodeMetrics({
    counters,
    nodeId: config.nodeId,
    version: MIDGE_VERSION,
    packetNames: PACKET_NAMES,
    dropReasons: Object.values(DropReason),
    webhookDropReasons: Object.values(WebhookDropReason),
    facts: () => ({ isReady: readiness.check().ready, clusterNodes: backing.link.peers().length + 1 }),
  })
  return { readiness: () => readiness.check(), status: () => describeNode(parts), metrics }
}

function describeNode(parts: StatusParts): StatusReport {
  const { config, backing, counters, readiness, listeners, lag } = parts
  const instancePorts = parts.instancePorts()
  const sum = (counts: Iterable<number>): number => [...counts].reduce((total, count) => total + count, 0)
  return {
    version: MIDGE_VERSION,
    nodeId: config.nodeId,
    uptimeSeconds: Math.round(process.uptime()),
    ...readiness.check(),
    store: backing.kind,
    cluster: { nodes: [config.nodeId, ...backing.link.peers()] },
    listeners: listeners.map(({ kind, address }) => ({ transport: kind, ...address })),
    instancePorts: { open: instancePorts?.openCount ?? 0, failed: instancePorts?.failedPorts ?? [] },
    durability: {
      setting: config.durability,
      sentence: durabilitySentence(config.durability, backing.kind === 'memory'),
    },
    counts: {
      connections: counters.connectionsCurrent,
      sessions: counters.sessionsCurrent,
      subscriptions: counters.subscriptionsCurrent,
      messagesReceived: sum(counters.messagesReceived),
      messagesSent: sum(counters.messagesSent),
      messagesDropped: sum(counters.dropped.values()),
    },
    eventLoopLagMs: lag.takeMaxMs(),
  }
}
