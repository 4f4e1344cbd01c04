import { QuietTimes } from '@midge/protocol-core'
import type { Claim, Logger, LoginFailure } from '../ports.ts'
import { networkOf } from './network.ts'

/** At most one line per network in this time. */
const INTERVAL_MS = 10_000
/** Networks with a line of their own; the rest of a larger attack shares one. */
const NETWORKS_MAX = 1000
const OTHERS = ''
const TEXT_LENGTH_MAX = 128

/**
 * One line at info for a login that was refused, with the reason in plain words: what its owner needs and its client is
 * never told. A storm from one network is one line in ten seconds, which says how many were left out.
 */
export class RefusalLog {
  private readonly logger: Logger
  private readonly now: () => number
  private readonly networks: QuietTimes<string> = new QuietTimes(INTERVAL_MS)

  /** @param now - milliseconds of a clock that only goes forward */
  constructor(logger: Logger, now: () => number) {
    this.logger = logger
    this.now = now
  }

  write(claim: Claim, failure: LoginFailure): void {
    const nowMs = this.now()
    const network = this.placeOf(networkOf(claim.info.remoteAddress), nowMs)
    const suppressedCount = this.networks.pass(network, nowMs)
    const text = `login refused: ${failure.reason}`
    if (suppressedCount === undefined) this.logger.debug(fieldsOf(claim, failure), text)
    else this.logger.info({ ...fieldsOf(claim, failure), suppressedCount }, text)
  }

  private placeOf(network: string, nowMs: number): string {
    if (this.networks.size < NETWORKS_MAX || this.networks.has(network)) return network
    this.networks.forgetLapsed(nowMs)
    return this.networks.size < NETWORKS_MAX ? network : OTHERS
  }
}

function fieldsOf({ info, instance, clientId, username }: Claim, { reasonCode }: LoginFailure): object {
  return {
    event: 'client.refused',
    ...{ connectionId: info.connectionId, instance, remoteAddress: info.remoteAddress },
    ...{ clientId: clientId.slice(0, TEXT_LENGTH_MAX), username: username?.slice(0, TEXT_LENGTH_MAX), reasonCode },
  }
}
