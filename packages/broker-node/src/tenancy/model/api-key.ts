import { z } from 'zod'
import { instanceId, recordId, timeMs, title } from './words.ts'

/** What a key opens: `operator` everything; the others one instance, to look at, or to use and change. */
export const apiScope = z.enum(['operator', 'instance:read', 'instance:write'])

/** A key of the HTTP API. The key itself is shown once; its SHA-256 is kept. */
export const apiKey = z
  .strictObject({
    id: recordId,
    label: title,
    scope: apiScope,
    /** With the scopes of one instance, and only then. */
    instance: instanceId.optional(),
    /** In hexadecimal. Keys are long and random, so a fast hash will do. */
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    createdAtMs: timeMs,
    expiresAtMs: timeMs.optional(),
  })
  .refine(({ scope, instance }) => (scope === 'operator') === (instance === undefined), {
    path: ['instance'],
    message: 'is given with a scope of one instance, and only then',
  })

/** See {@link apiScope}. */
export type ApiScope = z.infer<typeof apiScope>
/** See {@link apiKey}. */
export type ApiKey = z.infer<typeof apiKey>
