import { BrokerError } from '@midge/protocol-core'
import type { FactsSlice } from '../ports.ts'
import type { ViewPage, ViewRequest } from './cluster-views.ts'

/** Entries of one answer of a node: with the longest names they still fit what an answer may hold. */
const SLICE_MAX = 100

/** A list that lies in several places, one behind the other. */
export interface ListPart<T> {
  /** In the order of the parts. */
  name: string
  /** @returns `undefined` when nobody answers there, which is like the end of its part */
  slice(after: string | undefined, countMax: number): Promise<FactsSlice<T> | undefined>
}

/**
 * One page over all parts. The cursor says in which part it ended and behind what, so any node can go on.
 *
 * @throws BrokerError `MIDGE_INVALID` for a cursor that is none
 */
export async function pageOverParts<T>(
  parts: readonly ListPart<T>[],
  { cursor, countMax }: ViewRequest,
): Promise<ViewPage<T>> {
  const start = readCursor(cursor)
  const items: T[] = []
  for (const part of parts) {
    if (part.name < start.name) continue
    let after = part.name === start.name ? start.after : undefined
    do {
      const slice = await part.slice(after, Math.min(SLICE_MAX, countMax - items.length))
      items.push(...(slice?.items ?? []))
      after = slice?.next
      if (items.length >= countMax) return { items, cursor: cursorOf(part.name, after) }
    } while (after !== undefined)
  }
  return { items, cursor: undefined }
}

/** Behind the end of a part begins the next one. */
function cursorOf(name: string, after: string | undefined): string {
  return Buffer.from(JSON.stringify(after === undefined ? [`${name}\0`] : [name, after])).toString('base64url')
}

function readCursor(cursor: string | undefined): { name: string; after: string | undefined } {
  if (cursor === undefined) return { name: '', after: undefined }
  try {
    const [name, after]: unknown[] = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    if (typeof name === 'string' && (after === undefined || typeof after === 'string')) return { name, after }
  } catch {
    // As for any other text that is none.
  }
  throw new BrokerError('MIDGE_INVALID', 'cursor: is none of this list')
}
