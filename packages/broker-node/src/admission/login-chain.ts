import type { InstanceName } from '@midge/protocol-core'
import type { Claim, Login, LoginFailure, LoginMethod, LoginStep } from '../ports.ts'
import { REFUSED } from './refusals.ts'

/**
 * The ways to log in to an instance, in their order. The first one that takes a claim and does not leave it to the next
 * decides; a claim that nobody takes is refused.
 */
export class LoginChain {
  private readonly first: LoginMethod[] = []
  private readonly methodsOf: (instance: InstanceName) => readonly LoginMethod[]

  constructor(methodsOf: (instance: InstanceName) => readonly LoginMethod[]) {
    this.methodsOf = methodsOf
  }

  /** Asked before all others, in every instance, from the next login on. */
  putFirst(method: LoginMethod): void {
    this.first.unshift(method)
  }

  begin(claim: Claim): Login {
    const methods = this.methodsOf(claim.instance)
    return new ChainedLogin(this.first.length === 0 ? methods : [...this.first, ...methods], claim)
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
    return untaken(this.claim)
  }

  private take(login: Login, step: LoginStep): LoginStep | undefined {
    if (step.kind === 'next') return undefined
    this.chosen = login
    return step
  }
}

/** Why nobody took the claim, for the log. */
function untaken({ method, username, password }: Claim): LoginFailure {
  if (method !== undefined) return REFUSED.unknownMethod
  if (username === undefined) return password === undefined ? REFUSED.anonymous : REFUSED.passwordOnly
  return password === undefined ? REFUSED.usernameOnly : REFUSED.nobodyDecides
}
