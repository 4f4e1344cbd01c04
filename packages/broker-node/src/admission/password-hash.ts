import { hash, verify } from '@node-rs/argon2'

/** OWASP's second choice for argon2id (19 MiB, two passes), which is also the library's default algorithm. */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** Hashes a password with a fresh salt, on the thread pool. */
export function hashPassword(password: string | Uint8Array): Promise<string> {
  return hash(password, COST)
}

/** Compares on the thread pool. A hash that cannot be read matches nothing. */
export async function verifyPassword(passwordHash: string, password: Uint8Array): Promise<boolean> {
  try {
    return await verify(passwordHash, password)
  } catch {
    return false
  }
}
