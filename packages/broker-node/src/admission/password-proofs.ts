import { createHmac, randomBytes } from 'node:crypto'
import type { InstanceName } from '@midge/protocol-core'
import type { PasswordProof } from '../tenancy/model/user.ts'
import { hashPassword } from './password-hash.ts'
import { deriveScramKeys, SCRAM_SALT_BYTES } from './scram-keys.ts'

/** Makes of a password what is kept of it. */
export class PasswordProofs {
  private saltKey: Uint8Array = randomBytes(32)

  /** Before the first password: the random key that all nodes share. */
  useSaltKey(saltKey: Uint8Array): void {
    this.saltKey = saltKey
  }

  /** See `UserDirectory.scramSaltOf`. */
  scramSaltOf(instance: InstanceName, username: string): Uint8Array {
    // The length goes first: without it "ab" + "c" and "a" + "bc" would be the same bytes.
    const name = `${instance.length}:${instance}${username}`
    return createHmac('sha256', this.saltKey).update(name).digest().subarray(0, SCRAM_SALT_BYTES)
  }

  async prove(instance: InstanceName, username: string, password: string): Promise<PasswordProof> {
    const salt = this.scramSaltOf(instance, username)
    const [hash, keys] = await Promise.all([hashPassword(password), deriveScramKeys(password, salt)])
    return {
      hash,
      scramSha256: {
        salt: base64(keys.salt),
        iterations: keys.iterationCount,
        storedKey: base64(keys.storedKey),
        serverKey: base64(keys.serverKey),
      },
    }
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
