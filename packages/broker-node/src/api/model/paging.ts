import { z } from 'zod'

/** Entries of one page. */
export const PAGE_ENTRIES_MAX = 1000

/** Query of every list. */
export const pageQuery = z.strictObject({
  cursor: z.string().min(1).max(4096).optional().describe('`cursor` of the page before.'),
  limit: z.coerce.number().int().min(1).max(PAGE_ENTRIES_MAX).default(100).describe('Longest page wanted.'),
})

/** One page of a list; without a `cursor` it is the last one. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), cursor: z.string().optional() })

/** See {@link pageQuery}. */
export type PageQuery = z.output<typeof pageQuery>
