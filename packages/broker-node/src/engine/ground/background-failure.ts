import { BrokerError } from '@midge/protocol-core'
import type { EngineServices } from './services.ts'

/** Reports a failure that no single connection has to answer for. */
export function reportBackgroundFailure(
  services: Pick<EngineServices, 'counters' | 'logger'>,
  what: string,
  error: unknown,
): void {
  if (error instanceof BrokerError && error.code === 'MIDGE_SESSION_FENCED') {
    services.counters.fencedWrites++
    return
  }
  services.logger.warn({ event: 'store.failure', what, err: error }, `${what}: the store did not take it`)
}
