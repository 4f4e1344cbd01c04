import { ALL_PERMITTED, DEFAULT_INSTANCE, ReasonCode } from '@midge/protocol-core'
import type { Counters } from '../../counters.ts'
import type { Admission, AdmissionStep, Door, LoginMethod, LoginRequest, LoginStep, WillRights } from '../../ports.ts'
import { FREE_WILLS } from '../ground/free-wills.ts'

const UNLIMITED = {}

/** The door of a broker that was given none: everybody may come in, unless a hook says otherwise, as with Aedes. */
export class OpenDoor implements Door {
  readonly wills: WillRights = FREE_WILLS
  private readonly counters: Pick<Counters, 'authenticationFailures'>
  private method: LoginMethod | undefined = undefined

  constructor(counters: Pick<Counters, 'authenticationFailures'>) {
    this.counters = counters
  }

  putFirst(method: LoginMethod): void {
    this.method = method
  }

  begin(request: LoginRequest): Admission {
    return { step: () => this.decide(request) }
  }

  private decide(request: LoginRequest): AdmissionStep | Promise<AdmissionStep> {
    const { method, username } = request
    if (method !== undefined) {
      return this.conclude({ kind: 'failure', reasonCode: ReasonCode.badAuthenticationMethod, reason: 'unknown' })
    }
    const login = this.method?.begin({ ...request, instance: DEFAULT_INSTANCE })
    const step = login?.step(undefined) ?? { kind: 'success', username, data: undefined }
    return step instanceof Promise ? step.then(answer => this.conclude(answer)) : this.conclude(step)
  }

  private conclude(step: LoginStep): AdmissionStep {
    if (step.kind === 'success') {
      const { username, data } = step
      const admitted = { instance: DEFAULT_INSTANCE, username, permissions: ALL_PERMITTED, plan: UNLIMITED }
      return { kind: 'admitted', admitted, data }
    }
    this.counters.authenticationFailures++
    const reasonCode = step.kind === 'failure' ? step.reasonCode : ReasonCode.notAuthorized
    const isUnknown = reasonCode === ReasonCode.badAuthenticationMethod
    return {
      kind: 'refused',
      reasonCode,
      text: isUnknown ? 'authentication method not supported' : 'not authorized',
    }
  }
}
