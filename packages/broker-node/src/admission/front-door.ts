import { ALL_PERMITTED, type InstanceName, ReasonCode, type RuleSource } from '@midge/protocol-core'
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
  WillRights,
} from '../ports.ts'
import type { BanFinder } from './ban-book.ts'
import { chooseInstance, type InstanceFinder } from './choose-instance.ts'
import { LoginChain } from './login-chain.ts'
import { RefusalLog } from './refusal-log.ts'
import { REFUSED } from './refusals.ts'
import { RuleWillRights } from './rule-will-rights.ts'
import type { UserDirectory } from './user-directory.ts'
import { UserPermissions } from './user-permissions.ts'

/** What a {@link FrontDoor} is made of. */
export interface FrontDoorOptions {
  /** The ways into an instance, in the order in which they are asked. */
  methodsOf: (instance: InstanceName) => readonly LoginMethod[]
  bans: BanFinder
  instances: InstanceFinder
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
    this.chain = new LoginChain(options.methodsOf)
    this.log = new RefusalLog(options.logger, options.now)
  }

  putFirst(method: LoginMethod): void {
    this.chain.putFirst(method)
  }

  begin(request: LoginRequest): Admission {
    const { instances } = this.options
    const claim = { ...request, ...chooseInstance(instances, request.info, request.username) }
    const refusal = this.closedTo(claim) ?? this.banned(claim, claim.username)
    const login = refusal === undefined ? this.chain.begin(claim) : { step: () => refusal }
    return new Visit(this, claim, { login, epoch: this.epochOf(claim, claim.username) })
  }

  /** Why nobody can log in there, whoever it is. */
  private closedTo({ instance: name, protocolVersion }: Claim): LoginFailure | undefined {
    const instance = this.options.instances.instances.get(name)
    if (instance === undefined) return REFUSED.noInstance
    if (instance.state === 'suspended') return REFUSED.suspended
    return instance.settings.protocols.includes(protocolVersion) ? undefined : REFUSED.protocol
  }

  private banned({ instance, clientId, info }: Claim, username: string | undefined): LoginFailure | undefined {
    return this.options.bans.isBanned(instance, { address: info.remoteAddress, clientId, username })
      ? REFUSED.banned
      : undefined
  }

  private epochOf({ instance }: Claim, username: string | undefined): number | undefined {
    if (username === undefined) return undefined
    const user = this.options.users.find(instance, username)
    return user === undefined ? undefined : (user.epoch ?? 0)
  }

  /** What the outcome of a login means for the client. */
  conclude(claim: Claim, epochAtFirst: number | undefined, step: LoginStep): AdmissionStep {
    switch (step.kind) {
      case 'continue':
        return step
      case 'success': {
        const refusal = this.revokedMeanwhile(claim, epochAtFirst, step.username)
        if (refusal !== undefined) return this.refuse(claim, refusal)
        return { kind: 'admitted', admitted: this.admit(claim, step), data: step.data }
      }
      case 'failure':
        return this.refuse(claim, step)
      case 'next':
        return this.refuse(claim, REFUSED.malformedExchange)
    }
  }

  /** While a password is hashed, its user or instance may go; whoever closes connections does not see this one yet. */
  private revokedMeanwhile(
    claim: Claim,
    epochAtFirst: number | undefined,
    username: string | undefined,
  ): LoginFailure | undefined {
    // The login may have found another name than the claim has, and a ban may be newer than the claim.
    const closed = this.closedTo(claim) ?? this.banned(claim, username)
    if (closed !== undefined || username === undefined) return closed
    if (this.options.users.isDisabled(claim.instance, username)) return REFUSED.revoked
    const isSame = username !== claim.username || epochAtFirst === undefined
    return isSame || this.epochOf(claim, username) === epochAtFirst ? undefined : REFUSED.revoked
  }

  private admit({ instance, clientId }: Claim, { username, grant }: LoginSuccess): Admitted {
    const { users, rules } = this.options
    const permissions =
      grant?.isUnrestricted === true
        ? ALL_PERMITTED
        : new UserPermissions(rules.of(instance), { username, clientId }, grant?.rules)
    const connectionsMax = username === undefined ? undefined : users.find(instance, username)?.connectionsMax
    return { instance, username, permissions, plan: { connectionsMax }, expiresAtMs: grant?.expiresAtMs }
  }

  private refuse(claim: Claim, failure: LoginFailure): AdmissionStep {
    const { counters } = this.options
    const refused: AdmissionStep = {
      kind: 'refused',
      reasonCode: failure.reasonCode,
      text: textFor(failure),
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

type LoginSuccess = Extract<LoginStep, { kind: 'success' }>

/** What the client is told; never which of user and password was wrong. */
function textFor(failure: LoginFailure): string {
  const { reasonCode } = failure
  if (failure === REFUSED.suspended || failure === REFUSED.noInstance) return 'the instance is not in service'
  if (failure === REFUSED.protocol) return 'protocol version not supported here'
  if (reasonCode === ReasonCode.serverBusy) return 'server busy, try again later'
  if (reasonCode === ReasonCode.badAuthenticationMethod) return 'authentication method not supported'
  return 'not authorized'
}

class Visit implements Admission {
  private readonly door: FrontDoor
  private readonly claim: Claim
  private readonly login: Login
  /** Of the user that the claim names, when the login began. */
  private readonly epoch: number | undefined

  constructor(door: FrontDoor, claim: Claim, { login, epoch }: { login: Login; epoch: number | undefined }) {
    this.door = door
    this.claim = claim
    this.login = login
    this.epoch = epoch
  }

  step(data: Uint8Array | undefined): AdmissionStep | Promise<AdmissionStep> {
    const step = this.login.step(data)
    if (step instanceof Promise) return step.then(answer => this.door.conclude(this.claim, this.epoch, answer))
    return this.door.conclude(this.claim, this.epoch, step)
  }
}
