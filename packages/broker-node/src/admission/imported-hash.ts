import { createHash, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { CryptThread } from './crypt-thread.ts'

const deriveKey = promisify(pbkdf2)
const cryptThread = new CryptThread()

/** Some 1.3 s of a thread; passlib's default is 656,000 rounds. */
const ROUNDS_MAX = 1_000_000
const ROUNDS_MIN = 1000
const ROUNDS_DEFAULT = 5000
/** Work and memory of SHA-crypt grow with the square of the password. */
const CRYPT_PASSWORD_BYTES_MAX = 256
const KEY_BYTES_MAX = 128
/** Beyond so much work a hash waits in a line of its own. */
const LIGHT_ITERATIONS_MAX = 20_000

/** `$6$[rounds=N$]salt$hash` of crypt(3). */
const CRYPT = /^\$6\$(?:rounds=(\d{1,9})\$)?([^$:\n]{0,16})\$([./0-9A-Za-z]{86})$/
/** `$6$salt$hash` of `mosquitto_passwd -H sha512`: the same sign for one SHA-512 of password and salt, in Base64. */
const MOSQUITTO_SHA = /^\$6\$([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]{86}==)$/
/** `$7$iterations$salt$hash` of `mosquitto_passwd`: PBKDF2 with SHA-512. */
const MOSQUITTO_PBKDF2 = /^\$7\$(\d{1,9})\$([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2})$/
/** `$pbkdf2-<digest>$i=<iterations>$salt$hash`, in Base64 with padding: PBKDF2 that has no sign of its own. */
const OTHER_PBKDF2 = /^\$pbkdf2-(sha1|sha256|sha512)\$i=(\d{1,9})\$([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2})$/

/** A hash of another broker: how much work it is, and whether a password fits. */
export interface ImportedHash {
  isHeavy: boolean
  matches(password: Uint8Array): Promise<boolean>
}

/** @returns `undefined` for what is no known form, or asks for more work than anybody is given here */
export function parseImportedHash(text: string): ImportedHash | undefined {
  return parseCrypt(text) ?? parseMosquittoSha(text) ?? parsePbkdf2(text)
}

/** The form in which the credentials of Mosca (`pbkdf2-password` with its defaults) are kept here. */
export function hashOfMosca({ salt, hash }: { salt: string; hash: string }): string {
  return `$pbkdf2-sha1$i=10000$${salt}$${hash}`
}

function parseCrypt(text: string): ImportedHash | undefined {
  const [, roundsText, salt = '', hash = ''] = CRYPT.exec(text) ?? []
  if (hash === '') return undefined
  // What is below the least is raised to it, as crypt(3) does.
  const rounds = Math.max(ROUNDS_MIN, roundsText === undefined ? ROUNDS_DEFAULT : Number(roundsText))
  if (rounds > ROUNDS_MAX) return undefined
  return {
    isHeavy: true,
    matches: async password => {
      if (password.length > CRYPT_PASSWORD_BYTES_MAX) return false
      return isEqual(Buffer.from(await cryptThread.derive(password, Buffer.from(salt), rounds)), Buffer.from(hash))
    },
  }
}

function parseMosquittoSha(text: string): ImportedHash | undefined {
  const [, salt, hash] = MOSQUITTO_SHA.exec(text) ?? []
  if (salt === undefined || hash === undefined) return undefined
  const digestOf = (password: Uint8Array): Buffer =>
    createHash('sha512').update(password).update(Buffer.from(salt, 'base64')).digest()
  return { isHeavy: false, matches: async password => isEqual(digestOf(password), Buffer.from(hash, 'base64')) }
}

function parsePbkdf2(text: string): ImportedHash | undefined {
  const [, seven, sevenSalt, sevenHash] = MOSQUITTO_PBKDF2.exec(text) ?? []
  const [, digest = 'sha512', other = seven, salt = sevenSalt, hash = sevenHash] = OTHER_PBKDF2.exec(text) ?? []
  if (other === undefined || salt === undefined || hash === undefined) return undefined
  const [iterations, key] = [Number(other), Buffer.from(hash, 'base64')]
  if (iterations < 1 || iterations > ROUNDS_MAX || key.length > KEY_BYTES_MAX) return undefined
  return {
    isHeavy: iterations > LIGHT_ITERATIONS_MAX,
    matches: async password =>
      isEqual(await deriveKey(password, Buffer.from(salt, 'base64'), iterations, key.length, digest), key),
  }
}

function isEqual(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}
