import type { Claim, LoginStep } from '../ports.ts'
import type { HashClaim } from './hash-queue.ts'
import type { Attempt, LoginHistory } from './login-history.ts'

/** Equal claims that arrive together, and wait for one answer. */
export class SharedLogins {
  private readonly running: Map<string, { claims: Claim[]; result: Promise<LoginStep> }> = new Map()

  /**
   * @param key - the same for equal claims, and for no others
   * @param work - is done for the first of them; its `claims` grow while it lasts
   */
  answer(key: string, claim: Claim, work: (claims: readonly Claim[]) => Promise<LoginStep>): Promise<LoginStep> {
    const running = this.running.get(key)
    if (running !== undefined) {
      running.claims.push(claim)
      return running.result
    }
    const claims = [claim]
    const result = work(claims).finally(() => this.running.delete(key))
    this.running.set(key, { claims, result })
    return result
  }
}

/** What a queue has to know of claims that share an answer: it is wanted as long as one of them waits. */
export function turnOf(claims: readonly Claim[], attempt: Attempt, history: LoginHistory): HashClaim {
  return {
    network: attempt.network,
    bytes: claims[0]?.packetBytes ?? 0,
    standing: () => history.standing(attempt),
    isWanted: () => history.waitMs(attempt) === 0 && claims.some(({ caller }) => !caller.isGone),
  }
}
