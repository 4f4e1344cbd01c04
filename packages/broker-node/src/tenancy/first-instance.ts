import { DEFAULT_INSTANCE } from '@midge/protocol-core'
import { UNLIMITED_PLAN } from './built-in-plans.ts'
import type { ControlPlane } from './control-plane.ts'
import { apiKeyHash } from './fresh-names.ts'
import type { Actor } from './model/audit-entry.ts'
import type { User } from './model/user.ts'

/** Who comes first to an empty cluster. */
export interface FirstSecrets {
  username: string
  password: string
  /** Whether somebody wrote the password into the configuration; that one always holds. */
  isPasswordConfigured: boolean
  /** Opens the whole API; `undefined` for none. */
  apiKey: string | undefined
  isApiKeyConfigured: boolean
}

/** What of {@link FirstSecrets} is in force. */
export interface SecretsInForce {
  password: boolean
  apiKey: boolean
}

/** Id of the key that the configuration, or the first start, has made. */
export const FIRST_API_KEY_ID = 'bootstrap'

/**
 * Sees to it that there are the instance `default`, its first user and the first key of the API. Several nodes may do so
 * at the same time, and the first one's generated secrets hold; configured ones hold always.
 *
 * @param verify - whether a password fits what is kept of one
 */
export async function ensureFirstInstance(
  plane: ControlPlane,
  secrets: FirstSecrets,
  { actor, verify }: { actor: Actor; verify: (hash: string, password: string) => Promise<boolean> },
): Promise<SecretsInForce> {
  if (plane.instances.find(DEFAULT_INSTANCE) === undefined) await createDefault(plane, secrets, actor)
  const user = await ensureUser(plane, secrets, actor)
  let isInForce = user.proof !== undefined && (await verify(user.proof.hash, secrets.password))
  if (!isInForce && secrets.isPasswordConfigured) {
    await plane.users.change(DEFAULT_INSTANCE, secrets.username, { secret: { password: secrets.password } }, actor)
    isInForce = true
  }
  return { password: isInForce, apiKey: await ensureApiKey(plane, secrets, actor) }
}

async function createDefault(plane: ControlPlane, { username, password }: FirstSecrets, actor: Actor): Promise<void> {
  const input = {
    id: DEFAULT_INSTANCE,
    name: 'Default',
    plan: UNLIMITED_PLAN,
    settings: { unlistedUsers: 'everything' as const },
  }
  try {
    await plane.instances.createWith(input, { username, password, apiKey: undefined }, actor)
  } catch (error) {
    // Another node was first.
    if (plane.instances.find(DEFAULT_INSTANCE) === undefined) throw error
  }
}

/** Of the configured name, which may be another one than at the first start. */
async function ensureUser(plane: ControlPlane, secrets: FirstSecrets, actor: Actor): Promise<User> {
  const { username, password } = secrets
  const known = plane.users.find(DEFAULT_INSTANCE, username)
  if (known !== undefined) return known
  try {
    return await plane.users.create(DEFAULT_INSTANCE, username, { secret: { password }, isUnrestricted: true }, actor)
  } catch (error) {
    const made = plane.users.find(DEFAULT_INSTANCE, username)
    if (made === undefined) throw error
    return made
  }
}

async function ensureApiKey(plane: ControlPlane, secrets: FirstSecrets, actor: Actor): Promise<boolean> {
  if (secrets.apiKey === undefined) return false
  const sha256 = apiKeyHash(secrets.apiKey)
  const input = { id: FIRST_API_KEY_ID, label: 'of the first start', scope: 'operator' as const, sha256 }
  const row = await plane.apiKeys.ensure(input, { isReplacing: secrets.isApiKeyConfigured, actor })
  return row.sha256 === sha256
}
