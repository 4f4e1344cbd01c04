import { z } from 'zod'
import { timeMs, username } from './words.ts'

const bytesText = z.base64().max(1024)

/** What proves a password by SCRAM without being it. RFC 5802. */
export const scramProof = z.strictObject({
  salt: bytesText,
  iterations: z.number().int().min(4096),
  storedKey: bytesText,
  serverKey: bytesText,
})

/** What is kept of a password. */
export const passwordProof = z.strictObject({
  /** argon2id in PHC form, or an imported `$6$` (sha512-crypt) or `$7$` (Mosquitto's PBKDF2). */
  hash: z.string().max(1024),
  /** Absent where only a hash was imported. */
  scramSha256: scramProof.optional(),
  scramSha512: scramProof.optional(),
})

/** A user of one instance. */
export const user = z.strictObject({
  username,
  /** Absent for a user that only other logins vouch for. */
  proof: passwordProof.optional(),
  /** Rules do not apply: everything is allowed. */
  isUnrestricted: z.boolean().default(false),
  /** A user that is not may not log in, and its connections are closed. */
  isEnabled: z.boolean().default(true),
  /** Connections this user may have at one time in the cluster; `null` for as many as the plan has. */
  connectionsMax: z.number().int().min(1).nullable().default(null),
  note: z.string().max(256).optional(),
  createdAtMs: timeMs,
  /** Begins at the time of creation; grows when the password changes or the user is disabled: connections of before are closed. */
  epoch: z.number().int().min(0).default(0),
})

/** See {@link user}. */
export type User = z.infer<typeof user>
/** See {@link passwordProof}. */
export type PasswordProof = z.infer<typeof passwordProof>
