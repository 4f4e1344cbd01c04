import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** With more than this in use, a collection would hold the start up for longer than it spares the first clients. */
const HEAP_BYTES_MAX = 128 * 1024 * 1024

/**
 * Collects what loading the program has left behind, in 15 to 30 ms. Otherwise the runtime's first full collection falls
 * into the first seconds with clients, and holds them up for 10 ms at a time.
 *
 * Does nothing with a heap that is large, or on a runtime that cannot be asked. Never throws.
 */
export function collectStartUpGarbage(): void {
  if (process.memoryUsage().heapUsed > HEAP_BYTES_MAX) return
  try {
    // A context has the function when the flag is set while it is made; that of the program never gets it.
    setFlagsFromString('--expose-gc')
    const collect: unknown = runInNewContext('globalThis.gc')
    setFlagsFromString('--no-expose-gc')
    if (typeof collect === 'function') collect()
  } catch {
    // Then the runtime collects when it thinks fit.
  }
}
