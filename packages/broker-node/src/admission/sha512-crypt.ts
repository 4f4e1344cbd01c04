import { hash } from 'node:crypto'

const DIGEST_BYTES = 64
const ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/**
 * SHA-crypt with SHA-512, the `$6$` of `crypt(3)`, of `openssl passwd -6` and of passlib's `sha512_crypt`. Blocks its
 * thread: some 1.3 µs a round.
 *
 * Spec: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512"; the steps are numbered as there.
 *
 * @param salt - at most 16 bytes count
 * @returns the 86 characters behind the last `$`
 */
export function sha512Crypt(password: Uint8Array, salt: Uint8Array, rounds: number): string {
  const key = Buffer.from(password)
  const seasoning = Buffer.from(salt.subarray(0, 16))
  let digest = sha512(firstInput(key, seasoning))
  // Steps 13 to 20: what stands for password and salt in the rounds.
  const p = stretched(sha512(Buffer.concat(new Array<Buffer>(key.length).fill(key))), key.length)
  const saltCount = 16 + (digest[0] ?? 0)
  const s = stretched(sha512(Buffer.concat(new Array<Buffer>(saltCount).fill(seasoning))), seasoning.length)
  const input = Buffer.alloc(DIGEST_BYTES + 2 * p.length + s.length)
  for (let round = 0; round < rounds; round++) {
    const isOdd = round % 2 === 1
    let at = (isOdd ? p : digest).copy(input)
    if (round % 3 !== 0) at += s.copy(input, at)
    if (round % 7 !== 0) at += p.copy(input, at)
    at += (isOdd ? digest : p).copy(input, at)
    digest = sha512(input.subarray(0, at))
  }
  return encode(digest)
}

/** Steps 1 to 12. */
function firstInput(key: Buffer, salt: Buffer): Buffer {
  const b = sha512(Buffer.concat([key, salt, key]))
  const parts = [key, salt, stretched(b, key.length)]
  for (let bits = key.length; bits > 0; bits >>>= 1) parts.push(bits % 2 === 1 ? b : key)
  return Buffer.concat(parts)
}

function sha512(input: Buffer): Buffer {
  return hash('sha512', input, 'buffer')
}

/** The digest again and again, up to a length. */
function stretched(digest: Buffer, bytes: number): Buffer {
  return bytes === 0 ? Buffer.alloc(0) : Buffer.alloc(bytes, digest)
}

/** Step 22: three bytes, each a third of the digest apart, are four characters. */
function encode(digest: Buffer): string {
  let text = ''
  for (let n = 0; n < 21; n++) {
    const first = n % 3
    const at = (third: number): number => digest[n + 21 * ((first + third) % 3)] ?? 0
    text += characters((at(0) << 16) | (at(1) << 8) | at(2), 4)
  }
  return text + characters(digest[63] ?? 0, 2)
}

function characters(value: number, count: number): string {
  let text = ''
  for (let n = 0; n < count; n++) text += ALPHABET[(value >>> (6 * n)) & 63]
  return text
}
