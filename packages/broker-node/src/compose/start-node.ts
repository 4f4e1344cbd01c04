import { type Config, MEMORY_DATA_DIR } from '../config/schema.ts'
import { Counters } from '../counters.ts'
import { MidgeBroker } from '../engine/aedes/broker.ts'
import { startHttp } from '../http/server.ts'
import { ensureBootstrapUser } from '../lifecycle/bootstrap.ts'
import { Readiness } from '../lifecycle/readiness.ts'
import type { RunningNode } from '../lifecycle/running-node.ts'
import { startListener } from '../listeners/listener.ts'
import type { RunningListener } from '../listeners/options.ts'
import { sampleEventLoopLag } from '../observe/event-loop-lag.ts'
import type { Logger } from '../ports.ts'
import { createAuthenticators } from './authenticators.ts'
import { planListeners } from './listener-plan.ts'
import { ComposedNode } from './node.ts'
import { statusSources } from './node-status.ts'
import { openBacking } from './open-backing.ts'

/**
 * Builds a node from its configuration and starts it: health first, then store and cluster, then the listeners.
 *
 * While Redis is not there yet this waits, with `/readyz` at 503. Rejects with a `BrokerError` when the configuration
 * or a port is the problem.
 */
export async function startNode(config: Config, logger: Logger): Promise<RunningNode> {
  const counters = new Counters()
  const backing = await openBacking(config, logger, counters)
  const { store, directory, link } = backing
  const user = ensureBootstrapUser(config.dataDir === MEMORY_DATA_DIR ? undefined : config.dataDir, config.bootstrap)
  const broker = new MidgeBroker({
    nodeId: config.nodeId,
    limits: config.limits,
    counters,
    logger,
    store,
    directory,
    link,
    ...(await createAuthenticators(config.auth, user)),
  })
  const readiness = new Readiness({ store, directory, link })
  const listeners: RunningListener[] = []
  const lag = sampleEventLoopLag()
  const sources = statusSources({ config, backing, counters, readiness, listeners, lag })
  const http = config.http.port === 0 ? undefined : await startHttp(config.http, sources)
  const node = new ComposedNode({ config, backing, broker, readiness, listeners, http, user, lag })
  try {
    await backing.ready()
    await broker.start()
    await backing.recover()
    broker.core.pokeSweeper()
    for (const options of planListeners(config)) listeners.push(await startListener(options, broker, logger, counters))
  } catch (error) {
    await node.stop()
    throw error
  }
  readiness.start()
  await readiness.refresh()
  const { listeners: open } = sources.status()
  logger.info({ event: 'node.ready', store: backing.kind, listeners: open }, 'ready')
  return node
}
