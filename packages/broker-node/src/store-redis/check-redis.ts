import { BrokerError } from '@midge/protocol-core'
import type { Redis } from 'ioredis'
import { toBrokerError } from './redis-link.ts'

/** What a message survives once it is acknowledged; `docs/configuration.md` has the sentence of each. */
export type Durability = 'memory' | 'everysec' | 'replicated' | 'fsync'

/** A setting of Redis that breaks a promise. */
export interface RedisWarning {
  code: 'eviction' | 'aof_off' | 'fsync_not_always' | 'no_replica' | 'config_unreadable'
  text: string
}

/**
 * Compares how Redis is set up with what `durability` promises.
 *
 * @throws {@link BrokerError} `MIDGE_CONFIG_INVALID` for Redis before 6.2, `MIDGE_STORE_UNAVAILABLE`
 */
export async function checkRedis(client: Redis, durability: Durability): Promise<RedisWarning[]> {
  let info: Map<string, string>
  try {
    info = parseInfo(await client.info())
  } catch (error) {
    throw toBrokerError(error)
  }
  checkVersion(info.get('redis_version') ?? '0')
  const warnings: RedisWarning[] = []
  const policy = info.get('maxmemory_policy') ?? 'noeviction'
  if (policy !== 'noeviction') {
    warnings.push({
      code: 'eviction',
      text: `maxmemory-policy is ${policy}: Redis may delete sessions and messages; set it to noeviction`,
    })
  }
  if (durability !== 'memory' && info.get('aof_enabled') !== '1') {
    warnings.push({ code: 'aof_off', text: `durability ${durability} needs appendonly yes; it is no` })
  }
  if (durability === 'replicated' && Number(info.get('connected_slaves') ?? 0) < 1) {
    warnings.push({ code: 'no_replica', text: 'durability replicated needs a connected replica; there is none' })
  }
  if (durability === 'fsync') await checkFsync(client, warnings)
  return warnings
}

function parseInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}

function checkVersion(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > 6 || (major === 6 && minor >= 2)) return
  throw new BrokerError('MIDGE_CONFIG_INVALID', `Redis ${version} is too old: 6.2 or newer is needed`)
}

async function checkFsync(client: Redis, warnings: RedisWarning[]): Promise<void> {
  try {
    const reply: unknown = await client.config('GET', 'appendfsync')
    const value = Array.isArray(reply) ? String(reply[1]) : ''
    if (value === 'always') return
    warnings.push({ code: 'fsync_not_always', text: `durability fsync needs appendfsync always; it is ${value}` })
  } catch {
    // Hosted Redis often forbids CONFIG.
    warnings.push({ code: 'config_unreadable', text: 'CONFIG GET is refused, so appendfsync cannot be checked' })
  }
}
