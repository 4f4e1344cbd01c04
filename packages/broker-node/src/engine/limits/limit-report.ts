import { type InstanceName, QuietTimes } from '@midge/protocol-core'
import type { EngineServices } from '../ground/services.ts'

/** At most one line per instance and limit in this time. */
const INTERVAL_MS = 10_000

/** Limits as the log and the metrics name them. */
export type LimitName =
  | 'plan_connections'
  | 'user_connections'
  | 'connect_rate'
  | 'plan_sessions'
  | 'plan_subscriptions'
  | 'plan_packet_size'
  | 'plan_rate'
  | 'plan_retained'

/** Says what its clients were refused: to the owner of an instance in the log, to operators in the metrics. */
export class LimitReport {
  private readonly services: Pick<EngineServices, 'counters' | 'logger'>
  private readonly instance: InstanceName
  private readonly said = new QuietTimes<LimitName>(INTERVAL_MS)

  constructor(services: Pick<EngineServices, 'counters' | 'logger'>, instance: InstanceName) {
    this.services = services
    this.instance = instance
  }

  /** @param clientId - `undefined` where it is about no client in particular */
  met(limit: LimitName, text: string, clientId?: string): void {
    const { counters, logger } = this.services
    counters.limitMet(limit)
    const suppressedCount = this.said.pass(limit, performance.now())
    if (suppressedCount === undefined) return
    logger.info({ event: 'plan.limit', instance: this.instance, limit, clientId, suppressedCount }, text)
  }
}
