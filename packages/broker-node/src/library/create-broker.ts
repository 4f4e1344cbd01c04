import { openBacking } from '../compose/open-backing.ts'
import { loadConfig } from '../config/load-config.ts'
import type { Config } from '../config/schema.ts'
import { Counters } from '../counters.ts'
import { MidgeBroker } from '../engine/aedes/broker.ts'
import { pickHooks } from '../engine/aedes/hook-set.ts'
import { MIDGE_VERSION } from '../lifecycle/version.ts'
import { createLogger } from '../observe/logger.ts'
import { type BrokerOptions, configValuesOf } from './broker-options.ts'

/**
 * Makes a broker for a program that listens itself: hand every connection to `broker.handle`. It takes the place of
 * Aedes' own `createBroker`; what works, differs and is refused is in docs/aedes-migration.md.
 *
 * Resolves when clients may come: with Redis that is after Redis has answered, however long that takes. Nobody is asked
 * for a password unless there is an `authenticate` hook. `broker.close()` (or `await broker.stop()`) ends everything that this began.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID`, `MIDGE_LIBRARY_UNSUPPORTED` for options; `MIDGE_NODE_ID_IN_USE`; what the
 * embedded store says of its folder
 */
export async function createBroker(options: BrokerOptions): Promise<MidgeBroker> {
  const { config } = loadConfig({ env: {}, values: configValuesOf(options) })
  const logger = options.logger ?? createLogger(logSettings(config))
  const counters = new Counters()
  const backing = await openBacking(config, logger, counters)
  const { store, directory, link, quotas } = backing
  const broker = new MidgeBroker({
    ...pickHooks(options),
    nodeId: config.nodeId,
    limits: config.limits,
    counters,
    logger,
    store,
    directory,
    link,
    quotas,
    isEmbedded: true,
    release: () => backing.stop(),
  })
  try {
    await backing.ready()
    await broker.start()
    await backing.recover()
    broker.core.pokeSweeper()
  } catch (error) {
    await broker.stop()
    throw error
  }
  return broker
}

function logSettings({ nodeId }: Config): Parameters<typeof createLogger>[0] {
  return { level: 'warn', format: 'json', nodeId, version: MIDGE_VERSION }
}
