import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { ReasonCode } from '@midge/protocol-core'
import type { AuthenticationResult, Authenticator, Credentials } from '../ports.ts'
import { JobGate } from './job-gate.ts'
import { hashPassword, verifyPassword } from './password-hash.ts'
import type { UserDirectory } from './user-directory.ts'
import { VerifiedCache } from './verified-cache.ts'

/** Rules of password authentication; all but the first two have good defaults. */
export interface PasswordAuthenticatorOptions {
  users: UserDirectory
  /** Lets clients in that send no username; wrong credentials are refused all the same. */
  anonymousAllowed: boolean
  /** The Common Name of a verified client certificate is the username, and no password is asked. */
  certCnAsUsername?: boolean
  /** Passwords hashed at the same time; each takes 19 MiB and a thread of the pool. */
  hashJobsMax?: number
  /** Clients that may wait for a hash; one more is told that the server is busy. */
  hashWaitersMax?: number
  cacheEntriesMax?: number
  cacheLifetimeMs?: number
  /** Milliseconds of a clock that only goes forward. */
  now?: () => number
}

const HASH_WAITERS_MAX = 10_000
const CACHE_ENTRIES_MAX = 10_000
const CACHE_LIFETIME_MS = 300_000

const BAD_CREDENTIALS: AuthenticationResult = { ok: false, reasonCode: ReasonCode.badUserNameOrPassword }
const NOT_AUTHORIZED: AuthenticationResult = { ok: false, reasonCode: ReasonCode.notAuthorized }
/** Not about the password, and must not look like it: clients stop reconnecting after a refused password. */
const BUSY: AuthenticationResult = { ok: false, reasonCode: ReasonCode.serverBusy }

/**
 * Username and password against a {@link UserDirectory}.
 *
 * Answers at once for credentials that were verified lately, else after a hash on the thread pool. An unknown user costs
 * the same hash as a wrong password. Equal credentials that arrive together share one hash.
 */
export class PasswordAuthenticator implements Authenticator {
  private readonly options: PasswordAuthenticatorOptions
  private readonly gate: JobGate
  private readonly cache: VerifiedCache
  private readonly running: Map<string, Promise<AuthenticationResult>> = new Map()
  /** Matches no password; verified against for names that do not exist. */
  private readonly decoyHash: Promise<string>

  constructor(options: PasswordAuthenticatorOptions) {
    this.options = options
    const jobsMax = options.hashJobsMax ?? Math.min(4, Math.max(1, availableParallelism() - 1))
    this.gate = new JobGate(jobsMax, options.hashWaitersMax ?? HASH_WAITERS_MAX)
    this.cache = new VerifiedCache({
      entriesMax: options.cacheEntriesMax ?? CACHE_ENTRIES_MAX,
      lifetimeMs: options.cacheLifetimeMs ?? CACHE_LIFETIME_MS,
      now: options.now ?? (() => performance.now()),
    })
    this.decoyHash = hashPassword(randomBytes(32))
  }

  authenticate(credentials: Credentials): AuthenticationResult | Promise<AuthenticationResult> {
    const { instance, username, password, certCommonName } = credentials
    if (this.options.certCnAsUsername === true && certCommonName !== undefined) {
      return { ok: true, username: certCommonName }
    }
    if (username === undefined) {
      if (password !== undefined) return BAD_CREDENTIALS
      return this.options.anonymousAllowed ? { ok: true, username: undefined } : NOT_AUTHORIZED
    }
    if (password === undefined) return BAD_CREDENTIALS
    const digest = this.cache.digest(instance, username, password)
    const passwordHash = this.options.users.find(instance, username)?.passwordHash
    if (passwordHash !== undefined && this.cache.has(digest, passwordHash)) return { ok: true, username }
    return this.verifyOnce(digest, passwordHash, { username, password })
  }

  private verifyOnce(
    digest: string,
    passwordHash: string | undefined,
    claim: { username: string; password: Uint8Array },
  ): AuthenticationResult | Promise<AuthenticationResult> {
    const key = `${digest}${passwordHash ?? ''}`
    const running = this.running.get(key)
    if (running !== undefined) return running
    // The caller's packet buffer may be reused while the hash waits its turn.
    const password = Uint8Array.from(claim.password)
    const verdict = this.gate.run(async () => verifyPassword(passwordHash ?? (await this.decoyHash), password))
    if (verdict === undefined) return BUSY
    const result = verdict
      .then((isRight): AuthenticationResult => {
        if (!isRight || passwordHash === undefined) return BAD_CREDENTIALS
        this.cache.add(digest, passwordHash)
        return { ok: true, username: claim.username }
      })
      .finally(() => this.running.delete(key))
    this.running.set(key, result)
    return result
  }
}
