import { createHash, createHmac, pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'

/** What a server keeps of a password for SCRAM-SHA-256. RFC 5802 section 3, RFC 7677. */
export interface ScramKeys {
  readonly salt: Uint8Array
  readonly iterationCount: number
  readonly storedKey: Uint8Array
  readonly serverKey: Uint8Array
}

/** RFC 7677 asks for 4,096 at least. Each doubling also doubles the work of a small device at every connect. */
export const SCRAM_ITERATIONS_MIN = 4096
export const SCRAM_ITERATIONS_DEFAULT = 10_000
export const SCRAM_SALT_BYTES = 16
const KEY_BYTES = 32

const deriveKey = promisify(pbkdf2)

/** Derives the keys on the thread pool. */
export async function deriveScramKeys(
  password: string,
  salt: Uint8Array,
  iterationCount: number = SCRAM_ITERATIONS_DEFAULT,
): Promise<ScramKeys> {
  if (iterationCount < SCRAM_ITERATIONS_MIN) throw new RangeError(`SCRAM needs ${SCRAM_ITERATIONS_MIN} iterations`)
  const saltedPassword = await deriveKey(preparePassword(password), salt, iterationCount, KEY_BYTES, 'sha256')
  const clientKey = createHmac('sha256', saltedPassword).update('Client Key').digest()
  return {
    salt,
    iterationCount,
    storedKey: createHash('sha256').update(clientKey).digest(),
    serverKey: createHmac('sha256', saltedPassword).update('Server Key').digest(),
  }
}

/** Spaces other than U+0020 (RFC 4013 section 2.1, table C.1.2 of RFC 3454). */
const OTHER_SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu
/** Characters "commonly mapped to nothing" (table B.1). */
const MAPPED_TO_NOTHING = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu

/** The mapping and normalisation steps of SASLprep, so that one password typed on two systems is one password. */
export function preparePassword(password: string): string {
  return password.replace(OTHER_SPACES, ' ').replace(MAPPED_TO_NOTHING, '').normalize('NFKC')
}
