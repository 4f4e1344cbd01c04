import type { Durability } from '../config/schema.ts'

/** What an acknowledgement to a publisher (PUBACK, PUBREC) promises at each setting, in plain words. */
export const DURABILITY_SENTENCES: Readonly<Record<Durability, string>> = {
  memory:
    'An acknowledged message is in the memory of the store: it survives the death of a client and, with Redis, of a broker node, but not a restart of the store.',
  everysec:
    'An acknowledged message is with the store, which writes to disk within about a second: it survives the death of any broker process; a power loss of the store machine may take the last second.',
  replicated:
    'An acknowledged message is with the store and at least one replica of it: it survives the loss of one store machine, also when a failover follows at once.',
  fsync:
    'An acknowledged message is flushed to the disk of the store: it survives a power loss; every acknowledgement waits for the disk.',
}

/** @returns the sentence for `/status`; a node without a data folder promises less than its setting says */
export function durabilitySentence(setting: Durability, inMemoryOnly: boolean): string {
  return DURABILITY_SENTENCES[inMemoryOnly ? 'memory' : setting]
}
