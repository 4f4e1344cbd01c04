import { z } from 'zod'
import { configSchema, type KeyMeta } from './schema.ts'

/** One leaf of the schema. */
export interface ConfigKey {
  /** Dotted name, for example `listeners.tcp.port`. */
  key: string
  /** Environment variable of this key. */
  env: string
  kind: 'string' | 'number' | 'boolean' | 'list' | 'objects'
  meta: KeyMeta
  /** Its JSON Schema: type, bounds, choices, default. */
  json: Record<string, unknown>
}

/** `listeners.tcp.port` → `MIDGE_LISTENERS_TCP_PORT`; a capital inside a name starts a new word. */
export function envName(key: string): string {
  const words = key.replaceAll('.', '_').replace(/[A-Z]/g, capital => `_${capital}`)
  return `MIDGE_${words.toUpperCase()}`
}

function kindOf(json: Record<string, unknown>): ConfigKey['kind'] {
  switch (json['type']) {
    case 'integer':
    case 'number':
      return 'number'
    case 'boolean':
      return 'boolean'
    case 'array':
      return Object(json['items']).type === 'object' ? 'objects' : 'list'
    default:
      return 'string'
  }
}

function collect(schema: z.ZodObject, prefix: string, into: ConfigKey[]): void {
  for (const [name, value] of Object.entries(schema.shape)) {
    const key = prefix === '' ? name : `${prefix}.${name}`
    if (value instanceof z.ZodObject) {
      collect(value, key, into)
      continue
    }
    const leaf = value as z.ZodType
    const json = z.toJSONSchema(leaf, { io: 'input' }) as Record<string, unknown>
    into.push({ key, env: envName(key), kind: kindOf(json), meta: leaf.meta() as unknown as KeyMeta, json })
  }
}

function allKeys(): ConfigKey[] {
  const keys: ConfigKey[] = []
  collect(configSchema, '', keys)
  return keys
}

/** Every key of the configuration, in the order of the schema. */
export const CONFIG_KEYS: readonly ConfigKey[] = allKeys()

const byKey = new Map(CONFIG_KEYS.map(entry => [entry.key, entry]))
const byEnv = new Map(CONFIG_KEYS.map(entry => [entry.env, entry]))

/** @returns the key with this dotted name */
export function findKey(key: string): ConfigKey | undefined {
  return byKey.get(key)
}

/** @returns the key that this environment variable sets */
export function findEnv(name: string): ConfigKey | undefined {
  return byEnv.get(name)
}

/** Number of single-character changes between two words, a swap of neighbours counted as one. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + change)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1)
      row.push(best)
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? 0
}

/** @returns true when `word` looks like `candidate` mistyped: at most a third of its letters differ */
export function isNear(word: string, candidate: string): boolean {
  return editDistance(word.toLowerCase(), candidate.toLowerCase()) * 3 <= candidate.length
}

/** @returns the candidate with the fewest changes to `word`; the first of several */
export function nearest(word: string, candidates: readonly string[]): string {
  let best = ''
  let bestDistance = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}
