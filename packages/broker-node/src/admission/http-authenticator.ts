import { createHmac, randomBytes } from 'node:crypto'
import { ReasonCode } from '@midge/protocol-core'
import { z } from 'zod'
import type { HttpAnswer, HttpCaller } from '../outbound/http-caller.ts'
import type { Claim, Login, LoginFailure, LoginMethod, LoginStep } from '../ports.ts'
import type { LoginSourceOf } from '../tenancy/model/login-source.ts'
import { grantedRules } from '../tenancy/model/rule.ts'
import { username as usernameSchema } from '../tenancy/model/words.ts'
import type { HashQueue } from './hash-queue.ts'
import { attemptOf, type LoginHistory } from './login-history.ts'
import { REFUSED } from './refusals.ts'
import { SharedLogins, turnOf } from './shared-logins.ts'

/** What an HTTP login works with. */
export interface HttpParts {
  caller: Pick<HttpCaller, 'call'>
  /** Of this instance alone: how many requests run, and how many claims wait for one. */
  queue: HashQueue
  history: LoginHistory
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
}

const ANSWER_BYTES_MAX = 64 * 1024
const CACHE_ENTRIES_MAX = 1000
const MAX_AGE_SECONDS_MAX = 3600
const MAX_AGE = /(?:^|[,\s])max-age=(\d{1,9})/i
const NOT_KEPT = /no-store|no-cache/i

const answerBody = z.looseObject({
  allow: z.boolean(),
  username: usernameSchema.optional(),
  rules: grantedRules.optional(),
  unrestricted: z.boolean().optional(),
})

/**
 * Asks an HTTP server about every claim that reaches it: 200 with a JSON body allows or not, 401 and 403 deny, and
 * anything else is no answer. Answers are remembered for as long as the server says; equal claims share a request.
 */
export class HttpAuthenticator implements LoginMethod {
  private readonly source: LoginSourceOf<'http'>
  private readonly parts: HttpParts
  private readonly key = randomBytes(32)
  /** By a digest of the whole claim, under a key of this process: no password is kept. */
  private readonly remembered: Map<string, { step: LoginStep; untilMs: number }> = new Map()
  private readonly shared = new SharedLogins()

  constructor(source: LoginSourceOf<'http'>, parts: HttpParts) {
    this.source = source
    this.parts = parts
  }

  begin(claim: Claim): Login | undefined {
    return claim.method === undefined ? { step: () => this.decide(claim) } : undefined
  }

  private decide(claim: Claim): LoginStep | Promise<LoginStep> {
    const body = bodyOf(claim)
    const digest = createHmac('sha256', this.key).update(body).digest('base64')
    const known = this.recall(digest)
    if (known !== undefined) return known
    return this.shared.answer(digest, claim, claims => this.ask(claims, digest, body))
  }

  private async ask(claims: readonly Claim[], digest: string, body: string): Promise<LoginStep> {
    const { queue, history, caller, now } = this.parts
    const [claim] = claims
    if (claim === undefined) return REFUSED.busy
    const attempt = attemptOf(claim, claim.username ?? claim.clientId)
    if (history.waitMs(attempt) > 0) return REFUSED.backOff
    const { url, authorization, timeoutMs } = this.source
    const headers = { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) }
    const answer = await queue.run<HttpAnswer | Error>(turnOf(claims, attempt, history), async () => {
      try {
        return await caller.call({ url, method: 'POST', headers, body, timeoutMs, answerBytesMax: ANSWER_BYTES_MAX })
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error))
      }
    })
    if (answer === undefined) return history.waitMs(attempt) > 0 ? REFUSED.backOff : REFUSED.busy
    if (answer instanceof Error) return unavailable(answer.message)
    const step = stepOf(claim, answer)
    if (step.kind === 'success') history.succeeded(attempt)
    else if (step === REFUSED.serverDenies) history.failed(attempt)
    else return step
    this.remember(digest, step, now() + maxAgeMs(answer))
    return step
  }

  private recall(digest: string): LoginStep | undefined {
    const entry = this.remembered.get(digest)
    if (entry === undefined) return undefined
    if (entry.untilMs > this.parts.now()) return entry.step
    this.remembered.delete(digest)
    return undefined
  }

  private remember(digest: string, step: LoginStep, untilMs: number): void {
    if (untilMs <= this.parts.now()) return
    this.remembered.delete(digest)
    if (this.remembered.size >= CACHE_ENTRIES_MAX) {
      const oldest = this.remembered.keys().next()
      if (oldest.done !== true) this.remembered.delete(oldest.value)
    }
    this.remembered.set(digest, { step, untilMs })
  }
}

/** Everything that an answer may depend on. A password that is no text goes in Base64. */
function bodyOf({ instance, username, password, clientId, info }: Claim): string {
  const bytes = password === undefined ? undefined : Buffer.from(password)
  const text = bytes?.toString('utf8')
  const isText = bytes === undefined || Buffer.from(text ?? '').equals(bytes)
  return JSON.stringify({
    instance,
    username,
    password: isText ? text : undefined,
    passwordBase64: isText ? undefined : bytes.toString('base64'),
    clientId,
    address: info.remoteAddress,
    transport: info.transport,
    certificateName: info.certCommonName,
  })
}

function stepOf(claim: Claim, { status, body }: HttpAnswer): LoginStep {
  if (status === 401 || status === 403) return REFUSED.serverDenies
  if (status !== 200) return unavailable(`it answered ${status}`)
  const answer = answerBody.safeParse(parsed(body))
  if (!answer.success) return unavailable('its answer cannot be read')
  const { allow, username = claim.username, rules, unrestricted } = answer.data
  if (!allow) return REFUSED.serverDenies
  return { kind: 'success', username, data: undefined, grant: { rules, isUnrestricted: unrestricted } }
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}

/** Not about the password, and not told as if it were: clients stop reconnecting after a refused password. */
function unavailable(text: string): LoginFailure {
  return { kind: 'failure', reasonCode: ReasonCode.serverUnavailable, reason: `the login server cannot say: ${text}` }
}

function maxAgeMs({ headers }: HttpAnswer): number {
  const control = headers['cache-control'] ?? ''
  const seconds = NOT_KEPT.test(control) ? 0 : Number(MAX_AGE.exec(control)?.[1] ?? 0)
  return Math.min(seconds, MAX_AGE_SECONDS_MAX) * 1000
}
