import { z } from 'zod'
import { clientId, instanceId, recordId, username } from '../../tenancy/model/words.ts'

/** What may stand in each variable part of a path. */
export const pathNames: Readonly<Record<string, z.ZodType<string, string>>> = {
  instance: instanceId,
  username,
  clientId,
  rule: recordId,
  plan: recordId,
  key: recordId,
  ban: recordId,
  webhook: recordId,
  node: z.string().min(1).max(64),
}
