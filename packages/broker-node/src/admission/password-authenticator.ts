import { randomBytes } from 'node:crypto'
import type { Claim, Login, LoginMethod, LoginStep } from '../ports.ts'
import { type HashQueue, isLarge } from './hash-queue.ts'
import { type Attempt, attemptOf, type LoginHistory } from './login-history.ts'
import { hashPassword, isHeavyHash, verifyPassword } from './password-hash.ts'
import { REFUSED } from './refusals.ts'
import { SharedLogins, turnOf } from './shared-logins.ts'
import type { UserDirectory } from './user-directory.ts'
import { VerifiedCache } from './verified-cache.ts'

/** What password authentication works with. */
export interface PasswordAuthenticatorOptions {
  users: UserDirectory
  queue: HashQueue
  /** For imported hashes that take much longer, so that those of one instance hold up nobody else's. */
  slowQueue: HashQueue
  history: LoginHistory
  cacheEntriesMax?: number
  cacheLifetimeMs?: number
  /** Milliseconds of a clock that only goes forward. */
  now?: () => number
}

/** A password to compare with the hash of a user, or with none when there is no such user. */
interface Comparison {
  digest: string
  passwordHash: string | undefined
  password: Uint8Array
}

const CACHE_ENTRIES_MAX = 10_000
const CACHE_LIFETIME_MS = 300_000

/**
 * Username and password against a {@link UserDirectory}; takes every claim that has both.
 *
 * Answers at once for credentials that were verified lately, else after a hash on the thread pool. An unknown user costs
 * the same hash as a wrong password. Equal credentials that arrive together share one hash.
 */
export class PasswordAuthenticator implements LoginMethod {
  private readonly options: PasswordAuthenticatorOptions
  private readonly cache: VerifiedCache
  private readonly shared = new SharedLogins()
  /** Matches no password; verified against for names that do not exist. */
  private readonly decoyHash: Promise<string>

  constructor(options: PasswordAuthenticatorOptions) {
    this.options = options
    this.cache = new VerifiedCache({
      entriesMax: options.cacheEntriesMax ?? CACHE_ENTRIES_MAX,
      lifetimeMs: options.cacheLifetimeMs ?? CACHE_LIFETIME_MS,
      now: options.now ?? (() => performance.now()),
    })
    this.decoyHash = hashPassword(randomBytes(32))
  }

  begin(claim: Claim): Login | undefined {
    const { method, username, password } = claim
    if (method !== undefined || username === undefined || password === undefined) return undefined
    return { step: () => this.decide(claim, username, password) }
  }

  private decide(claim: Claim, username: string, password: Uint8Array): LoginStep | Promise<LoginStep> {
    const { instance } = claim
    const digest = this.cache.digest(instance, username, password)
    const passwordHash = this.options.users.find(instance, username)?.passwordHash
    if (passwordHash !== undefined && this.cache.has(digest, passwordHash)) return success(username)
    const attempt = attemptOf(claim, username)
    if (this.options.history.waitMs(attempt) > 0) return REFUSED.backOff
    return this.compareOnce(claim, attempt, { digest, passwordHash, password })
  }

  private compareOnce(claim: Claim, attempt: Attempt, comparison: Comparison): Promise<LoginStep> {
    if (isLarge(claim.packetBytes)) return this.compare([claim], attempt, comparison)
    const key = `${comparison.digest}${comparison.passwordHash ?? ''}`
    return this.shared.answer(key, claim, claims => this.compare(claims, attempt, comparison))
  }

  private async compare(claims: readonly Claim[], attempt: Attempt, comparison: Comparison): Promise<LoginStep> {
    const { history } = this.options
    const { digest, passwordHash } = comparison
    const isHeavy = passwordHash !== undefined && isHeavyHash(passwordHash)
    const queue = isHeavy ? this.options.slowQueue : this.options.queue
    // The caller's packet buffer may be reused while the hash waits its turn.
    const password = Uint8Array.from(comparison.password)
    const isRight = await queue.run(turnOf(claims, attempt, history), async () =>
      verifyPassword(passwordHash ?? (await this.decoyHash), password),
    )
    if (isRight === undefined) return history.waitMs(attempt) > 0 ? REFUSED.backOff : REFUSED.busy
    if (!isRight || passwordHash === undefined) {
      history.failed(attempt)
      return passwordHash === undefined ? REFUSED.unknownUser : REFUSED.wrongPassword
    }
    history.succeeded(attempt)
    this.cache.add(digest, passwordHash)
    return success(attempt.username)
  }
}

function success(username: string | undefined): LoginStep {
  return { kind: 'success', username, data: undefined }
}
