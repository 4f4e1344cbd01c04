import { z } from 'zod'
import { timeMs } from './words.ts'

/** Who changes something, for the audit trail. */
export const actor = z.strictObject({
  kind: z.enum(['key', 'node']),
  /** Id of the API key, or of the node. */
  id: z.string(),
  address: z.string().optional(),
})

/** One line of the audit trail. */
export const auditEntry = z.strictObject({
  atMs: timeMs,
  actor,
  /** `user.created`, `rule.removed`, … */
  action: z.string(),
  instance: z.string().optional(),
  /** What it was done to; never a secret. */
  subject: z.string(),
})

/** See {@link actor}. */
export type Actor = z.infer<typeof actor>
/** See {@link auditEntry}. */
export type AuditEntry = z.infer<typeof auditEntry>
