import type { InstanceName } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { Claim, Login, LoginMethod } from '../ports.ts'
import type { LoginSource } from '../tenancy/model/login-source.ts'
import { AnonymousLogin } from './anonymous-login.ts'
import { CertificateAuthenticator } from './certificate-authenticator.ts'
import { HashQueue } from './hash-queue.ts'
import { HttpAuthenticator } from './http-authenticator.ts'
import { isToken, JwtAuthenticator, type JwtParts } from './jwt-authenticator.ts'
import type { UserDirectory } from './user-directory.ts'

/** What the ways in of all instances are made of. */
export interface LoginSourceParts extends JwtParts {
  /** The same array for as long as nothing has changed; `undefined` for an instance that is not there. */
  loginsOf(instance: InstanceName): readonly LoginSource[] | undefined
  users: UserDirectory
  /** Exchanges over the users that are kept here. */
  exchanges: readonly LoginMethod[]
  /** Their passwords. */
  passwords: LoginMethod
  counters: Counters
}

/** Instances whose ways in are kept; the others are put together again when somebody comes. */
const INSTANCES_MAX = 5000
/** Requests of one instance to its login server at one time, and claims that wait for one. */
const HTTP_RUNNING_MAX = 32
const HTTP_WAITING_MAX = 1000
const HTTP_WAIT_MS_MAX = 5000

const NOBODY: readonly LoginMethod[] = []

interface Built {
  logins: readonly LoginSource[]
  methods: readonly LoginMethod[]
}

/** The ways into each instance as its settings say, made when they are first needed after a change. */
export class LoginSources {
  private readonly parts: LoginSourceParts
  private readonly built: Map<InstanceName, Built> = new Map()
  private readonly certificate = new CertificateAuthenticator()
  private readonly anonymous = new AnonymousLogin()

  constructor(parts: LoginSourceParts) {
    this.parts = parts
  }

  methodsOf(instance: InstanceName): readonly LoginMethod[] {
    const logins = this.parts.loginsOf(instance)
    if (logins === undefined) return NOBODY
    const known = this.built.get(instance)
    if (known?.logins === logins) return known.methods
    const methods = logins.flatMap((source, at) => this.methodsFor(source, logins.slice(at + 1)))
    this.built.delete(instance)
    if (this.built.size >= INSTANCES_MAX) {
      const oldest = this.built.keys().next()
      if (oldest.done !== true) this.built.delete(oldest.value)
    }
    this.built.set(instance, { logins, methods })
    return methods
  }

  private methodsFor(source: LoginSource, later: readonly LoginSource[]): readonly LoginMethod[] {
    switch (source.kind) {
      case 'users':
        return [...this.parts.exchanges, this.passwordsBefore(later)]
      case 'certificate':
        return [this.certificate]
      case 'anonymous':
        return [this.anonymous]
      case 'jwt':
        return [new JwtAuthenticator(source, this.parts)]
      case 'http':
        return [new HttpAuthenticator(source, { ...this.parts, queue: this.httpQueue() })]
    }
  }

  private passwordsBefore(later: readonly LoginSource[]): LoginMethod {
    const takesTokens = later.some(({ kind }) => kind === 'jwt')
    const takesAll = later.some(({ kind }) => kind === 'http')
    if (!takesTokens && !takesAll) return this.parts.passwords
    const { users, passwords } = this.parts
    return {
      begin(claim: Claim): Login | undefined {
        const { instance, username, password } = claim
        const isKnown = username !== undefined && users.find(instance, username) !== undefined
        if (!isKnown && (takesAll || (takesTokens && isToken(password)))) return undefined
        return passwords.begin(claim)
      },
    }
  }

  private httpQueue(): HashQueue {
    const { counters, now } = this.parts
    return new HashQueue({
      runningMax: HTTP_RUNNING_MAX,
      waitingMax: HTTP_WAITING_MAX,
      waitMsMax: HTTP_WAIT_MS_MAX,
      counters,
      now,
    })
  }
}
