import type { InstanceName } from '@midge/protocol-core'

/** What a record is about. `host`, `port` and `retired` are claims: their being there keeps others from taking the same. */
export const RECORD_KINDS = [
  'instance',
  'plan',
  'user',
  'rule',
  'key',
  'ban',
  'bridge',
  'webhook',
  'audit',
  'host',
  'port',
  'retired',
  'counter',
  'guard',
] as const

/** See {@link RECORD_KINDS}. */
export type RecordKind = (typeof RECORD_KINDS)[number]

/** The parts of a record's key. */
export interface RecordName {
  kind: RecordKind
  /** `''` for what belongs to the cluster. */
  instance: InstanceName | ''
  id: string
}

const KINDS: ReadonlySet<string> = new Set(RECORD_KINDS)

/** Key of a record. No part has a NUL, so no two names share a key. */
export function recordKey(kind: RecordKind, instance: InstanceName | '', id: string): string {
  return `${kind}\0${instance}\0${id}`
}

/** Reads what {@link recordKey} wrote; `undefined` for a kind of a newer version. */
export function parseRecordKey(key: string): RecordName | undefined {
  const first = key.indexOf('\0')
  const second = key.indexOf('\0', first + 1)
  const kind = key.slice(0, first)
  if (first < 0 || second < 0 || !isRecordKind(kind)) return undefined
  return { kind, instance: key.slice(first + 1, second), id: key.slice(second + 1) }
}

function isRecordKind(kind: string): kind is RecordKind {
  return KINDS.has(kind)
}
