import { z } from 'zod'
import { recordId, timeMs, topicPattern, username } from './words.ts'

const permission = {
  pattern: topicPattern,
  /** SUBSCRIBE, and messages on their way to the client. */
  read: z.boolean(),
  /** PUBLISH and wills. */
  write: z.boolean(),
  effect: z.enum(['allow', 'deny']).default('allow'),
  priority: z.number().int().min(-1_000_000).max(1_000_000).default(0),
  /** Only for PUBLISH or SUBSCRIBE of these QoS. */
  qos: z
    .array(z.literal([0, 1, 2]))
    .min(1)
    .max(3)
    .optional(),
  /** Only for PUBLISH with, or without, RETAIN. */
  retain: z.boolean().optional(),
}
const isEither = ({ read, write }: { read: boolean; write: boolean }): boolean => read || write
const EITHER = { path: ['read'], message: 'read or write, or both' }

/** Rules that a login brings along for its client; they are kept nowhere. */
export const grantedRules = z.array(z.strictObject(permission).refine(isEither, EITHER)).max(64)

/**
 * One permission. Rules are asked by `priority`, lowest first, at one priority those that deny first; the first that
 * fits the topic and everything else it names decides. What no rule fits is denied.
 */
export const rule = z
  .strictObject({
    id: recordId,
    /** `topic`: of one user. `pattern`: of all that have a name. `anonymous`: of those that send none. */
    type: z.enum(['topic', 'pattern', 'anonymous']),
    /** With `topic`, and only then. */
    username: username.optional(),
    ...permission,
    createdAtMs: timeMs,
  })
  .refine(({ type, username: name }) => (type === 'topic') === (name !== undefined), {
    path: ['username'],
    message: 'is given with the type "topic", and only then',
  })
  .refine(isEither, EITHER)

/** See {@link rule}. */
export type Rule = z.infer<typeof rule>
