import type { Logger } from '../ports.ts'
import { RedisRoom, type RedisRoomOptions } from '../redis/room.ts'
import type { RedisSettings } from '../redis/settings.ts'

/** A logger that keeps what it is told, as lines of level, fields and text. */
export function memoryLogger(lines: string[] = []): Logger {
  const write = (level: string) => (fields: object, text: string) => {
    lines.push(`${level} ${JSON.stringify(fields)} ${text}`)
  }
  const logger: Logger = {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    isLevelEnabled: () => true,
    child: () => logger,
  }
  return logger
}

/** A room of links that give up on a command after a second; without settings of its own on a plain Redis. */
export function testRoom(redis: string | RedisSettings, options: Partial<RedisRoomOptions> = {}): RedisRoom {
  const settings = typeof redis === 'string' ? { url: redis } : redis
  return new RedisRoom({ settings, keyPrefix: 'midge', logger: memoryLogger(), commandTimeoutMs: 1_000, ...options })
}
