import { z } from 'zod'

/** What every error looks like. RFC 9457. */
export const problem = z.object({
  type: z.string().describe('`urn:midge:error:` and the code.'),
  title: z.string(),
  status: z.int(),
  code: z.string().describe('Stable; match on this and never on a text.'),
  detail: z.string().describe('What is wrong with this request, in plain words.'),
  errors: z
    .array(z.object({ field: z.string(), message: z.string() }))
    .optional()
    .describe('Wrong fields, at most 16.'),
})

/** See {@link problem}. */
export type ProblemDocument = z.output<typeof problem>
