import { ReasonCode } from '@midge/protocol-core'
import {
  createLocalJWKSet,
  decodeProtectedHeader,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  errors as joseErrors,
  jwtVerify,
} from 'jose'
import type { HttpCaller } from '../outbound/http-caller.ts'
import type { Claim, Login, LoginFailure, LoginMethod, LoginStep } from '../ports.ts'
import type { LoginSourceOf } from '../tenancy/model/login-source.ts'
import { grantedRules } from '../tenancy/model/rule.ts'
import { username as usernameSchema } from '../tenancy/model/words.ts'
import type { HashQueue } from './hash-queue.ts'
import { KeySet } from './key-set.ts'
import { type Attempt, attemptOf, type LoginHistory } from './login-history.ts'
import { REFUSED } from './refusals.ts'

/** What tokens are verified with. */
export interface JwtParts {
  caller: Pick<HttpCaller, 'call'>
  /** Signatures are verified on the thread pool, in turns as passwords are. */
  queue: HashQueue
  history: LoginHistory
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
  /** Unix time in milliseconds. */
  nowMs: () => number
}

/** Clocks of two servers differ. */
const CLOCK_TOLERANCE_SECONDS = 5
const TOKEN_BYTES_MAX = 8192
/** `{"` in Base64, and three parts. */
const TOKEN = /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/

/** True for a password that looks like a JSON Web Token, whatever is in it. */
export function isToken(password: Uint8Array | undefined): boolean {
  if (password === undefined || password.length > TOKEN_BYTES_MAX || password[0] !== 0x65) return false
  return TOKEN.test(Buffer.from(password).toString('latin1'))
}

/** JSON Web Tokens in the password, of one instance. Spec: RFC 7519; keys RFC 7517; algorithms are pinned, RFC 8725. */
export class JwtAuthenticator implements LoginMethod {
  private readonly source: LoginSourceOf<'jwt'>
  private readonly parts: JwtParts
  private readonly keysFor: (kid: string | undefined) => Promise<JWTVerifyGetKey>

  constructor(source: LoginSourceOf<'jwt'>, parts: JwtParts) {
    this.source = source
    this.parts = parts
    this.keysFor = keysOf(source, parts)
  }

  begin(claim: Claim): Login | undefined {
    const { method, password } = claim
    if (method !== undefined || password === undefined || !isToken(password)) return undefined
    // A copy: the buffer of the packet is another one's by the time it is verified.
    const token = Buffer.from(password).toString('latin1')
    return { step: () => this.decide(claim, token) }
  }

  private async decide(claim: Claim, token: string): Promise<LoginStep> {
    const { history } = this.parts
    const attempt = attemptOf(claim, claim.username ?? claim.clientId)
    if (history.waitMs(attempt) > 0) return REFUSED.backOff
    let getKey: JWTVerifyGetKey
    try {
      getKey = await this.keysFor(decodeProtectedHeader(token).kid)
    } catch (error) {
      if (error instanceof TypeError) return this.failed(attempt, refusal(error))
      return { ...unavailable, reason: `${unavailable.reason}: ${String(error)}` }
    }
    const payload = await this.verify(claim, attempt, { token, getKey })
    if (payload === undefined) return REFUSED.busy
    const step = payload instanceof Error ? refusal(payload) : this.welcome(claim, payload)
    if (step.kind === 'failure') return this.failed(attempt, step)
    history.succeeded(attempt)
    return step
  }

  private failed(attempt: Attempt, failure: LoginFailure): LoginFailure {
    this.parts.history.failed(attempt)
    return failure
  }

  private verify(
    claim: Claim,
    attempt: Attempt,
    { token, getKey }: { token: string; getKey: JWTVerifyGetKey },
  ): Promise<JWTPayload | Error | undefined> {
    const { queue, history, nowMs } = this.parts
    const { algorithms, issuer, audience } = this.source
    const turn = {
      network: attempt.network,
      bytes: claim.packetBytes,
      standing: () => history.standing(attempt),
      isWanted: () => !claim.caller.isGone,
    }
    return queue.run<JWTPayload | Error>(turn, async () => {
      try {
        const { payload } = await jwtVerify(token, getKey, {
          algorithms,
          clockTolerance: CLOCK_TOLERANCE_SECONDS,
          currentDate: new Date(nowMs()),
          ...(issuer === undefined ? {} : { issuer }),
          ...(audience === undefined ? {} : { audience }),
        })
        return payload
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error))
      }
    })
  }

  /** What the claims of a verified token say about this client. */
  private welcome(claim: Claim, payload: JWTPayload): LoginStep {
    const { usernameClaim, clientIdClaim, rulesClaim, disconnectAfterExpiry } = this.source
    const name = usernameSchema.safeParse(payload[usernameClaim])
    if (!name.success || (claim.username !== undefined && claim.username !== name.data)) return REFUSED.tokenUser
    const clientId = payload[clientIdClaim]
    if (clientId !== undefined && clientId !== claim.clientId) return REFUSED.tokenClientId
    const rules = grantedRules.optional().safeParse(payload[rulesClaim])
    if (!rules.success) return REFUSED.tokenRules
    const expiresAtMs = disconnectAfterExpiry && payload.exp !== undefined ? payload.exp * 1000 : undefined
    return { kind: 'success', username: name.data, data: undefined, grant: { rules: rules.data, expiresAtMs } }
  }
}

const unavailable: LoginFailure = {
  kind: 'failure',
  reasonCode: ReasonCode.serverUnavailable,
  reason: 'the keys of the tokens cannot be had',
}

/** The code is that of a wrong password, whatever is wrong with the token. */
function refusal(error: Error): LoginFailure {
  const code = error instanceof joseErrors.JOSEError ? error.code : 'ERR_JWT_INVALID'
  return { kind: 'failure', reasonCode: ReasonCode.badUserNameOrPassword, reason: `the token is not good: ${code}` }
}

function keysOf(
  { jwksUrl, jwks, secret }: LoginSourceOf<'jwt'>,
  { caller, now }: JwtParts,
): (kid: string | undefined) => Promise<JWTVerifyGetKey> {
  if (jwksUrl !== undefined) {
    const keys = new KeySet({ url: jwksUrl, caller, now })
    return kid => keys.keysFor(kid)
  }
  const shared = secret === undefined ? undefined : new TextEncoder().encode(secret)
  // The library says what is wrong with a key when it is to be used; the model takes any object for one.
  const local = shared === undefined ? createLocalJWKSet(jwks as JSONWebKeySet) : async () => shared
  return () => Promise.resolve(local as JWTVerifyGetKey)
}
