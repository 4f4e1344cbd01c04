import { LocalDirectory } from '../cluster-local/local-directory.ts'
import { LocalQuotas } from '../cluster-local/local-quotas.ts'
import { NoLink } from '../cluster-local/no-link.ts'
import { MEMORY_DATA_DIR } from '../config/schema.ts'
import type { Logger } from '../ports.ts'
import { openLocalStore } from '../store-local/index.ts'
import type { Backing, BackingConfig } from './backing.ts'

/** A node that is alone: the embedded store in its data folder, or in memory. */
export async function openLocalBacking(config: BackingConfig, logger: Logger): Promise<Backing> {
  const isInMemory = config.dataDir === MEMORY_DATA_DIR || config.durability === 'memory'
  const store = await openLocalStore({
    dataDir: config.dataDir,
    durability: isInMemory ? 'memory' : config.durability,
    limits: config.limits,
    onProgress: progress => logger.info({ event: 'store.loading', ...progress }, 'reading the store back'),
  })
  const directory = new LocalDirectory({ listSubscriptions: () => store.listSubscriptions() })
  return {
    kind: isInMemory ? 'memory' : 'embedded',
    store,
    directory,
    link: new NoLink(),
    records: store.records,
    quotas: new LocalQuotas(),
    secrets: store,
    ready: () => Promise.resolve(),
    patiently: (_what, step) => step(),
    outage: () => undefined,
    recover: async () => {
      await store.recover(Date.now())
    },
    stop: () => store.stop(),
  }
}
