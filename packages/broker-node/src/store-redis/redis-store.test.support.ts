import assert from 'node:assert/strict'
import {
  BrokerError,
  type CommitItem,
  DEFAULT_INSTANCE,
  Message,
  type OpenedSession,
  type Qos,
  type QueueLimits,
  type StoredWill,
  type Subscription,
} from '@midge/protocol-core'
import { Redis } from 'ioredis'
import type { Logger } from '../ports.ts'
import { testRoom } from '../testing/redis-room.ts'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { openRedisStore, type RedisStore, type RedisStoreOptions } from './index.ts'

export const INSTANCE: string = DEFAULT_INSTANCE
const nodeIds = new WeakMap<RedisStore, string>()

/** Small enough to be reached. */
export const LIMITS: QueueLimits = {
  offlineQueueMessages: 100,
  offlineQueueBytes: 100_000,
  onlineQueueMessages: 200,
  onlineQueueBytes: 200_000,
}

/** Says nothing. */
export const silentLogger: Logger = {
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  isLevelEnabled: () => false,
  child: () => silentLogger,
}

/** A message with payload and topic from text. */
export function message(topicName: string, payload = 'x', qos: Qos = 1, expiresAtMs = 0): Message {
  return new Message({
    topicName,
    topicBytes: Buffer.from(topicName),
    payload: Buffer.from(payload),
    qos,
    retain: false,
    properties: new Uint8Array(0),
    expiresAtMs,
    publisherId: 'publisher',
  })
}

/** An item for the queues of sessions. */
export function toSessions(clientIds: string[], payload = 'x', qos: Qos = 1): CommitItem {
  return {
    instance: INSTANCE,
    message: message('a/b', payload, qos),
    sessions: clientIds.map(clientId => ({ clientId, qos, retain: false, subscriptionIds: undefined })),
    groups: [],
    retain: false,
    inbound: undefined,
  }
}

/** An item for a share group. */
export function toGroup(group: string, payload: string, qos: Qos = 1): CommitItem {
  return { ...toSessions([], payload, qos), groups: [{ group, qos }] }
}

/** An item that is retained; without payload it removes. */
export function retained(topicName: string, payload = 'x', expiresAtMs = 0): CommitItem {
  return { ...toSessions([]), message: message(topicName, payload, 1, expiresAtMs), retain: true }
}

/** A subscription with an identifier. */
export function subscription(topicFilter: string): Subscription {
  return { topicFilter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionId: 7 }
}

/** A will with a delay in seconds. */
export function will(delay = 0): StoredWill {
  return { message: message('will', 'gone'), willDelaySeconds: delay, messageExpirySeconds: -1 }
}

/** Payload as text. */
export function textOf(entry: { message: Message }): string {
  return Buffer.from(entry.message.payload).toString()
}

/** Polls until `claim` holds; fails after `timeoutMs`. */
export async function until(claim: () => boolean, what: string, timeoutMs = 8000): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!claim()) {
    if (Date.now() > deadline) assert.fail(`timed out: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** The error of a store that cannot be reached. */
export const isUnavailable: (error: unknown) => boolean = error =>
  error instanceof BrokerError && error.code === 'MIDGE_STORE_UNAVAILABLE' && error.retryable
/** The error of an owner that was taken over. */
export const isFenced: (error: unknown) => boolean = error =>
  error instanceof BrokerError && error.code === 'MIDGE_SESSION_FENCED'

/** A store that gives up on a command after half a second. */
export function connect(
  url: string,
  nodeId: string,
  { commandTimeoutMs = 500, ...options }: Partial<RedisStoreOptions> & { commandTimeoutMs?: number } = {},
): RedisStore {
  const logger = options.logger ?? silentLogger
  const room = options.room ?? testRoom(url, { commandTimeoutMs, logger })
  const store = openRedisStore({ room, nodeId, limits: LIMITS, durability: 'memory', logger, ...options })
  const stop = store.stop.bind(store)
  store.stop = async () => {
    await stop()
    await room.stop()
  }
  nodeIds.set(store, nodeId)
  return store
}

/** Opens a session for the node of the store. */
export function open(
  store: RedisStore,
  clientId: string,
  options: Partial<Parameters<RedisStore['open']>[0]> = {},
): Promise<OpenedSession> {
  return store.open({
    instance: INSTANCE,
    clientId,
    username: undefined,
    nodeId: nodeIds.get(store) ?? 'node',
    cleanStart: false,
    sessionExpirySeconds: 60,
    will: undefined,
    nowMs: 1_000_000,
    ...options,
  })
}

export function close(
  store: RedisStore,
  clientId: string,
  epoch: number,
  options: Partial<Parameters<RedisStore['close']>[0]> = {},
): Promise<Subscription[]> {
  return store.close({
    instance: INSTANCE,
    clientId,
    epoch,
    sessionExpirySeconds: 60,
    sentSeq: 0,
    ackedAhead: [],
    will: 'discard',
    nowMs: 1_000_000,
    ...options,
  })
}

/** Everything in Redis but the epoch counters, which stay on purpose. */
export async function leftovers(admin: Redis): Promise<string[]> {
  return (await admin.keys('*')).filter(key => !key.startsWith('midge:epoch:')).sort()
}

/** A Redis of its own, a plain connection to look into it, and the stores of two nodes on it. */
export interface TwoStores {
  redis: TestRedis
  admin: Redis
  a: RedisStore
  b: RedisStore
}

export async function startTwoStores(): Promise<TwoStores> {
  const redis = await startRedis()
  const admin = new Redis(redis.url, { disableClientInfo: true })
  admin.on('error', () => {})
  const a = connect(redis.url, 'node-a')
  const b = connect(redis.url, 'node-b')
  await Promise.all([a.ready, b.ready])
  return { redis, admin, a, b }
}

export async function stopTwoStores({ redis, admin, a, b }: TwoStores): Promise<void> {
  await a.stop()
  await b.stop()
  admin.disconnect()
  await redis.stop()
}
