import { randomBytes } from 'node:crypto'
import {
  BrokerError,
  type CloseRequest,
  type CommitItem,
  type CommitResult,
  type DueWill,
  type InstanceName,
  type OpenedSession,
  type OpenRequest,
  type QueueEntry,
  type QueueLimits,
  type RecordStore,
  type RetainedPage,
  type SessionPage,
  type SessionRecordView,
  type Store,
  type StoredSubscription,
  type StoreListener,
  type Subscription,
  type SweepResult,
  smallestAfter,
  type TakenEntry,
} from '@midge/protocol-core'
import { acknowledge, Commits, isExpired } from './commits.ts'
import type { Journal } from './journal.ts'
import { type LoadProgress, loadState } from './load.ts'
import { LocalGroups } from './local-groups.ts'
import { LocalRecords } from './local-records.ts'
import { LocalSessions } from './local-sessions.ts'
import { Recorder } from './recorder.ts'
import { type LocalSession, State } from './state.ts'

const READ_BYTES_MAX = 256 * 1024
const LIST_PAGE_SUBSCRIPTIONS = 1_000

/** What a {@link LocalStore} is made of. */
export interface LocalStoreOptions {
  limits: QueueLimits
  journal: Journal
  /** Wall clock for the calls that carry no time: which messages have expired. */
  now?: () => number
  /** Called every 2 s while a store with much in it is read back. */
  onProgress?: (progress: LoadProgress) => void
}

/**
 * The store of a node on its own: all state in memory, every change also in a {@link Journal}.
 *
 * A change is applied at once and its promise resolves when the journal has it. The journal takes the changes of a
 * tick as one, so concurrent calls share its cost, and after a crash each call is there as a whole or not at all.
 * When the journal fails, memory is ahead of the disk: from then on every call rejects.
 */
export class LocalStore implements Store {
  /** Kept in the same journal; it has no life of its own beside the store. */
  readonly records: RecordStore
  readonly #journal: Journal
  readonly #recorder: Recorder
  readonly #state: State = new State()
  readonly #groups: LocalGroups
  readonly #sessions: LocalSessions
  readonly #commits: Commits
  readonly #now: () => number
  readonly #onProgress: ((progress: LoadProgress) => void) | undefined
  #isStopped = false

