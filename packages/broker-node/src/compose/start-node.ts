import { type Config, MEMORY_DATA_DIR } from '../config/schema.ts'
import { Counters } from '../counters.ts'
import { MidgeBroker } from '../engine/aedes/broker.ts'
import { startHttp } from '../http/server.ts'
import { ensureBootstrap } from '../lifecycle/bootstrap.ts'
import { Readiness } from '../lifecycle/readiness.ts'
import { startListener } from '../listeners/listener.ts'
import { sampleEventLoopLag } from '../observe/event-loop-lag.ts'
import { AddressBook } from '../outbound/address-book.ts'
import { AddressGuard } from '../outbound/address-guard.ts'
import { HttpCaller } from '../outbound/http-caller.ts'
import type { Logger } from '../ports.ts'
import { ClientLog } from '../views/client-log.ts'
import { createDoor } from './admission.ts'
import { planListeners } from './listener-plan.ts'
import { ComposedNode, type NodeParts } from './node.ts'
import { nodeApi } from './node-api.ts'
import { statusSources } from './node-status.ts'
import { createTenancy, startTenancy } from './node-tenancy.ts'
import { createViews } from './node-views.ts'
import { startWebhooks } from './node-webhooks.ts'
import { openBacking } from './open-backing.ts'
import { revocations } from './revocation.ts'
import { TenantLimits } from './tenant-limits.ts'
import { openInstancePorts } from './tenant-ports.ts'

/**
 * Builds a node from its configuration and starts it: health first, then store and cluster, then the listeners.
 *
 * While Redis is not there yet this waits, with `/readyz` at 503. Rejects with a `BrokerError` when the configuration
 * or a port is the problem.
 */
export async function startNode(config: Config, logger: Logger): Promise<ComposedNode> {
  const counters = new Counters()
  const bootstrap = ensureBootstrap(config.dataDir === MEMORY_DATA_DIR ? undefined : config.dataDir, config.bootstrap)
  const backing = await openBacking(config, logger, counters)
  const { store, directory, link, quotas } = backing
  const tenancy = createTenancy(config, backing, logger)
  const log = new ClientLog(() => Date.now())
  const watched = log.watching(logger)
  const caller = new HttpCaller(new AddressBook(new AddressGuard(config.outbound.allow)))
  const broker = new MidgeBroker({
    nodeId: config.nodeId,
    limits: config.limits,
    counters,
    logger: watched,
    store,
    directory,
    link,
    quotas,
    instanceLimits: new TenantLimits(tenancy.plane),
    door: createDoor(config.auth, { tenancy, caller, counters, logger: watched }),
  })
  const readiness = new Readiness({ store, directory, link, outage: () => backing.outage() })
  const lag = sampleEventLoopLag()
  const inForce = { password: false, apiKey: false }
  const parts: NodeParts = {
    config,
    backing,
    broker,
    tenancy,
    readiness,
    listeners: [],
    instancePorts: undefined,
    http: undefined,
    bootstrap,
    inForce,
    lag,
    stopWebhooks: undefined,
  }
  const node = new ComposedNode(parts)
  let isStarted = false
  const views = createViews({ config, core: broker.core, store, link, counters, readiness, lag, log })
  const mount = nodeApi({
    ...{ config, tenancy, views, counters, logger, listeners: parts.listeners },
    isStarted: () => isStarted,
  })
  const sources = statusSources({ ...parts, counters, instancePorts: () => parts.instancePorts })
  broker.core.onDrainAsked = () => {
    logger.info({ event: 'node.draining', by: 'cluster' }, 'draining: another node has asked for it')
    node.drain().then(
      () => logger.info({ event: 'node.drained' }, 'drained: out of service until the process is started again'),
      (error: unknown) => logger.error({ event: 'node.drain_failed', err: error }, 'the drain failed'),
    )
  }
  try {
    if (config.http.port !== 0) parts.http = await startHttp(config.http, sources, mount)
    await backing.ready()
    parts.inForce = await startTenancy(tenancy, backing, { bootstrap, nodeId: config.nodeId })
    tenancy.plane.observe(revocations(broker.core))
    await broker.start()
    isStarted = true
    parts.stopWebhooks = startWebhooks({ config, core: broker.core, tenancy: tenancy.plane, log, counters, logger })
    await backing.recover()
    broker.core.pokeSweeper()
    for (const options of planListeners(config))
      parts.listeners.push(await startListener(options, broker, logger, counters))
    parts.instancePorts = await openInstancePorts(config, tenancy.plane, { acceptor: broker, logger, counters })
  } catch (error) {
    await node.stop()
    throw error
  }
  readiness.start()
  await readiness.refresh()
  logger.info({ event: 'node.ready', store: backing.kind, listeners: sources.status().listeners }, 'ready')
  return node
}
