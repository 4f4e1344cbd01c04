import { BrokerError, type QueueLimits } from '@midge/protocol-core'
import type { Durability } from '../config/schema.ts'
import { NullJournal } from './journal.ts'
import { LevelJournal } from './level-journal.ts'
import type { LoadProgress } from './load.ts'
import { LocalStore } from './local-store.ts'

/** How to open a local store. */
export interface OpenLocalStoreOptions {
  /** Not touched when `durability` is `memory`. */
  dataDir: string
  durability: Durability
  limits: QueueLimits
  /** Wall clock; tests pass their own. */
  now?: () => number
  /** Called every 2 s while a store with much in it is read back. */
  onProgress?: (progress: LoadProgress) => void
}

/**
 * Opens the store of a node on its own and reads it back. Connections that were open when the process died still are,
 * until `recover` ends them.
 *
 * @throws BrokerError `MIDGE_CONFIG_INVALID` for a directory that cannot be used or a durability that needs Redis;
 * `MIDGE_STORE_UNAVAILABLE` (retryable) when another process has the directory; `MIDGE_STORE_CORRUPT`
 */
export async function openLocalStore(options: OpenLocalStoreOptions): Promise<LocalStore> {
  const { dataDir, durability, ...rest } = options
  if (durability === 'replicated') {
    const text =
      'durability "replicated" needs Redis (MIDGE_REDIS_URL); a node on its own has memory, everysec or fsync'
    throw new BrokerError('MIDGE_CONFIG_INVALID', text)
  }
  const journal = durability === 'memory' ? new NullJournal() : await LevelJournal.open(dataDir, durability)
  const store = new LocalStore({ ...rest, journal })
  try {
    await store.load()
  } catch (error) {
    await journal.stop()
    throw error
  }
  return store
}
