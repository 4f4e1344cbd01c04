import type { ApiKey } from '../tenancy/model/api-key.ts'
import type { Actor, Tenancy } from '../tenancy/tenancy.ts'

/** Keys that one instance may have; beyond it a rotation leaves older ones. */
const KEYS_MAX = 1000

/**
 * Makes a new key that may change the instance, then ends all others that may.
 *
 * @returns the key, which is shown once
 */
export async function rotateInstanceKey(
  { apiKeys }: Tenancy,
  instance: string,
  actor: Actor,
): Promise<{ apiKey: ApiKey; key: string }> {
  const earlier = apiKeys.list({ countMax: KEYS_MAX }, instance).items
  const made = await apiKeys.create({ label: 'rotated', scope: 'instance:write', instance }, actor)
  for (const { id, scope } of earlier) if (scope === 'instance:write') await apiKeys.remove(id, actor)
  return made
}
