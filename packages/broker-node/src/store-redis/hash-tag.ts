import { spreadTags } from '../redis/slot.ts'

/** Fixed for the life of a data set: another number would look for every session in the wrong place. */
export const PARTITION_COUNT = 64

/** The hash tag of each partition, without braces; evenly spread over the slots. */
export const PARTITION_TAGS: readonly string[] = spreadTags(PARTITION_COUNT)

/** FNV-1a over the UTF-16 code units of two names; part of the data format. */
export function partitionOf(first: string, second: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < first.length; i++) hash = Math.imul(hash ^ first.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ 0, 0x01000193)
  for (let i = 0; i < second.length; i++) hash = Math.imul(hash ^ second.charCodeAt(i), 0x01000193)
  // The low bits of FNV are its weak ones.
  return ((hash >>> 16) ^ hash) & (PARTITION_COUNT - 1)
}
