import {
  type AclRule,
  checkAclPattern,
  type Grant,
  type InstanceName,
  type InstanceRules,
  RuleBook,
  type RuleSource,
} from '@midge/protocol-core'
import { hashPassword } from '../password-hash.ts'
import { PasswordProofs } from '../password-proofs.ts'
import { deriveScramKeys } from '../scram-keys.ts'
import type { UserDirectory, UserRecord } from '../user-directory.ts'

/** A user together with its rights. */
export interface RuledUser extends UserRecord {
  /** What the user may do; absent means everything. */
  readonly rules?: readonly AclRule[]
}

/** Users of one instance, whose rules are in their records. */
class InstanceUsers implements InstanceRules {
  version = 0
  readonly records: Map<string, RuledUser> = new Map()
  private readonly book = new RuleBook()

  knows(username: string): boolean {
    return this.records.has(username)
  }

  /** Who is not listed may do everything: a certificate or a hook has vouched for it. */
  grantOf(username: string | undefined): Grant {
    const record = username === undefined ? undefined : this.records.get(username)
    return record?.rules === undefined ? 'everything' : this.book.of(username)
  }

  put(username: string, record: RuledUser | undefined): void {
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

/** Users that a test makes, with their rules. A changed password or right is a new record. */
export class MemoryUserDirectory implements UserDirectory, RuleSource {
  private readonly instances: Map<InstanceName, InstanceUsers> = new Map()
  private readonly proofs = new PasswordProofs()

  /** Before the first user: the random key that all nodes share; until then, and on a node alone, one of its own. */
  useSaltKey(saltKey: Uint8Array): void {
    this.proofs.useSaltKey(saltKey)
  }

  find(instance: InstanceName, username: string): RuledUser | undefined {
    return this.instances.get(instance)?.records.get(username)
  }

  isDisabled(): boolean {
    return false
  }

  scramSaltOf(instance: InstanceName, username: string): Uint8Array {
    return this.proofs.scramSaltOf(instance, username)
  }

  /** Creates the user or replaces its password; rights stay. Takes effect when the promise resolves. */
  async createUser(instance: InstanceName, username: string, password: string): Promise<void> {
    const salt = this.scramSaltOf(instance, username)
    const [passwordHash, scram] = await Promise.all([hashPassword(password), deriveScramKeys(password, salt)])
    this.putUser(instance, { ...this.find(instance, username), username, passwordHash, scram })
  }

  /** Takes a record that was made elsewhere. @throws RangeError for a rule whose pattern can never be a topic filter */
  putUser(instance: InstanceName, record: RuledUser): void {
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
