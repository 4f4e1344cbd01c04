import { checkAclPattern } from '@midge/protocol-core'
import { z } from 'zod'

/** Names an instance in keys, in `instance:user` and as a host label; never changes and is never used again. */
export const instanceId: z.ZodString = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/, '1 to 32 lower-case letters, digits or "-", "-" not at the ends')

/** Names whatever is not named by people. */
export const recordId: z.ZodString = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, '1 to 64 letters, digits, "_" or "-"')

// A NUL would end the field of a record's key, and the others cannot be typed or read in a log.
const PRINTABLE = /^[^\p{Cc}\p{Cs}]+$/u

/** Text that a person reads. */
export const title: z.ZodString = z.string().min(1).max(128).regex(PRINTABLE, 'has no control characters')

/** Username of MQTT. */
export const username: z.ZodString = z.string().min(1).max(256).regex(PRINTABLE, 'has no control characters')

/** Client Identifier of MQTT. */
export const clientId: z.ZodString = z.string().min(1).max(1024).regex(PRINTABLE, 'has no control characters')

/** Plain password, as it comes in; kept nowhere. */
export const password: z.ZodString = z.string().min(1).max(1024)

/** Topic Filter in which `%u` and `%c` stand for username and client id. */
export const topicPattern: z.ZodString = z
  .string()
  .min(1)
  .max(4096)
  .refine(text => checkAclPattern(text) === 0, 'is not a Topic Filter')

/** Host name, in lower case. */
export const hostName: z.ZodString = z
  .string()
  .max(253)
  .regex(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/, 'is a host name in lower case')

/** Unix time in milliseconds. */
export const timeMs: z.ZodNumber = z.number().int().min(0)
