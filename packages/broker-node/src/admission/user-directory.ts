import { createHmac, randomBytes } from 'node:crypto'
import {
  type AclRule,
  checkAclPattern,
  type Grant,
  type InstanceName,
  type InstanceRules,
  RuleBook,
  type RuleSource,
} from '@midge/protocol-core'
import { hashPassword } from './password-hash.ts'
import { deriveScramKeys, SCRAM_SALT_BYTES, type ScramKeys } from './scram-keys.ts'

/** What is kept of a user: proofs of the password, never the password, and its rights. */
export interface UserRecord {
  readonly username: string
  /** argon2id in PHC form. Absent for somebody that only other ways to log in vouch for. */
  readonly passwordHash: string | undefined
  /** Grows when the user is to log in again. */
  readonly epoch?: number
  /** Absent when only a hash was imported; such a user cannot use SCRAM. */
  readonly scram: ScramKeys | undefined
  /** Connections it may have at one time in the cluster; absent means as many as the plan has. */
  readonly connectionsMax?: number | undefined
  /** What the user may do; absent means everything. */
  readonly rules?: readonly AclRule[]
}

/** The users of all instances. A changed password or right is a new record. */
export interface UserDirectory {
  find(instance: InstanceName, username: string): UserRecord | undefined
  /** A user that may not come in, whoever vouches for it. */
  isDisabled(instance: InstanceName, username: string): boolean
  /**
   * The salt that SCRAM shows for a name, whether there is such a user or not: the same on every node and after every
   * restart, so that nothing about it tells one from the other. It is made from a random key, never from a password.
   */
  scramSaltOf(instance: InstanceName, username: string): Uint8Array
}

/** Users of one instance, whose rules are in their records. */
class InstanceUsers implements InstanceRules {
  version = 0
  readonly records: Map<string, UserRecord> = new Map()
  private readonly book = new RuleBook()

  knows(username: string): boolean {
    return this.records.has(username)
  }

  /** Who is not listed may do everything: a certificate or a hook has vouched for it. */
  grantOf(username: string | undefined): Grant {
    const record = username === undefined ? undefined : this.records.get(username)
    return record?.rules === undefined ? 'everything' : this.book.of(username)
  }

  put(username: string, record: UserRecord | undefined): void {
    const idOf = (n: number): string => `${n} ${username}`
    const before = this.records.get(username)?.rules ?? []
    for (const n of before.keys()) this.book.remove(idOf(n))
    for (const [n, rule] of (record?.rules ?? []).entries()) {
      this.book.put({ ...rule, id: idOf(n), type: 'topic', username })
    }
    if (record === undefined) this.records.delete(username)
    else this.records.set(username, record)
    this.version++
  }
}

/** Users in this process's memory. */
export class MemoryUserDirectory implements UserDirectory, RuleSource {
  private readonly instances: Map<InstanceName, InstanceUsers> = new Map()
  private saltKey: Uint8Array = randomBytes(32)

  /** Before the first user: the random key that all nodes share; until then, and on a node alone, one of its own. */
  useSaltKey(saltKey: Uint8Array): void {
    this.saltKey = saltKey
  }

  find(instance: InstanceName, username: string): UserRecord | undefined {
    return this.instances.get(instance)?.records.get(username)
  }

  isDisabled(): boolean {
    return false
  }

  scramSaltOf(instance: InstanceName, username: string): Uint8Array {
    // The length goes first: without it "ab" + "c" and "a" + "bc" would be the same bytes.
    const name = `${instance.length}:${instance}${username}`
    return createHmac('sha256', this.saltKey).update(name).digest().subarray(0, SCRAM_SALT_BYTES)
  }

  /** Creates the user or replaces its password; rights stay. Takes effect when the promise resolves. */
  async createUser(instance: InstanceName, username: string, password: string): Promise<void> {
    const salt = this.scramSaltOf(instance, username)
    const [passwordHash, scram] = await Promise.all([hashPassword(password), deriveScramKeys(password, salt)])
    this.putUser(instance, { ...this.find(instance, username), username, passwordHash, scram })
  }

  /** Takes a record that was made elsewhere. @throws RangeError for a rule whose pattern can never be a topic filter */
  putUser(instance: InstanceName, record: UserRecord): void {
    for (const { pattern } of record.rules ?? []) {
      if (checkAclPattern(pattern) !== 0) throw new RangeError(`not a pattern of topics: ${pattern}`)
    }
    this.of(instance).put(record.username, record)
  }

  removeUser(instance: InstanceName, username: string): void {
    this.of(instance).put(username, undefined)
  }

  of(instance: InstanceName): InstanceUsers {
    let users = this.instances.get(instance)
    if (users === undefined) {
      users = new InstanceUsers()
      this.instances.set(instance, users)
    }
    return users
  }
}
