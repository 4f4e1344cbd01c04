import { setTimeout as sleep } from 'node:timers/promises'
import { Message, type RouteInterest, type Subscription, type TakeoverAnswer } from '@midge/protocol-core'
import type { RedisRoom } from '../../redis/room.ts'
import type { RedisSettings } from '../../redis/settings.ts'
import { memoryLogger, testRoom } from '../../testing/redis-room.ts'
import { createRedisCluster, type RedisCluster } from '../create-redis-cluster.ts'
import type { ClusterTimings } from '../timings.ts'

/** Times that let a test see a death within a second or two, on a busy machine. */
export const FAST_TIMINGS: ClusterTimings = {
  heartbeatMs: 200,
  leaseMs: 1_000,
  deadMs: 2_000,
  healthyBeatsMin: 2,
  pollMs: 200,
  staleMs: 1_000,
  barrierMs: 500,
  takeoverAnswerMs: 1_000,
}

const encoder = new TextEncoder()

/** A message of which tests look at topic and payload. */
export function textMessage(topicName: string, payload: string, qos: 0 | 1 | 2 = 0): Message {
  return new Message({
    topicName,
    topicBytes: encoder.encode(topicName),
    payload: encoder.encode(payload),
    qos,
    retain: false,
    properties: new Uint8Array(0),
    expiresAtMs: 0,
    publisherId: 'publisher',
  })
}

/** A node without clients: it keeps everything its cluster adapters tell it. */
export interface TestNode {
  nodeId: string
  cluster: RedisCluster
  room: RedisRoom
  /** `<node> <instance> <filter>` → interest. */
  routes: Map<string, RouteInterest>
  /** `<instance> <client id> <filter>` → subscription. */
  stored: Map<string, Subscription>
  records: Map<string, string>
  received: { instance: string; topicName: string; payload: string; groups: string[] }[]
  /** Short lines: `records reset`, `dead x`, `gone x`, `nodes a,b`, `takeover …`, `grew …`, `lease lost`, `gap x n`, `dropped x n`. */
  events: string[]
  log: string[]
  /** Set to count messages instead of keeping them. */
  onMessage: ((message: Message) => void) | undefined
  /** What this node answers to a takeover. */
  onTakeover: (clientId: string) => TakeoverAnswer | Promise<TakeoverAnswer>
  stop(): Promise<void>
}

/** The adapters of a node, not started, with the link reports and log lines that they make. */
export function joinCluster(
  redis: string | RedisSettings,
  nodeId: string,
  timings: Partial<ClusterTimings> = FAST_TIMINGS,
  keyPrefix = 'test',
): { cluster: RedisCluster; room: RedisRoom; events: string[]; log: string[]; stop(): Promise<void> } {
  const log: string[] = []
  const events: string[] = []
  const logger = memoryLogger(log)
  const room = testRoom(redis, { keyPrefix, logger })
  const cluster = createRedisCluster({
    room,
    nodeId,
    logger,
    timings,
    onDropped: (to, count) => events.push(`dropped ${to} ${count}`),
    onGap: (from, frames) => events.push(`gap ${from} ${frames}`),
    onUnreadable: reason => events.push(`unreadable ${reason}`),
  })
  const stop = async (): Promise<void> => {
    await cluster.stop()
    await room.stop()
  }
  return { cluster, room, events, log, stop }
}

/** Joins a node to the cluster at `redis` and waits until its adapters have started. */
export async function startNode(...where: Parameters<typeof joinCluster>): Promise<TestNode> {
  const { cluster, room, events, log, stop } = joinCluster(...where)
  const node: TestNode = {
    nodeId: where[1],
    cluster,
    room,
    routes: new Map(),
    stored: new Map(),
    records: new Map(),
    received: [],
    events,
    log,
    onMessage: undefined,
    onTakeover: () => 'released',
    stop,
  }
  try {
    await Promise.all([startLink(node), startDirectory(node), startRecords(node)])
  } catch (error) {
    await node.stop()
    throw error
  }
  return node
}

function startLink(node: TestNode): Promise<void> {
  const { events, received } = node
  const decoder = new TextDecoder()
  return node.cluster.link.start({
    onMessage: (instance, message, groups) => {
      if (node.onMessage !== undefined) node.onMessage(message)
      else received.push({ instance, topicName: message.topicName, payload: decoder.decode(message.payload), groups })
    },
    onRun: (instance, run) => {
      for (const { topicName, payload } of run.messages()) {
        received.push({ instance, topicName, payload: decoder.decode(payload), groups: [] })
      }
    },
    onGroupGrew: (instance, group) => events.push(`grew ${instance} ${group}`),
    onTakeover: (instance, clientId, epoch) => {
      events.push(`takeover ${instance} ${clientId} ${epoch}`)
      return node.onTakeover(clientId)
    },
    onKick: (instance, clientId, reasonCode) => events.push(`kick ${instance} ${clientId} ${reasonCode}`),
    onDrain: () => events.push('drain'),
    onQuestion: async question => {
      if (question === 'fail') throw new Error('no answer')
      return `yes to ${question}`
    },
    onNodesChanged: ids => events.push(`nodes ${ids.join()}`),
    onNodeDead: nodeId => events.push(`dead ${nodeId}`),
    onLeaseLost: () => events.push('lease lost'),
  })
}

function startDirectory(node: TestNode): Promise<void> {
  const { routes, stored, events } = node
  return node.cluster.directory.start({
    onRoute: (nodeId, instance, topicFilter, interest) => {
      const key = `${nodeId} ${instance} ${topicFilter}`
      if (interest === 0) routes.delete(key)
      else routes.set(key, interest)
    },
    onStored: (instance, clientId, subscription) => {
      stored.set(`${instance} ${clientId} ${subscription.topicFilter}`, subscription)
    },
    onStoredRemoved: (instance, clientId, topicFilter) => stored.delete(`${instance} ${clientId} ${topicFilter}`),
    onNodeGone: nodeId => {
      events.push(`gone ${nodeId}`)
      for (const key of routes.keys()) if (key.startsWith(`${nodeId} `)) routes.delete(key)
    },
    onStoredReset: () => stored.clear(),
  })
}

function startRecords({ records, events, cluster }: TestNode): Promise<void> {
  return cluster.records.start({
    onRecord: (key, value) => {
      if (value === undefined) records.delete(key)
      else records.set(key, value)
    },
    onRecordsReset: () => {
      events.push('records reset')
      records.clear()
    },
    onRecordsTold: () => undefined,
  })
}

/** Polls until `claim` holds; fails with `what` and the value of `detail` when it does not in time. */
export async function until(
  what: string,
  claim: () => boolean,
  { timeoutMs = 10_000, detail }: { timeoutMs?: number; detail?: () => unknown } = {},
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs
  while (!claim()) {
    if (Date.now() > deadlineMs) throw new Error(`not in time: ${what} ${JSON.stringify(detail?.()) ?? ''}`)
    await sleep(5)
  }
}
