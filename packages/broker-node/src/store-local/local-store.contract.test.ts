import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONTRACT_LIMITS, type StoreUnderTest, storeContract } from '@midge/protocol-core/testing'
import type { Durability } from '../config/schema.ts'
import { openLocalStore } from './open.ts'

async function makeEmbedded(durability: Durability): Promise<StoreUnderTest> {
  const dataDir = await mkdtemp(join(tmpdir(), 'midge-store-'))
  const open = (): ReturnType<typeof openLocalStore> => openLocalStore({ dataDir, durability, limits: CONTRACT_LIMITS })
  let store = await open()
  return {
    store,
    reopen: async () => {
      await store.stop()
      store = await open()
      return store
    },
    dispose: async () => {
      await store.stop()
      await rm(dataDir, { recursive: true })
    },
  }
}

storeContract('memory', async () => {
  const store = await openLocalStore({ dataDir: '', durability: 'memory', limits: CONTRACT_LIMITS })
  return { store, dispose: () => store.stop() }
})

storeContract('embedded, everysec', () => makeEmbedded('everysec'))

storeContract('embedded, fsync', () => makeEmbedded('fsync'))
