import { randomBytes } from 'node:crypto'
import type {
  CloseRequest,
  CommitItem,
  CommitResult,
  DueWill,
  InstanceName,
  OpenedSession,
  OpenRequest,
  QueueEntry,
  QueueLimits,
  RetainedPage,
  SessionPage,
  SessionRecordView,
  Store,
  StoredSubscription,
  StoreListener,
  Subscription,
  SweepResult,
  TakenEntry,
} from '@midge/protocol-core'
import type { Durability } from '../config/schema.ts'
import type { Logger } from '../ports.ts'
import type { RedisRoom } from '../redis/room.ts'
import { checkRedis, type RedisWarning } from './check-redis.ts'
import { Committer } from './committer.ts'
import { GroupJobs } from './group-jobs.ts'
import { Pokes } from './pokes.ts'
import { RedisQueues } from './queues.ts'
import { RedisGroups } from './redis-groups.ts'
import { type RedisLink, toBrokerError } from './redis-link.ts'
import { RedisSessions } from './redis-sessions.ts'
import { RedisSweeper } from './redis-sweeper.ts'
import { RedisWills } from './redis-wills.ts'
import { RetainedLookup } from './retained.ts'
import { SessionList } from './session-list.ts'
import { StoreKeys } from './store-keys.ts'
import { storeScripts } from './store-scripts.ts'

export interface RedisStoreOptions {
  /** Where its links come from; it is not closed with the store. */
  room: RedisRoom
  nodeId: string
  limits: QueueLimits
  durability: Durability
  logger: Logger
}

/**
 * Starts to connect and keeps trying for as long as it takes; until then every call rejects with
 * `MIDGE_STORE_UNAVAILABLE`. Await `ready` to know when the store can be used first.
 */
export function openRedisStore(options: RedisStoreOptions): RedisStore {
  return new RedisStore(options)
}

/** The `Store` port on Redis: everything survives the node, and all nodes see the same. */
export class RedisStore implements Store {
  /** Resolves with the first connection. */
  readonly ready: Promise<void>
  private readonly link: RedisLink
  private readonly keys: StoreKeys
  private readonly sessions: RedisSessions
  private readonly list: SessionList
  private readonly queues: RedisQueues
  private readonly groups: RedisGroups
  private readonly retained: RetainedLookup
  private readonly wills: RedisWills
  private readonly sweeper: RedisSweeper
  private readonly committer: Committer
  private readonly pokes: Pokes
  private readonly durability: Durability
  private listener: StoreListener | undefined
  /** A commit has failed: what it did is not known, and this node is not poked for its own appends. */
  private hasUnknownCommit = false

  constructor(options: RedisStoreOptions) {
    const { room, logger } = options
    this.durability = options.durability
    this.keys = new StoreKeys(room.keyPrefix)
    this.link = room.commandLink('store', storeScripts())
    this.groups = new RedisGroups(this.link, this.keys)
    const jobs = new GroupJobs(this.link, this.keys, this.groups)
    this.sessions = new RedisSessions(this.link, this.keys, jobs)
    this.list = new SessionList(this.link, this.keys)
    this.queues = new RedisQueues(this.link, this.keys)
    this.retained = new RetainedLookup(this.link, this.keys)
    this.wills = new RedisWills(this.link, this.keys)
    this.sweeper = new RedisSweeper(this.link, this.keys, this.sessions, jobs)
    const nodeId = encodeURIComponent(options.nodeId)
    this.committer = new Committer(this.link, this.keys, {
      limits: options.limits,
      nodeId,
      waitForReplica: options.durability === 'replicated',
    })
    this.pokes = new Pokes(room.listener(), `${this.keys.pokePrefix()}${nodeId}`, logger)
    this.ready = Promise.all([this.pokes.ready, this.firstReady()]).then(() => {})
  }

  setListener(listener: StoreListener): void {
    this.listener = listener
    this.pokes.setListener(listener)
  }

  /** Reports settings of the server that break promises; see {@link checkRedis}. */
  check(): Promise<RedisWarning[]> {
    return checkRedis(this.link, this.durability)
  }

  open(request: OpenRequest): Promise<OpenedSession> {
    return this.sessions.open(request)
  }

  close(request: CloseRequest): Promise<Subscription[]> {
    return this.sessions.close(request)
  }

  listSessions(instance: InstanceName, cursor: string | undefined, countMax: number): Promise<SessionPage> {
    return this.list.page(instance, cursor, countMax)
  }

  findSession(instance: InstanceName, clientId: string): Promise<SessionRecordView | undefined> {
    return this.list.find(this.keys.place(instance, clientId))
  }

  saveSubscriptions(
    instance: InstanceName,
    clientId: string,
    epoch: number,
    subscriptions: Subscription[],
  ): Promise<void> {
    return this.sessions.saveSubscriptions(this.keys.place(instance, clientId), epoch, subscriptions)
  }

  removeSubscriptions(instance: InstanceName, clientId: string, epoch: number, topicFilters: string[]): Promise<void> {
    return this.sessions.removeSubscriptions(this.keys.place(instance, clientId), epoch, topicFilters)
  }

