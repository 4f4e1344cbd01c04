import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONTRACT_LIMITS, type RecordsUnderTest, recordStoreContract } from '@midge/protocol-core/testing'
import type { Durability } from '../config/schema.ts'
import { openLocalStore } from './open.ts'

async function makeEmbedded(durability: Durability): Promise<RecordsUnderTest> {
  const dataDir = await mkdtemp(join(tmpdir(), 'midge-records-'))
  const open = (): ReturnType<typeof openLocalStore> => openLocalStore({ dataDir, durability, limits: CONTRACT_LIMITS })
  let store = await open()
  return {
    records: store.records,
    reopen: async () => {
      await store.stop()
      store = await open()
      return store.records
    },
    dispose: async () => {
      await store.stop()
      await rm(dataDir, { recursive: true })
    },
  }
}

recordStoreContract('memory', async () => {
  const store = await openLocalStore({ dataDir: '', durability: 'memory', limits: CONTRACT_LIMITS })
  return { records: store.records, dispose: () => store.stop() }
})

recordStoreContract('embedded, everysec', () => makeEmbedded('everysec'))

recordStoreContract('embedded, fsync', () => makeEmbedded('fsync'))
