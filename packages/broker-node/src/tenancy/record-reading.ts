import { BrokerError } from '@midge/protocol-core'
import type { z } from 'zod'

/**
 * Reads a record. What a newer version has added to it is left out, so that nodes of two versions can work side by side.
 *
 * @returns `undefined` for what makes no sense to this version
 */
export function readRecord<T>(schema: z.ZodType<T>, raw: string): T | undefined {
  let tree: unknown
  try {
    tree = JSON.parse(raw)
  } catch {
    return undefined
  }
  const result = schema.safeParse(tree)
  if (result.success) return result.data
  const { issues } = result.error
  if (!issues.every(issue => issue.code === 'unrecognized_keys')) return undefined
  for (const issue of issues) if (issue.code === 'unrecognized_keys') removeKeys(tree, issue.path, issue.keys)
  return schema.safeParse(tree).data
}

function removeKeys(tree: unknown, path: readonly PropertyKey[], keys: readonly string[]): void {
  let place = tree
  for (const step of path) place = isObject(place) ? place[step] : undefined
  if (isObject(place)) for (const key of keys) delete place[key]
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null
}

/**
 * Checks what somebody asks for, and fills in defaults.
 *
 * @throws BrokerError `MIDGE_INVALID` whose text names the first wrong field
 */
export function checkInput<T>(schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const field = issue?.path.join('.') ?? ''
  throw new BrokerError('MIDGE_INVALID', field === '' ? (issue?.message ?? '') : `${field}: ${issue?.message}`)
}
