import type { InstanceName } from '@midge/protocol-core'
import type { User } from '../tenancy/model/user.ts'
import type { PasswordProofs } from './password-proofs.ts'
import type { ScramKeys } from './scram-keys.ts'
import type { UserDirectory, UserRecord } from './user-directory.ts'

/** Where the users of instances are kept; `ControlTables` has them. */
export interface UserTables {
  of(instance: InstanceName): { users: { get(username: string): User | undefined } }
}

/** The users of the control plane as the login methods see them. */
export class TenantDirectory implements UserDirectory {
  private readonly tables: UserTables
  private readonly proofs: PasswordProofs

  constructor(tables: UserTables, proofs: PasswordProofs) {
    this.tables = tables
    this.proofs = proofs
  }

  /** A disabled user is like one that is not there. */
  find(instance: InstanceName, username: string): UserRecord | undefined {
    const user = this.tables.of(instance).users.get(username)
    return user?.isEnabled === true ? new TenantUser(user) : undefined
  }

  isDisabled(instance: InstanceName, username: string): boolean {
    return this.tables.of(instance).users.get(username)?.isEnabled === false
  }

  scramSaltOf(instance: InstanceName, username: string): Uint8Array {
    return this.proofs.scramSaltOf(instance, username)
  }
}

class TenantUser implements UserRecord {
  private readonly user: User

  constructor(user: User) {
    this.user = user
  }

  get username(): string {
    return this.user.username
  }

  get epoch(): number {
    return this.user.epoch
  }

  get connectionsMax(): number | undefined {
    return this.user.connectionsMax ?? undefined
  }

  get passwordHash(): string | undefined {
    return this.user.proof?.hash
  }

  get scram(): ScramKeys | undefined {
    const keys = this.user.proof?.scramSha256
    if (keys === undefined) return undefined
    return {
      salt: Buffer.from(keys.salt, 'base64'),
      iterationCount: keys.iterations,
      storedKey: Buffer.from(keys.storedKey, 'base64'),
      serverKey: Buffer.from(keys.serverKey, 'base64'),
    }
  }
}
