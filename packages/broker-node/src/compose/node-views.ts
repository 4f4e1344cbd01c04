import { type NodeLink, ReasonCode, type Store } from '@midge/protocol-core'
import type { Config } from '../config/schema.ts'
import type { Counters } from '../counters.ts'
import type { BrokerCore } from '../engine/broker-core.ts'
import { LiveClients } from '../engine/inspection/live-clients.ts'
import type { Readiness } from '../lifecycle/readiness.ts'
import { MIDGE_VERSION } from '../lifecycle/version.ts'
import type { EventLoopLag } from '../observe/event-loop-lag.ts'
import type { ClientLog } from '../views/client-log.ts'
import { LiveCluster, type LocalViews } from '../views/live-cluster.ts'

/** What is looked at. */
export interface NodeViewsParts {
  config: Config
  core: BrokerCore
  store: Store
  link: NodeLink
  counters: Counters
  readiness: Readiness
  lag: EventLoopLag
  log: ClientLog
}

const RESTARTED = { reasonCode: ReasonCode.administrativeAction, reason: 'the instance is restarted' }

/** What the API sees of the cluster; this node answers the questions of the others from here on. */
export function createViews(parts: NodeViewsParts): LiveCluster {
  const { config, core, store, link } = parts
  const { topicLevelsMax, sessionExpirySecondsMax, subscriptionsPerSessionMax } = config.limits
  const views = new LiveCluster({
    ...{ nodeId: config.nodeId, store, link, directory: core.services.directory, local: localViews(parts) },
    leaveGroups: (instance, topicFilters) => core.groups.leave(instance, topicFilters),
    publish: (instance, message) => core.publisher.publish(instance, message),
    ...{ topicLevelsMax, sessionExpirySecondsMax, subscriptionsMax: subscriptionsPerSessionMax },
    nowMs: () => Date.now(),
    drainSelf: () => core.onDrainAsked(),
  })
  core.onQuestion = question => views.answer(question)
  return views
}

function localViews({ config, core, counters, readiness, lag, log }: NodeViewsParts): LocalViews {
  const clients = new LiveClients(core)
  return {
    connections: (instance, after, countMax) => clients.connections(instance, after, countMax),
    connection: (instance, clientId) => clients.connection(instance, clientId),
    count: instance => clients.count(instance),
    kick(instance, clientId) {
      const isThere = clients.connection(instance, clientId) !== undefined
      if (isThere) core.kick(instance, clientId, ReasonCode.administrativeAction)
      return isThere
    },
    restart: instance => core.closeClients({ instance }, RESTARTED),
    ended: () => core.ended(),
    cleanSubscriptions: (instance, slice, clientId) => clients.cleanSubscriptions(instance, slice, clientId),
    storedSubscriptions: (instance, slice, clientId) => clients.storedSubscriptions(instance, slice, clientId),
    log: (instance, afterSeq, countMax) => log.read(instance, afterSeq, countMax),
    node: () => ({
      nodeId: config.nodeId,
      ready: readiness.check().ready,
      version: MIDGE_VERSION,
      uptimeSeconds: Math.round(process.uptime()),
      connections: counters.connectionsCurrent,
      eventLoopLagMs: lag.takeMaxMs(),
    }),
  }
}
