import { BrokerError } from '@midge/protocol-core'
import type { Durability } from '../config/schema.ts'
import type { CommandLink } from '../redis/command-link.ts'

/** A setting of Redis that breaks a promise. */
export interface RedisWarning {
  code: 'eviction' | 'aof_off' | 'fsync_not_always' | 'no_replica' | 'config_unreadable'
  text: string
}

type Warn = (code: RedisWarning['code'], text: string) => void

/**
 * Compares how the servers are set up with what `durability` promises.
 *
 * @throws {@link BrokerError} `MIDGE_CONFIG_INVALID` for Redis before 6.2, `MIDGE_STORE_UNAVAILABLE`
 */
export async function checkRedis(link: CommandLink, durability: Durability): Promise<RedisWarning[]> {
  const warnings = new Map<RedisWarning['code'], RedisWarning>()
  const warn = (code: RedisWarning['code'], text: string): void => {
    warnings.set(code, { code, text })
  }
  for (const info of await link.everywhere('INFO')) checkServer(parseInfo(String(info)), durability, warn)
  if (durability === 'fsync') await checkFsync(link, warn)
  return [...warnings.values()]
}

function checkServer(info: Map<string, string>, durability: Durability, warn: Warn): void {
  checkVersion(info.get('redis_version') ?? '0')
  const policy = info.get('maxmemory_policy') ?? 'noeviction'
  if (policy !== 'noeviction') {
    warn('eviction', `maxmemory-policy is ${policy}: Redis may delete sessions and messages; set it to noeviction`)
  }
  if (durability !== 'memory' && info.get('aof_enabled') !== '1') {
    warn('aof_off', `durability ${durability} needs appendonly yes; it is no`)
  }
  if (durability === 'replicated' && Number(info.get('connected_slaves') ?? 0) < 1) {
    warn('no_replica', 'durability replicated needs a connected replica; there is none')
  }
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

async function checkFsync(link: CommandLink, warn: Warn): Promise<void> {
  try {
    for (const reply of await link.everywhere('CONFIG', 'GET', 'appendfsync')) {
      const value = Array.isArray(reply) ? String(reply[1]) : ''
      if (value !== 'always') warn('fsync_not_always', `durability fsync needs appendfsync always; it is ${value}`)
    }
  } catch {
    // Hosted Redis often forbids CONFIG.
    warn('config_unreadable', 'CONFIG GET is refused, so appendfsync cannot be checked')
  }
}
