import { directoryContract } from '@midge/protocol-core/testing'
import { LocalDirectory } from './local-directory.ts'

directoryContract('local', stored => {
  const directory = new LocalDirectory({
    listSubscriptions: async function* pages() {
      for (const subscription of stored) yield [subscription]
    },
  })
  return Promise.resolve({ directory, dispose: () => directory.stop() })
})
