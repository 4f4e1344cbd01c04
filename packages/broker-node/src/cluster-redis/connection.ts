import { BrokerError } from '@midge/protocol-core'
import { Redis } from 'ioredis'
import type { Logger } from '../ports.ts'
import { retryDelayMs } from './limits.ts'

/** One log line about an unreachable Redis per this time. */
const LOG_EVERY_MS = 10_000
/** A connection that is up but does not finish its handshake is torn down after this. */
const HANDSHAKE_MS = 5_000

/** How a connection is used, which decides a few of its options. */
export interface ConnectionRole {
  name: string
  /** 0 for connections whose commands block or that only listen. */
  commandTimeoutMs: number
}

/**
 * Opens a connection that never gives up: it retries with backoff, does not queue commands while it is down, and does
 * not repeat a command by itself, because only the caller knows whether repeating is safe.
 */
export function connectRedis(url: string, role: ConnectionRole, trouble: TroubleLog): Redis {
  const redis = new Redis(url, {
    connectionName: `midge-${role.name}`,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // With any other number, commands under way when the connection breaks stay unanswered for good.
    maxRetriesPerRequest: 0,
    connectTimeout: 2_000,
    keepAlive: 5_000,
    // With it, a subscribed connection can lose its subscriptions while it starts (ioredis#2037).
    disableClientInfo: true,
    retryStrategy: retryDelayMs,
    reconnectOnError: error => /^(READONLY|MASTERDOWN)/.test(error.message),
    ...(role.commandTimeoutMs > 0 ? { commandTimeout: role.commandTimeoutMs } : {}),
  })
  watchHandshake(redis)
  trouble.watch(redis, role.name)
  return redis
}

function watchHandshake(redis: Redis): void {
  let timer: NodeJS.Timeout | undefined
  redis.on('connect', () => {
    clearTimeout(timer)
    timer = setTimeout(() => redis.disconnect(true), HANDSHAKE_MS)
  })
  for (const event of ['ready', 'close', 'end']) redis.on(event, () => clearTimeout(timer))
}

/** Logs for all connections of a node together: an outage is one event, not four. */
export class TroubleLog {
  private readonly logger: Logger
  private readonly down = new Set<Redis>()
  private loggedAtMs = Number.NEGATIVE_INFINITY
  private suppressed = 0

  constructor(logger: Logger) {
    this.logger = logger
  }

  watch(redis: Redis, connection: string): void {
    redis.on('error', (error: Error & { code?: unknown }) => this.lost(redis, connection, error))
    redis.on('ready', () => this.ready(redis))
  }

  private lost(redis: Redis, connection: string, error: Error & { code?: unknown }): void {
    this.down.add(redis)
    const nowMs = performance.now()
    if (nowMs - this.loggedAtMs < LOG_EVERY_MS) {
      this.suppressed++
      return
    }
    // An error with several causes (IPv4 and IPv6) has no text of its own.
    const reason = error.message === '' ? String(error.code) : error.message
    this.logger.warn(
      { event: 'backplane.lost', connection, reason, suppressed: this.suppressed },
      'Redis is not reachable; trying again until it is',
    )
    this.loggedAtMs = nowMs
    this.suppressed = 0
  }

  private ready(redis: Redis): void {
    if (!this.down.delete(redis) || this.down.size > 0) return
    this.logger.info({ event: 'backplane.restored' }, 'Redis answers again')
  }
}

/**
 * Resolves when the connection can take commands.
 *
 * @throws {@link BrokerError} `MIDGE_STORE_UNAVAILABLE` when the signal aborts first; the connection's own `end` event
 * is no sign of that, it does not come when the connection is closed between two attempts
 */
export function whenReady(redis: Redis, signal: AbortSignal): Promise<void> {
  if (redis.status === 'ready' && !signal.aborted) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const onReady = (): void => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    const onAbort = (): void => {
      redis.off('ready', onReady)
      reject(new BrokerError('MIDGE_STORE_UNAVAILABLE', 'the node is stopping'))
    }
    if (signal.aborted) onAbort()
    else {
      redis.once('ready', onReady)
      signal.addEventListener('abort', onAbort, { once: true })
    }
  })
}

/**
 * Where everybody waits whose command failed: one probe for all, so that a Redis that hangs is not sent the same
 * frames again and again.
 */
export class RedisGate {
  private readonly redis: Redis
  private probe: Promise<void> | undefined
  private readonly stopped: AbortController

  constructor(redis: Redis) {
    this.redis = redis
    this.stopped = new AbortController()
  }

  /** Resolves after a wait, when Redis has answered a PING; rejects when the gate was stopped. */
  healthy(): Promise<void> {
    this.probe ??= this.probeUntilHealthy().finally(() => {
      this.probe = undefined
    })
    return this.probe
  }

  stop(): void {
    this.stopped.abort()
  }

  get isStopped(): boolean {
    return this.stopped.signal.aborted
  }

  /** Aborts when the gate is stopped. */
  get signal(): AbortSignal {
    return this.stopped.signal
  }

  private async probeUntilHealthy(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await pause(retryDelayMs(attempt), this.stopped.signal)
      if (this.isStopped) throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'the node is stopping')
      try {
        await whenReady(this.redis, this.signal)
        await this.redis.ping()
        return
      } catch (error) {
        // A reply that never came says that the connection is dead even if its socket is not.
        if (this.redis.status === 'ready' && String(error).includes('timed out')) this.redis.disconnect(true)
      }
    }
  }
}

/** Waits, at most until the signal aborts; never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
