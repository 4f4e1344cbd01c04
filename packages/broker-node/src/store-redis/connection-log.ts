import type { Redis } from 'ioredis'
import type { Logger } from '../ports.ts'

/** An unreachable Redis is worth a line this often, however fast the attempts are. */
const REPEAT_MS = 10_000

/** Logs when a connection breaks, stays broken and comes back. Also keeps `error` events from ending the process. */
export function watchConnection(client: Redis, role: string, logger: Logger): void {
  const { host, port } = client.options
  const fields = { role, host, port }
  let lastError = 'connection closed'
  let loggedAtMs = 0
  let suppressed = 0
  let isDown = false
  client.on('error', (error: Error) => {
    lastError = error.message === '' ? String((error as NodeJS.ErrnoException).code) : error.message
  })
  // Follows each attempt that failed, but not a connection that was closed on purpose.
  client.on('reconnecting', () => {
    isDown = true
    const nowMs = Date.now()
    if (nowMs - loggedAtMs < REPEAT_MS) {
      suppressed++
      return
    }
    loggedAtMs = nowMs
    logger.warn(
      { event: 'store.unreachable', ...fields, error: lastError, suppressed },
      'Redis is unreachable: trying again',
    )
    suppressed = 0
  })
  client.on('ready', () => {
    if (isDown) logger.info({ event: 'store.connected', ...fields }, 'Redis is reachable again')
    else logger.info({ event: 'store.connected', ...fields }, 'connected to Redis')
    isDown = false
    loggedAtMs = 0
  })
}