  async commit(items: CommitItem[]): Promise<CommitResult[]> {
    try {
      const results = await this.committer.commit(items)
      if (this.hasUnknownCommit) {
        this.hasUnknownCommit = false
        this.listener?.onReconnected()
      }
      return results
    } catch (error) {
      this.hasUnknownCommit = true
      throw error
    }
  }

  readQueue(
    instance: InstanceName,
    clientId: string,
    epoch: number,
    fromSeq: number,
    countMax: number,
  ): Promise<QueueEntry[]> {
    return this.queues.read(this.keys.place(instance, clientId), epoch, fromSeq, countMax)
  }

  tailSeq(instance: InstanceName, clientId: string): Promise<number> {
    return this.queues.tailSeq(this.keys.place(instance, clientId))
  }

  ackQueue(instance: InstanceName, clientId: string, epoch: number, upToSeq: number): Promise<void> {
    return this.queues.ack(this.keys.place(instance, clientId), epoch, upToSeq)
  }

  releaseQueue(instance: InstanceName, clientId: string, epoch: number, seqs: number[]): Promise<void> {
    return this.queues.release(this.keys.place(instance, clientId), epoch, seqs)
  }

  forgetInbound(instance: InstanceName, clientId: string, epoch: number, packetId: number): Promise<void> {
    return this.queues.forgetInbound(this.keys.place(instance, clientId), epoch, packetId)
  }

  takeGroup(
    instance: InstanceName,
    group: string,
    clientId: string,
    epoch: number,
    packetIds: number[],
  ): Promise<TakenEntry[]> {
    return this.groups.take({ instance, group, clientId }, epoch, packetIds)
  }

  heldOfGroup(instance: InstanceName, group: string, clientId: string, epoch: number): Promise<TakenEntry[]> {
    return this.groups.held({ instance, group, clientId }, epoch)
  }

  ackGroup(instance: InstanceName, group: string, clientId: string, seqs: number[]): Promise<void> {
    return this.groups.ack({ instance, group, clientId }, seqs)
  }

  releaseGroup(instance: InstanceName, group: string, clientId: string, seqs: number[]): Promise<void> {
    return this.groups.release({ instance, group, clientId }, seqs)
  }

  returnToGroup(instance: InstanceName, group: string, clientId: string, keepQos2: boolean): Promise<void> {
    return this.groups.returnAll({ instance, group, clientId }, keepQos2)
  }

  deleteGroup(instance: InstanceName, group: string): Promise<void> {
    return this.groups.forget(instance, group)
  }

  matchRetained(
    instance: InstanceName,
    topicFilter: string,
    cursor: string | undefined,
    countMax: number,
  ): Promise<RetainedPage> {
    return this.retained.match(instance, topicFilter, cursor, countMax)
  }

  /** Work is claimed by whoever comes first, so `nodeId` is not needed here. */
  sweep(_nodeId: string, nowMs: number, countMax: number): Promise<SweepResult> {
    return this.sweeper.sweep(nowMs, countMax)
  }

  confirmWill(instance: InstanceName, clientId: string, id: string): Promise<void> {
    return this.wills.confirm({ instance, clientId, id })
  }

  discardWills(instance: InstanceName): Promise<void> {
    return this.wills.discard(instance)
  }

  claimWill(
    instance: InstanceName,
    clientId: string,
    id: string,
    nowMs: number,
  ): Promise<DueWill | 'claimed' | 'gone'> {
    return this.wills.claim({ instance, clientId, id }, nowMs)
  }

  reapNode(nodeId: string, nowMs: number, countMax: number): Promise<number> {
    return this.sweeper.reapNode(nodeId, nowMs, countMax)
  }

  listSubscriptions(): AsyncIterable<StoredSubscription[]> {
    return this.sessions.listSubscriptions()
  }

  /** Whoever comes first sets it, and everybody reads what is there. */
  async secret(name: string, bytesCount: number): Promise<Uint8Array> {
    const key = this.keys.secret(name)
    // A full Redis refuses the first of the two and can still answer the second.
    const [made, kept] = await this.link.run([
      { command: 'set', args: [key, randomBytes(bytesCount), 'NX'] },
      { command: 'get', args: [key] },
    ])
    if (kept instanceof Uint8Array) return kept
    throw toBrokerError(kept instanceof Error ? kept : made)
  }

  async ping(): Promise<void> {
    await this.link.one({ command: 'ping', args: [], near: '' })
    if (!this.hasUnknownCommit) return
    this.hasUnknownCommit = false
    this.listener?.onReconnected()
  }

  async stop(): Promise<void> {
    this.pokes.setListener(undefined)
    await this.link.stop()
  }

  /** Later connections follow a break in which the outcome of commands was lost. */
  private firstReady(): Promise<void> {
    return new Promise(resolve => {
      let count = 0
      this.link.onReady(() => {
        resolve()
        if (++count > 1) this.listener?.onReconnected()
      })
    })
  }
}