  constructor(options: LocalStoreOptions) {
    this.#journal = options.journal
    this.#recorder = new Recorder(options.journal)
    this.#groups = new LocalGroups(this.#state, this.#recorder, options.limits)
    this.#sessions = new LocalSessions(this.#state, this.#recorder, this.#groups)
    this.#commits = new Commits(this.#state, this.#recorder, this.#groups, options.limits)
    this.records = new LocalRecords(this.#state, this.#recorder, change => this.#apply(change))
    this.#now = options.now ?? Date.now
    this.#onProgress = options.onProgress
  }

  /** Reads back what the journal keeps; once, before any other call. */
  async load(): Promise<void> {
    const options = { now: this.#now, onProgress: this.#onProgress }
    const hasRecords = await loadState(this.#state, this.#journal, options)
    if (hasRecords) return
    this.#recorder.format()
    await this.#journal.flushed()
  }

  /**
   * Ends the connections that were open when the process died, of whatever node, as abnormally ended: their wills
   * become due and their sessions start to expire.
   * @returns how many there were
   */
  recover(nowMs: number): Promise<number> {
    return this.#apply(() => this.#sessions.reap(undefined, nowMs, Number.POSITIVE_INFINITY))
  }

  /** Hints come from other nodes, of which a local store has none. */
  setListener(_listener: StoreListener): void {}

  open(request: OpenRequest): Promise<OpenedSession> {
    return this.#apply(() => this.#sessions.open(request))
  }

  close(request: CloseRequest): Promise<Subscription[]> {
    return this.#apply(() => this.#sessions.close(request))
  }

  saveSubscriptions(
    instance: InstanceName,
    clientId: string,
    epoch: number,
    subscriptions: Subscription[],
  ): Promise<void> {
    return this.#applyOwned(instance, clientId, epoch, session => {
      for (const subscription of subscriptions) {
        session.subscribe({ ...subscription })
        this.#recorder.subscribed(session, subscription)
      }
    })
  }

  removeSubscriptions(instance: InstanceName, clientId: string, epoch: number, topicFilters: string[]): Promise<void> {
    return this.#applyOwned(instance, clientId, epoch, session => {
      for (const topicFilter of topicFilters) {
        if (session.unsubscribe(topicFilter)) this.#recorder.unsubscribed(session, topicFilter)
      }
    })
  }

  /** Hot: no closure, and without a journal nothing to wait for. */
  commit(items: CommitItem[]): Promise<CommitResult[]> {
    const unusable = this.#unusable()
    if (unusable !== undefined) return Promise.reject(unusable)
    const nowMs = this.#now()
    const results: CommitResult[] = []
    try {
      for (let i = 0; i < items.length; i++) {
        const item = items[i]
        if (item !== undefined) results.push(this.#commits.apply(item, nowMs))
      }
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#kept(results)
  }

  readQueue(
    instance: InstanceName,
    clientId: string,
    epoch: number,
    fromSeq: number,
    countMax: number,
  ): Promise<QueueEntry[]> {
    return this.#read(() => {
      const session = this.#sessions.owned(instance, clientId, epoch)
      const { queue } = session
      const nowMs = this.#now()
      const entries: QueueEntry[] = []
      let bytes = 0
      for (let seq = Math.max(fromSeq, queue.headSeq); seq <= queue.tailSeq; seq++) {
        if (entries.length >= countMax || bytes >= READ_BYTES_MAX) break
        const entry = queue.at(seq)
        if (entry === undefined || isExpired(session, seq, entry, nowMs)) continue
        const { qos, retain, subscriptionIds, released, message, size } = entry
        bytes += size
        entries.push({ seq, qos, retain, subscriptionIds, released, message })
      }
      return entries
    })
  }

  tailSeq(instance: InstanceName, clientId: string): Promise<number> {
    return this.#read(() => this.#state.session(instance, clientId)?.queue.tailSeq ?? 0)
  }

  ackQueue(instance: InstanceName, clientId: string, epoch: number, upToSeq: number): Promise<void> {
    return this.#applyOwned(instance, clientId, epoch, session => acknowledge(session, upToSeq, this.#recorder))
  }

  releaseQueue(instance: InstanceName, clientId: string, epoch: number, seqs: number[]): Promise<void> {
    return this.#applyOwned(instance, clientId, epoch, session => {
      for (const seq of seqs) {
        const entry = session.queue.at(seq)
        if (entry === undefined || entry.released) continue
        entry.released = true
        this.#recorder.released(session, seq)
      }
    })
  }

  forgetInbound(instance: InstanceName, clientId: string, epoch: number, packetId: number): Promise<void> {
    return this.#applyOwned(instance, clientId, epoch, session => {
      if (session.removeInbound(packetId)) this.#recorder.inboundRemoved(session, packetId)
    })
  }

  takeGroup(
    instance: InstanceName,
    group: string,
    clientId: string,
    epoch: number,
    packetIds: number[],
  ): Promise<TakenEntry[]> {
    return this.#applyOwned(instance, clientId, epoch, session =>
      this.#groups.take(session, group, packetIds, this.#now()),
    )
  }

  heldOfGroup(instance: InstanceName, group: string, clientId: string, epoch: number): Promise<TakenEntry[]> {
    return this.#applyOwned(instance, clientId, epoch, session => this.#groups.held(session, group))
  }

  ackGroup(instance: InstanceName, group: string, clientId: string, seqs: number[]): Promise<void> {
    return this.#apply(() => this.#groups.ack(instance, group, clientId, seqs))
  }

  releaseGroup(instance: InstanceName, group: string, clientId: string, seqs: number[]): Promise<void> {
    return this.#apply(() => this.#groups.release(instance, group, clientId, seqs))
  }

  returnToGroup(instance: InstanceName, group: string, clientId: string, keepQos2: boolean): Promise<void> {
    return this.#apply(() => this.#groups.giveBack(instance, group, clientId, keepQos2))
  }

  deleteGroup(instance: InstanceName, group: string): Promise<void> {
    return this.#apply(() => this.#groups.delete(instance, group))
  }

  matchRetained(
    instance: InstanceName,
    topicFilter: string,
    cursor: string | undefined,
    countMax: number,
  ): Promise<RetainedPage> {
    return this.#read(() => {
      const index = this.#state.tenants.get(instance)?.retained
      if (index === undefined) return { messages: [], cursor: undefined }
      const page = index.match(topicFilter, cursor, countMax)
      const nowMs = this.#now()
      const messages = []
      for (const { message } of page.values) {
        if (message.expiresAtMs === 0 || message.expiresAtMs > nowMs) messages.push(message)
      }
      return { messages, cursor: page.cursor }
    })
  }

  listSessions(instance: InstanceName, cursor: string | undefined, countMax: number): Promise<SessionPage> {
    return this.#read(() => {
      const sessions = this.#state.tenants.get(instance)?.sessions ?? new Map<string, LocalSession>()
      const names = smallestAfter(sessions.keys(), cursor, countMax)
      const page = names.flatMap(name => sessions.get(name) ?? []).filter(({ expirySeconds }) => expirySeconds > 0)
      return { sessions: page.map(viewOf), cursor: names.length < countMax ? undefined : names.at(-1) }
    })
  }

  findSession(instance: InstanceName, clientId: string): Promise<SessionRecordView | undefined> {
    return this.#read(() => {
      const session = this.#state.session(instance, clientId)
      return session === undefined ? undefined : viewOf(session)
    })
  }

  sweep(_nodeId: string, nowMs: number, countMax: number): Promise<SweepResult> {
    return this.#apply(() => {
      const result: SweepResult = { wills: [], expired: [] }
      while (result.expired.length < countMax) {
        const session = this.#state.sessionDeadlines.takeDue(nowMs)
        if (session === undefined) break
        const { instance, clientId } = session
        result.expired.push({ instance, clientId, subscriptions: this.#sessions.end(session) })
      }
      while (result.wills.length < countMax) {
        const due = this.#sessions.wills.claimNext(nowMs)
        if (due === undefined) break
        result.wills.push(due)
      }
      for (let count = 0; count < countMax; count++) {
        const retained = this.#state.retainedDeadlines.takeDue(nowMs)
        if (retained === undefined) break
        this.#commits.removeRetained(retained)
      }
      return result
    })
  }

  confirmWill(_instance: InstanceName, _clientId: string, id: string): Promise<void> {
    return this.#apply(() => this.#sessions.wills.confirm(Number(id)))
  }

  discardWills(instance: InstanceName): Promise<void> {
    return this.#apply(() => this.#sessions.wills.discardAll(instance))
  }

  claimWill(
    _instance: InstanceName,
    _clientId: string,
    id: string,
    nowMs: number,
  ): Promise<DueWill | 'claimed' | 'gone'> {
    return this.#apply(() => this.#sessions.wills.claimAgain(Number(id), nowMs))
  }

  reapNode(nodeId: string, nowMs: number, countMax: number): Promise<number> {
    return this.#apply(() => this.#sessions.reap(nodeId, nowMs, countMax))
  }

  async *listSubscriptions(): AsyncIterable<StoredSubscription[]> {
    let page: StoredSubscription[] = []
    for (const [instance, tenant] of this.#state.tenants) {
      for (const { clientId, subscriptions } of tenant.sessions.values()) {
        for (const subscription of subscriptions.values()) page.push({ instance, clientId, subscription })
        if (page.length < LIST_PAGE_SUBSCRIPTIONS) continue
        yield page
        page = []
      }
    }
    if (page.length > 0) yield page
  }

  secret(name: string, bytesCount: number): Promise<Uint8Array> {
    return this.#apply(() => {
      let key = this.#state.secrets.get(name)
      if (key === undefined) {
        key = new Uint8Array(randomBytes(bytesCount))
        this.#state.secrets.set(name, key)
        this.#recorder.secret(name, key)
      }
      return key
    })
  }

  ping(): Promise<void> {
    return this.#read(() => undefined)
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    await this.#journal.stop()
  }

  #applyOwned<T>(
    instance: InstanceName,
    clientId: string,
    epoch: number,
    change: (session: LocalSession) => T,
  ): Promise<T> {
    return this.#apply(() => change(this.#sessions.owned(instance, clientId, epoch)))
  }

  #apply<T>(change: () => T): Promise<T> {
    const unusable = this.#unusable()
    if (unusable !== undefined) return Promise.reject(unusable)
    try {
      return this.#kept(change())
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #read<T>(look: () => T): Promise<T> {
    const unusable = this.#unusable()
    if (unusable !== undefined) return Promise.reject(unusable)
    try {
      return Promise.resolve(look())
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Resolves with `value` when the journal has all changes so far. */
  #kept<T>(value: T): Promise<T> {
    return this.#journal.keeps ? this.#journal.flushed().then(() => value) : Promise.resolve(value)
  }

  #unusable(): Error | undefined {
    if (this.#isStopped) return new BrokerError('MIDGE_STORE_UNAVAILABLE', 'the store has been stopped')
    return this.#journal.failure()
  }
}

function viewOf(session: LocalSession): SessionRecordView {
  const { clientId, owner, epoch, expirySeconds, queue, subscriptions, inbound } = session
  return {
    ...{ clientId, owner, epoch, expirySeconds },
    nodeId: session.connected ? session.nodeId : undefined,
    ...{ headSeq: queue.headSeq, tailSeq: queue.tailSeq, queueBytes: queue.bytes },
    ...{ subscriptionCount: subscriptions.size, inboundCount: inbound.size },
  }
}
