import type { InstanceName } from '@midge/protocol-core'
import type { ScramKeys } from './scram-keys.ts'

/** What is kept of a user: proofs of the password, never the password. */
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
}

/** The users of all instances. A changed password is a new record. */
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
