import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { isDemoted, textOf } from './errors.ts'
import type { LinkHealth } from './health.ts'
import { retryDelayMs } from './retry.ts'
import type { RedisTarget } from './settings.ts'

export type RedisClient = Redis | Cluster

/** A connection that is up but does not finish its handshake is torn down after this. */
const HANDSHAKE_MS = 2_000
const CONNECT_TIMEOUT_MS = 2_000
/** A peer that does not answer our goodbye is not waited for. */
const DISCONNECT_TIMEOUT_MS = 100

/** What a connection is for. */
export interface LinkRole {
  /** Shows in `CLIENT LIST` behind `midge-`, and in the log. */
  name: string
  /** Only listens to channels: in a Redis Cluster any server will do. */
  isListener: boolean
  /** A reply that takes longer counts as lost. */
  commandTimeoutMs: number
}

/**
 * Opens a connection that never gives up and tells `health` how it fares. No command waits in the client or is sent
 * twice: a caller whose outcome is unknown is told so, because only it knows whether repeating is safe.
 */
export function connectRedis(target: RedisTarget, role: LinkRole, health: LinkHealth): RedisClient {
  const client = open(target, role)
  watchHandshake(client, health)
  watchHealth(client, health)
  return client
}

function open(target: RedisTarget, role: LinkRole): RedisClient {
  const options = commonOptions(target, role)
  if (target.kind === 'cluster' && !role.isListener) return new Cluster(target.addresses, clusterOptions(options))
  Object.assign(options, { db: target.db, retryStrategy: retryDelayMs, reconnectOnError: isDemoted })
  if (target.kind === 'sentinel') return new Redis({ ...options, ...sentinelOptions(target) })
  const redis = new Redis({ ...options, ...target.addresses[0] })
  if (target.addresses.length > 1) tryOneAfterAnother(redis, target)
  return redis
}

function commonOptions(target: RedisTarget, role: LinkRole): RedisOptions {
  return {
    connectionName: `midge-${role.name}`,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    // With any other number, commands under way when the connection breaks stay unanswered for good.
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    keepAlive: 5_000,
    noDelay: true,
    // With it, a subscribed connection can lose its subscriptions while it starts (ioredis#2037).
    disableClientInfo: true,
    commandTimeout: role.commandTimeoutMs,
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    ...(target.tls === undefined ? {} : { tls: target.tls }),
  }
}

function sentinelOptions(target: RedisTarget): RedisOptions {
  return {
    sentinels: target.addresses,
    name: target.masterName,
    role: 'master',
    sentinelRetryStrategy: retryDelayMs,
    sentinelCommandTimeout: HANDSHAKE_MS,
    ...(target.sentinelUsername === undefined ? {} : { sentinelUsername: target.sentinelUsername }),
    ...(target.sentinelPassword === undefined ? {} : { sentinelPassword: target.sentinelPassword }),
    ...(target.tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: target.tls }),
  }
}

function clusterOptions(redisOptions: RedisOptions): ClusterOptions {
  return {
    redisOptions,
    enableOfflineQueue: false,
    clusterRetryStrategy: retryDelayMs,
    // Zero: a command whose outcome is unknown is not sent again.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: HANDSHAKE_MS,
    // Its timer can outlive the client; `servers.ts` asks.
    slotsRefreshInterval: 0,
    ...(redisOptions.tls === undefined ? {} : { dnsLookup: (address, done) => done(null, address) }),
  }
}

/** After every break the next address: the one at hand may be the one that hangs. */
function tryOneAfterAnother(redis: Redis, { addresses }: RedisTarget): void {
  let at = 0
  redis.on('close', () => {
    at = (at + 1) % addresses.length
    Object.assign(redis.options, addresses[at])
  })
}

function watchHandshake(client: RedisClient, health: LinkHealth): void {
  let timer: NodeJS.Timeout | undefined
  client.on('connect', () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      health.down('no answer to the handshake')
      client.disconnect(true)
    }, HANDSHAKE_MS)
  })
  for (const event of ['ready', 'close', 'end']) client.on(event, () => clearTimeout(timer))
}

/** A connection that breaks is made again within a moment, mostly; only what is tried in vain is down. */
function watchHealth(client: RedisClient, health: LinkHealth): void {
  let isReady = false
  let reason = 'the connection was closed'
  // Without a listener an `error` ends the process.
  client.on('error', error => {
    reason = textOf(Reflect.get(error, 'lastNodeError') ?? error)
    if (!isReady) health.down(reason)
  })
  client.on('ready', () => {
    isReady = true
  })
  client.on('close', () => {
    if (isReady) health.suspect()
    else health.down(reason)
    isReady = false
  })
}
