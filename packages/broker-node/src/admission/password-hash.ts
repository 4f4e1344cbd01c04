import { hash, verify } from '@node-rs/argon2'
import { parseImportedHash } from './imported-hash.ts'

/** OWASP's second choice for argon2id (19 MiB, two passes), which is also the library's default algorithm. */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

/** A hash that was made elsewhere may ask for more than ours, up to this. */
const MEMORY_KIB_MAX = 262_144
const PASSES_MAX = 16
const LANES_MAX = 16
const ARGON2 = /^\$argon2(?:id|i|d)\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$/

/** Hashes a password with a fresh salt, on the thread pool. */
export function hashPassword(password: string | Uint8Array): Promise<string> {
  return hash(password, COST)
}

/**
 * Compares on another thread. Takes argon2 in PHC form, and what other brokers keep, see `imported-hash.ts`. A hash that
 * cannot be read, or that asks for more work than anybody is given here, matches nothing.
 */
export async function verifyPassword(passwordHash: string, password: Uint8Array): Promise<boolean> {
  try {
    if (!passwordHash.startsWith('$argon2')) return (await parseImportedHash(passwordHash)?.matches(password)) ?? false
    return isAffordable(passwordHash) && (await verify(passwordHash, password))
  } catch {
    return false
  }
}

/** True when it takes so much longer than our own that it has to wait in a line of its own. */
export function isHeavyHash(passwordHash: string): boolean {
  if (!passwordHash.startsWith('$argon2')) return parseImportedHash(passwordHash)?.isHeavy ?? false
  const [memoryKib, passes] = argon2CostOf(passwordHash)
  return memoryKib * passes > 2 * COST.memoryCost * COST.timeCost
}

function isAffordable(passwordHash: string): boolean {
  const [memoryKib, passes, lanes] = argon2CostOf(passwordHash)
  return memoryKib <= MEMORY_KIB_MAX && passes <= PASSES_MAX && lanes <= LANES_MAX
}

function argon2CostOf(passwordHash: string): [memoryKib: number, passes: number, lanes: number] {
  const [, memory = Infinity, passes = Infinity, lanes = Infinity] = ARGON2.exec(passwordHash) ?? []
  return [Number(memory), Number(passes), Number(lanes)]
}
