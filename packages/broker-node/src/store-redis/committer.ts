import { BrokerError, type CommitItem, type CommitResult, type QueueLimits } from '@midge/protocol-core'
import { CommitPlan } from './commit-plan.ts'
import { type RedisLink, type StoreCall, toBrokerError } from './redis-link.ts'
import { toNumber, toText } from './replies.ts'
import { RetainedRoom } from './retained-room.ts'
import type { StoreKeys } from './store-keys.ts'

/** How long a commit waits for the replica when the durability asks for one. */
const REPLICA_TIMEOUT_MS = 1000

export interface CommitterOptions {
  limits: QueueLimits
  /** Encoded. */
  nodeId: string
  /** Resolve only when a replica has the change. */
  waitForReplica: boolean
}

/** What the first step has found out about one item. */
interface Attempt {
  status: CommitResult['status']
  /** '' for an item that needs none. */
  token: string
  /** Its instance has no room for another retained message. */
  isRetainedFull: boolean
}

/**
 * Makes batches of messages durable. Batches take effect in the order of the calls: a batch is sent when the one
 * before it has been sent, without waiting for its replies.
 */
export class Committer {
  private readonly link: RedisLink
  private readonly keys: StoreKeys
  private readonly options: CommitterOptions
  private lastSent: Promise<void> = Promise.resolve()
  private readonly retainedRoom: RetainedRoom
  private readonly tokenPrefix: string
  private tokenCount = 0

  constructor(link: RedisLink, keys: StoreKeys, options: CommitterOptions) {
    this.link = link
    this.keys = keys
    this.options = options
    this.retainedRoom = new RetainedRoom(link, keys)
    this.tokenPrefix = `${options.nodeId}.${Date.now().toString(36)}.`
  }

  async commit(items: CommitItem[]): Promise<CommitResult[]> {
    const turn = this.lastSent
    let passOn: () => void = () => {}
    this.lastSent = new Promise(resolve => {
      passOn = resolve
    })
    try {
      await turn
      const attempts = await this.begin(items)
      await this.makeRoom(items, attempts)
      const plan = this.plan(items, attempts)
      const calls = plan.calls()
      const stored = this.store(calls)
      passOn()
      const replies = await stored
      const results = attempts.map(
        (attempt, i): CommitResult => ({
          status: attempt.status,
          seqs: new Array<number>(items[i]?.sessions.length ?? 0).fill(0),
          droppedGroups: 0,
          ...(attempt.isRetainedFull ? { isRetainedFull: true } : {}),
        }),
      )
      plan.read(replies, results)
      await this.finish(items, attempts, plan)
      return results
    } finally {
      passOn()
    }
  }

  /** QoS 2: notes in the publisher's session that the message is here, before anything is stored. */
  private async begin(items: CommitItem[]): Promise<Attempt[]> {
    const attempts = items.map((): Attempt => ({ status: 'stored', token: '', isRetainedFull: false }))
    const calls: StoreCall[] = []
    const waiting: Attempt[] = []
    items.forEach((item, i) => {
      const attempt = attempts[i]
      if (item.inbound === undefined || attempt === undefined) return
      attempt.token = `${this.tokenPrefix}${++this.tokenCount}`
      const { record, inbound } = this.keys.session(this.keys.place(item.instance, item.inbound.clientId))
      calls.push({
        script: 'begin-inbound-2',
        keys: [record, inbound],
        args: [item.inbound.epoch, item.inbound.packetId, attempt.token],
      })
      waiting.push(attempt)
    })
    if (calls.length === 0) return attempts
    const replies = await this.link.run(calls)
    const issued = new Set(waiting.map(attempt => attempt.token))
    waiting.forEach((attempt, i) => {
      readBegin(attempt, replies[i], issued)
    })
    return attempts
  }

  /** Counts what is to be retained by instances that may not retain all they like. */
  private async makeRoom(items: CommitItem[], attempts: Attempt[]): Promise<void> {
    const limited = items.some(({ retain, limits }) => retain && limits?.retained !== undefined)
    if (!limited) return
    const waiting = items.flatMap((item, i) =>
      attempts[i]?.status === 'stored' ? [{ item, attempt: attempts[i] }] : [],
    )
    const full = await this.retainedRoom.take(waiting.map(({ item }) => item))
    for (const { item, attempt } of waiting) if (full.has(item)) attempt.isRetainedFull = true
  }

  private plan(items: CommitItem[], attempts: Attempt[]): CommitPlan {
    const { limits, nodeId } = this.options
    const plan = new CommitPlan({ keys: this.keys, limits, nodeId, nowMs: Date.now() })
    items.forEach((item, i) => {
      const attempt = attempts[i]
      if (attempt?.status === 'stored') plan.add(item, i, attempt)
    })
    return plan
  }

  private async store(calls: StoreCall[]): Promise<unknown[]> {
    if (calls.length === 0) return []
    if (!this.options.waitForReplica) {
      const replies = this.link.all(calls)
      // The caller has collected the batch already.
      this.link.flush()
      return replies
    }
    const waits = this.link
      .keyPerServer(calls)
      .map((near): StoreCall => ({ command: 'wait', args: [1, REPLICA_TIMEOUT_MS], near }))
    const replies = await this.link.all([...calls, ...waits])
    if (replies.splice(calls.length).some(count => toNumber(count) < 1)) {
      throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'no Redis replica confirmed the change', { retryable: true })
    }
    return replies
  }

  /**
   * QoS 2: notes that the messages are stored. Only then are the dedup tokens forgotten: until then a repeated
   * attempt of any node has to find them.
   */
  private async finish(items: CommitItem[], attempts: Attempt[], plan: CommitPlan): Promise<void> {
    const byPublisher = new Map<string, (string | number)[]>()
    items.forEach((item, i) => {
      const attempt = attempts[i]
      if (item.inbound === undefined || attempt?.status !== 'stored') return
      const { inbound } = this.keys.session(this.keys.place(item.instance, item.inbound.clientId))
      const pairs = byPublisher.get(inbound)
      if (pairs === undefined) byPublisher.set(inbound, [item.inbound.packetId, attempt.token])
      else pairs.push(item.inbound.packetId, attempt.token)
    })
    if (byPublisher.size === 0) return
    await this.link.all([...byPublisher].map(([key, args]) => ({ script: 'finish-inbound-1', keys: [key], args })))
    // Not awaited: a token that stays is dropped by age.
    void this.link.run(plan.forgetCalls())
  }
}

function readBegin(attempt: Attempt, reply: unknown, issued: Set<string>): void {
  if (reply instanceof Error) {
    const error = toBrokerError(reply)
    if (error.code !== 'MIDGE_SESSION_FENCED') throw error
    attempt.status = 'fenced'
    return
  }
  const state = toText(reply)
  if (state === '1') attempt.status = 'duplicate'
  if (!state.startsWith('0:')) return
  const token = state.slice(2)
  // The same packet id twice in one batch: the first of them carries the message.
  if (issued.has(token)) attempt.status = 'duplicate'
  else attempt.token = token
}
