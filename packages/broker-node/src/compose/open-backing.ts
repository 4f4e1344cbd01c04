import type { Counters } from '../counters.ts'
import type { Logger } from '../ports.ts'
import type { Backing, BackingConfig } from './backing.ts'
import { openLocalBacking } from './local-backing.ts'
import { openRedisBacking } from './redis-backing.ts'

/**
 * Opens the embedded store, or begins to connect to Redis, whose absence only delays `ready`.
 *
 * @throws BrokerError of the embedded store when its folder cannot be used
 */
export async function openBacking(config: BackingConfig, logger: Logger, counters: Counters): Promise<Backing> {
  return config.redis.url === undefined
    ? openLocalBacking(config, logger)
    : openRedisBacking(config, config.redis.url, { logger, counters })
}
