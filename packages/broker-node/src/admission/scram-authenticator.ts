import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Claim, Login, LoginMethod, LoginStep } from '../ports.ts'
import { type Attempt, attemptOf, type LoginHistory } from './login-history.ts'
import { REFUSED } from './refusals.ts'
import { SCRAM_ITERATIONS_DEFAULT, type ScramKeys } from './scram-keys.ts'
import { parseClientFinal, parseClientFirst, type ScramClientFirst } from './scram-messages.ts'
import type { UserDirectory } from './user-directory.ts'

/** The Authentication Method of v5 that {@link ScramAuthenticator} knows. */
export const SCRAM_METHOD = 'SCRAM-SHA-256'

/** What SCRAM works with. */
export interface ScramAuthenticatorOptions {
  users: UserDirectory
  history: LoginHistory
}

/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) as enhanced authentication of v5 section 4.12, without channel binding.
 *
 * An unknown user gets the same messages as a known one, up to the same failure at the end. A refusal is 0x87, which is
 * legal in CONNACK and, after a re-authentication, in DISCONNECT.
 */
export class ScramAuthenticator implements LoginMethod {
  private readonly options: ScramAuthenticatorOptions

  constructor(options: ScramAuthenticatorOptions) {
    this.options = options
  }

  begin(claim: Claim): Login | undefined {
    return claim.method === SCRAM_METHOD ? new ScramLogin(this.options, claim) : undefined
  }
}

const SERVER_NONCE_BYTES = 18

/** What the server has to remember between its two messages. */
interface Challenge {
  clientFirst: ScramClientFirst
  attempt: Attempt
  keys: ScramKeys
  isReal: boolean
  nonce: string
  serverFirst: string
}

class ScramLogin implements Login {
  private readonly options: ScramAuthenticatorOptions
  private readonly claim: Claim
  private challenge: Challenge | undefined
  private isOver = false

  constructor(options: ScramAuthenticatorOptions, claim: Claim) {
    this.options = options
    this.claim = claim
  }

  step(data: Uint8Array | undefined): LoginStep {
    if (this.isOver || data === undefined) return REFUSED.malformedExchange
    const { challenge } = this
    if (challenge === undefined) return this.answerFirst(data)
    this.isOver = true
    const { history } = this.options
    const step = history.waitMs(challenge.attempt) > 0 ? REFUSED.backOff : decideFinal(challenge, data)
    if (step.kind === 'success') history.succeeded(challenge.attempt)
    else if (step === REFUSED.wrongScramProof || step === REFUSED.unknownScramUser) history.failed(challenge.attempt)
    return step
  }

  private answerFirst(data: Uint8Array): LoginStep {
    const clientFirst = parseClientFirst(data)
    const step = clientFirst.kind === 'failure' ? clientFirst : this.challengeTo(clientFirst)
    this.isOver = step.kind !== 'continue'
    return step
  }

  private challengeTo(clientFirst: ScramClientFirst): LoginStep {
    const attempt = attemptOf(this.claim, clientFirst.username)
    if (this.options.history.waitMs(attempt) > 0) return REFUSED.backOff
    const { keys, isReal } = this.findKeys(clientFirst.username)
    const nonce = clientFirst.nonce + randomBytes(SERVER_NONCE_BYTES).toString('base64')
    const salt = Buffer.from(keys.salt).toString('base64')
    const serverFirst = `r=${nonce},s=${salt},i=${keys.iterationCount}`
    this.challenge = { clientFirst, attempt, keys, isReal, nonce, serverFirst }
    return { kind: 'continue', data: Buffer.from(serverFirst) }
  }

  /** Keys that nobody can prove stand in for an unknown user; they are made for a known one too, for the same time. */
  private findKeys(username: string): { keys: ScramKeys; isReal: boolean } {
    const { users } = this.options
    const salt = users.scramSaltOf(this.claim.instance, username)
    const nothing = randomBytes(32)
    const fake = { salt, iterationCount: SCRAM_ITERATIONS_DEFAULT, storedKey: nothing, serverKey: nothing }
    const keys = users.find(this.claim.instance, username)?.scram
    return { keys: keys ?? fake, isReal: keys !== undefined }
  }
}

function decideFinal(challenge: Challenge, data: Uint8Array): LoginStep {
  const { clientFirst, keys, isReal, nonce, serverFirst } = challenge
  const clientFinal = parseClientFinal(data)
  if (clientFinal === undefined) return REFUSED.malformedExchange
  const wrong = isReal ? REFUSED.wrongScramProof : REFUSED.unknownScramUser
  // The header comes back inside the signed part: a man in the middle who changed "y" to "n" is found here.
  const expectedBinding = Buffer.from(clientFirst.gs2Header).toString('base64')
  if (clientFinal.channelBinding !== expectedBinding || clientFinal.nonce !== nonce) return wrong
  const authMessage = `${clientFirst.bare},${serverFirst},${clientFinal.withoutProof}`
  const clientSignature = createHmac('sha256', keys.storedKey).update(authMessage).digest()
  if (clientFinal.proof.length !== clientSignature.length) return wrong
  const clientKey = clientSignature.map((byte, index) => byte ^ (clientFinal.proof[index] ?? 0))
  const isRight = timingSafeEqual(createHash('sha256').update(clientKey).digest(), keys.storedKey)
  const serverSignature = createHmac('sha256', keys.serverKey).update(authMessage).digest('base64')
  if (!isRight || !isReal) return wrong
  return { kind: 'success', username: clientFirst.username, data: Buffer.from(`v=${serverSignature}`) }
}
