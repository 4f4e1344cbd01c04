import { z } from 'zod'
import { recordId, timeMs } from './words.ts'

/** Who may not come in, and until when. */
export const ban = z.strictObject({
  id: recordId,
  /** `address` also takes a range in CIDR form. */
  kind: z.enum(['address', 'username', 'clientId']),
  value: z.string().min(1).max(1024),
  reason: z.string().max(256).default(''),
  createdAtMs: timeMs,
  /** Absent means until it is lifted. */
  untilMs: timeMs.optional(),
})

/** See {@link ban}. */
export type Ban = z.infer<typeof ban>
