import type { Claim, Login, LoginMethod, LoginStep } from '../ports.ts'
import { REFUSED } from './refusals.ts'

/**
 * The ways to log in, in their order. The first one that takes a claim and does not leave it to the next decides; a
 * claim that nobody takes is refused.
 */
export class LoginChain {
  private readonly methods: LoginMethod[]

  constructor(methods: readonly LoginMethod[]) {
    this.methods = [...methods]
  }

  /** Asked before all others from the next login on. */
  putFirst(method: LoginMethod): void {
    this.methods.unshift(method)
  }

  begin(claim: Claim): Login {
    return new ChainedLogin(this.methods, claim)
  }
}

class ChainedLogin implements Login {
  private readonly methods: readonly LoginMethod[]
  private readonly claim: Claim
  private at = 0
  private chosen: Login | undefined = undefined

  constructor(methods: readonly LoginMethod[], claim: Claim) {
    this.methods = methods
    this.claim = claim
  }

  step(data: Uint8Array | undefined): LoginStep | Promise<LoginStep> {
    return this.chosen === undefined ? this.ask(data) : this.chosen.step(data)
  }

  /** Stays in the turn as long as the methods do: most logins are decided at once. */
  private ask(data: Uint8Array | undefined): LoginStep | Promise<LoginStep> {
    while (this.at < this.methods.length) {
      const login = this.methods[this.at++]?.begin(this.claim)
      if (login === undefined) continue
      const step = login.step(data)
      if (step instanceof Promise) return step.then(answer => this.take(login, answer) ?? this.ask(data))
      const answer = this.take(login, step)
      if (answer !== undefined) return answer
    }
    return this.claim.method === undefined ? REFUSED.nobodyDecides : REFUSED.unknownMethod
  }

  private take(login: Login, step: LoginStep): LoginStep | undefined {
    if (step.kind === 'next') return undefined
    this.chosen = login
    return step
  }
}
