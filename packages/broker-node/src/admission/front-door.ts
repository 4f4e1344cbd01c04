import { ReasonCode, type RuleSource, TokenBucket } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type {
  Admission,
  AdmissionStep,
  Admitted,
  Claim,
  Door,
  Logger,
  Login,
  LoginFailure,
  LoginMethod,
  LoginRequest,
  LoginStep,
  Plan,
  WillRights,
} from '../ports.ts'
import { chooseInstance } from './choose-instance.ts'
import { LoginChain } from './login-chain.ts'
import { RefusalLog } from './refusal-log.ts'
import { REFUSED } from './refusals.ts'
import { RuleWillRights } from './rule-will-rights.ts'
import type { UserDirectory, UserLimits } from './user-directory.ts'
import { UserPermissions } from './user-permissions.ts'

/** What a {@link FrontDoor} is made of. */
export interface FrontDoorOptions {
  /** In the order in which they are asked. */
  methods: readonly LoginMethod[]
  users: UserDirectory
  rules: RuleSource
  counters: Counters
  logger: Logger
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
}

/**
 * The one door: chooses the instance, has the chain of login methods decide who the client is, and says what it may do
 * and use. The engine learns of nothing else.
 */
export class FrontDoor implements Door {
  readonly wills: WillRights
  private readonly options: FrontDoorOptions
  private readonly chain: LoginChain
  private readonly log: RefusalLog

  constructor(options: FrontDoorOptions) {
    this.options = options
    this.wills = new RuleWillRights(options.rules)
    this.chain = new LoginChain(options.methods)
    this.log = new RefusalLog(options.logger, options.now)
  }

  putFirst(method: LoginMethod): void {
    this.chain.putFirst(method)
  }

  begin(request: LoginRequest): Admission {
    const claim = { ...request, ...chooseInstance(request.info, request.username) }
    return new Visit(this, claim, this.chain.begin(claim))
  }

  /** What the outcome of a login means for the client. */
  conclude(claim: Claim, step: LoginStep): AdmissionStep {
    switch (step.kind) {
      case 'continue':
        return step
      case 'success':
        return { kind: 'admitted', admitted: this.admit(claim, step.username), data: step.data }
      case 'failure':
        return this.refuse(claim, step)
      case 'next':
        return this.refuse(claim, REFUSED.malformedExchange)
    }
  }

  private admit({ instance, clientId }: Claim, username: string | undefined): Admitted {
    const { users, rules, now } = this.options
    const permissions = new UserPermissions(rules.of(instance), { username, clientId })
    const limits = username === undefined ? undefined : users.find(instance, username)?.limits
    return { instance, username, permissions, plan: planOf(limits, now()) }
  }

  private refuse(claim: Claim, failure: LoginFailure): AdmissionStep {
    const { counters } = this.options
    const refused: AdmissionStep = {
      kind: 'refused',
      reasonCode: failure.reasonCode,
      text: textFor(failure.reasonCode),
    }
    // What was dropped because nobody waits for it says nothing about the server.
    if (failure === REFUSED.busy && claim.caller.isGone) return refused
    if (failure === REFUSED.busy) counters.authenticationsBusy++
    else if (failure === REFUSED.backOff) counters.authenticationBackOffs++
    else counters.authenticationFailures++
    this.log.write(claim, failure)
    return refused
  }
}

/** What the client is told; never which of user and password was wrong. */
function textFor(reasonCode: number): string {
  if (reasonCode === ReasonCode.serverBusy) return 'server busy, try again later'
  if (reasonCode === ReasonCode.badAuthenticationMethod) return 'authentication method not supported'
  return 'not authorized'
}

class Visit implements Admission {
  private readonly door: FrontDoor
  private readonly claim: Claim
  private readonly login: Login

  constructor(door: FrontDoor, claim: Claim, login: Login) {
    this.door = door
    this.claim = claim
    this.login = login
  }

  step(data: Uint8Array | undefined): AdmissionStep | Promise<AdmissionStep> {
    const step = this.login.step(data)
    if (step instanceof Promise) return step.then(answer => this.door.conclude(this.claim, answer))
    return this.door.conclude(this.claim, step)
  }
}

const UNLIMITED: Plan = { publishes: undefined, publishBytes: undefined }

function planOf(limits: UserLimits | undefined, nowMs: number): Plan {
  if (limits === undefined) return UNLIMITED
  return {
    publishes: bucketOf(limits.publishesPerSecond, nowMs),
    publishBytes: bucketOf(limits.publishBytesPerSecond, nowMs),
  }
}

/** One second's worth may come at once. */
function bucketOf(ratePerSecond: number | undefined, nowMs: number): TokenBucket | undefined {
  return ratePerSecond === undefined ? undefined : new TokenBucket({ ratePerSecond, burst: ratePerSecond }, nowMs)
}
