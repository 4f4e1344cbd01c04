import type { InstanceName } from '@midge/protocol-core'
import { hashPassword } from './password-hash.ts'
import { deriveScramKeys, type ScramKeys } from './scram-keys.ts'

/** What is kept of a user: proofs of the password, never the password. */
export interface UserRecord {
  readonly username: string
  /** argon2id in PHC form. */
  readonly passwordHash: string
  /** Absent when only a hash was imported; such a user cannot use SCRAM. */
  readonly scram: ScramKeys | undefined
}

/** The users of all instances. A changed password is a new record. */
export interface UserDirectory {
  find(instance: InstanceName, username: string): UserRecord | undefined
}

/** Users in this process's memory. */
export class MemoryUserDirectory implements UserDirectory {
  private readonly users: Map<InstanceName, Map<string, UserRecord>> = new Map()

  find(instance: InstanceName, username: string): UserRecord | undefined {
    return this.users.get(instance)?.get(username)
  }

  /** Creates the user or replaces its password; takes effect when the promise resolves. */
  async createUser(instance: InstanceName, username: string, password: string): Promise<void> {
    const [passwordHash, scram] = await Promise.all([hashPassword(password), deriveScramKeys(password)])
    this.putUser(instance, { username, passwordHash, scram })
  }

  /** Takes a record that was made elsewhere. */
  putUser(instance: InstanceName, record: UserRecord): void {
    let users = this.users.get(instance)
    if (users === undefined) {
      users = new Map()
      this.users.set(instance, users)
    }
    users.set(record.username, record)
  }

  removeUser(instance: InstanceName, username: string): void {
    this.users.get(instance)?.delete(username)
  }
}
