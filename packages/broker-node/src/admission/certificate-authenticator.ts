import type { Claim, Login, LoginMethod, LoginStep } from '../ports.ts'
import { REFUSED } from './refusals.ts'

/** Names longer than this are no names, and end up in every log line. */
const NAME_LENGTH_MAX = 256
const CONTROL_CHARACTER = /\p{Cc}/u

/**
 * The Common Name of a verified client certificate is the username, and no password is asked. Listeners tell a Common
 * Name only where it is to be one.
 */
export class CertificateAuthenticator implements LoginMethod {
  begin(claim: Claim): Login | undefined {
    const { certCommonName } = claim.info
    // A client that asks for an exchange wants to prove more than its certificate does.
    if (claim.method !== undefined || certCommonName === undefined) return undefined
    return { step: () => decide(certCommonName) }
  }
}

function decide(name: string): LoginStep {
  if (name === '' || name.length > NAME_LENGTH_MAX || CONTROL_CHARACTER.test(name)) return REFUSED.certificateName
  return { kind: 'success', username: name, data: undefined }
}
