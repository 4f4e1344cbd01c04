import { ALL_PERMITTED, DEFAULT_INSTANCE } from '@midge/protocol-core'
import type { AdmissionStep, Admitted, Door, LoginRequest } from '../../ports.ts'
import { FREE_WILLS } from '../ground/free-wills.ts'

/** A door that decides about every client at its first message. */
export function doorThat(decide: (request: LoginRequest) => AdmissionStep | Promise<AdmissionStep>): Door {
  return { wills: FREE_WILLS, putFirst: () => {}, begin: request => ({ step: () => decide(request) }) }
}

/** Somebody who may do everything comes in. */
export function letIn(admitted: Partial<Admitted> = {}, data?: Uint8Array): AdmissionStep {
  const who = { instance: DEFAULT_INSTANCE, username: undefined, permissions: ALL_PERMITTED, plan: {}, ...admitted }
  return { kind: 'admitted', admitted: who, data }
}

/** Somebody is refused. */
export function turnAway(reasonCode: number): AdmissionStep {
  return { kind: 'refused', reasonCode, text: 'not authorized' }
}
