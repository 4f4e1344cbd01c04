import {
  type CommitItem,
  type CommitResult,
  type DetachedMessage,
  detachMessage,
  type InstanceName,
  type QueueLimits,
  type StoreLimits,
} from '@midge/protocol-core'
import { type EntryQueue, StoredEntry } from './entry-queue.ts'
import type { LocalGroups } from './local-groups.ts'
import type { Recorder } from './recorder.ts'
import { type LocalSession, RetainedRecord, type State } from './state.ts'

/** What one append needs to know besides the entry. */
interface Context {
  bytes: Uint8Array
  nowMs: number
  limits: QueueLimits
}

/** Applies committed messages to queues, groups and retained messages. */
export class Commits {
  readonly #state: State
  readonly #recorder: Recorder
  readonly #groups: LocalGroups
  readonly #limits: QueueLimits

  constructor(state: State, recorder: Recorder, groups: LocalGroups, limits: QueueLimits) {
    this.#state = state
    this.#recorder = recorder
    this.#groups = groups
    this.#limits = limits
  }

  apply(item: CommitItem, nowMs: number): CommitResult {
    const { instance, inbound, sessions, groups } = item
    const result: CommitResult = {
      status: 'stored',
      seqs: new Array<number>(sessions.length).fill(0),
      droppedGroups: 0,
    }
    if (inbound !== undefined) {
      const publisher = this.#state.session(instance, inbound.clientId)
      if (publisher === undefined || publisher.epoch !== inbound.epoch) {
        result.status = 'fenced'
        return result
      }
      if (publisher.inbound.has(inbound.packetId)) {
        result.status = 'duplicate'
        return result
      }
      publisher.addInbound(inbound.packetId)
      this.#recorder.inbound(publisher, inbound.packetId)
    }
    if (sessions.length === 0 && groups.length === 0 && !item.retain) return result
    const detached = detachMessage(item.message)
    for (let i = 0; i < sessions.length; i++) {
      const target = sessions[i]
      const session = target === undefined ? undefined : this.#state.session(instance, target.clientId)
      if (target === undefined) continue
      if (session === undefined) {
        result.seqs[i] = -1
        continue
      }
      result.seqs[i] = this.#append(session, new StoredEntry(detached.message, target, detached.bytes.length), {
        bytes: detached.bytes,
        nowMs,
        limits: item.limits?.queue ?? this.#limits,
      })
    }
    for (const group of groups) {
      if (!this.#groups.append(instance, group, { detached, nowMs, limits: item.limits?.queue })) result.droppedGroups++
    }
    if (item.retain && !this.#retain(instance, detached, item.limits?.retained)) result.isRetainedFull = true
    return result
  }

  removeRetained(record: RetainedRecord): void {
    const { topicName } = record.message
    const tenant = this.#state.tenant(record.instance)
    if (tenant.retained.get(topicName) !== record) return
    tenant.retained.delete(topicName)
    tenant.retainedBytes -= record.bytes
    this.#state.retainedDeadlines.cancel(record)
    this.#recorder.retainedRemoved(record.instance, topicName)
  }

  #append(session: LocalSession, entry: StoredEntry, context: Context): number {
    const { limits } = context
    if (isFull(session, entry.size, limits)) {
      this.#dropExpired(session, context.nowMs)
      if (isFull(session, entry.size, limits)) return 0
    }
    const seq = session.queue.append(entry)
    this.#recorder.entry(session, seq, entry, context.bytes)
    return seq
  }

  /** Messages that nobody may see any more do not keep others out. */
  #dropExpired(session: LocalSession, nowMs: number): void {
    const { queue } = session
    const { tailSeq } = queue
    for (let seq = queue.headSeq; seq <= tailSeq; seq++) {
      const entry = queue.at(seq)
      if (entry !== undefined && isExpired(session, seq, entry, nowMs)) dropEntry(session, seq, this.#recorder)
    }
    if (queue.count === 0) this.#recorder.queueEmptied(session)
  }

  /** @returns false when the instance has no room for it */
  #retain(instance: InstanceName, detached: DetachedMessage, limits: StoreLimits['retained']): boolean {
    const { message, bytes } = detached
    const tenant = this.#state.tenant(instance)
    const old = tenant.retained.get(message.topicName)
    if (message.payload.length === 0) {
      if (old !== undefined) this.removeRetained(old)
      return true
    }
    const bytesAfter = tenant.retainedBytes - (old?.bytes ?? 0) + bytes.length
    if (limits !== undefined) {
      if (old === undefined && tenant.retained.size >= limits.messages) return false
      if (bytesAfter > limits.bytes) return false
    }
    if (old !== undefined) this.#state.retainedDeadlines.cancel(old)
    const record = new RetainedRecord(instance, message, bytes.length)
    tenant.retained.set(message.topicName, record)
    tenant.retainedBytes = bytesAfter
    if (message.expiresAtMs !== 0) this.#state.retainedDeadlines.schedule(record, message.expiresAtMs)
    this.#recorder.retained(instance, message.topicName, bytes)
    return true
  }
}

function isFull({ connected, queue }: LocalSession, size: number, limits: QueueLimits): boolean {
  return connected
    ? queue.count >= limits.onlineQueueMessages || queue.bytes + size > limits.onlineQueueBytes
    : queue.count >= limits.offlineQueueMessages || queue.bytes + size > limits.offlineQueueBytes
}

/**
 * Whether a reader is not to see the entry, v5 [MQTT-3.3.2-5]. One that may have been sent stays: a delivery that has
 * begun is completed, v5 [MQTT-4.3.3-7].
 */
export function isExpired(session: LocalSession, seq: number, entry: StoredEntry, nowMs: number): boolean {
  const { expiresAtMs } = entry.message
  return expiresAtMs !== 0 && expiresAtMs <= nowMs && !entry.released && seq > session.sentSeq
}

/** Removes one entry, wherever it stands in the queue. */
export function dropEntry(session: LocalSession, seq: number, recorder: Recorder): void {
  const { queue } = session
  const entry = queue.at(seq)
  if (entry === undefined) return
  queue.remove(seq)
  recorder.entryRemoved(session, seq, entry)
}

/** Drops the entries up to `upToSeq`. */
export function acknowledge(session: LocalSession, upToSeq: number, recorder: Recorder): void {
  const { queue }: { queue: EntryQueue } = session
  const last = Math.min(upToSeq, queue.tailSeq)
  if (last < queue.headSeq) return
  for (let seq = queue.headSeq; seq <= last; seq++) {
    const entry = queue.remove(seq)
    if (entry !== undefined) recorder.entryRemoved(session, seq, entry)
  }
  if (queue.count === 0) recorder.queueEmptied(session)
}
