import {
  BrokerError,
  type CloseRequest,
  detachMessage,
  type OpenedSession,
  type OpenRequest,
  SESSION_EXPIRY_NEVER,
  type Subscription,
  type WillFate,
} from '@midge/protocol-core'
import { dropEntry } from './commits.ts'
import type { LocalGroups } from './groups.ts'
import type { Recorder } from './recorder.ts'
import { LocalSession, type State, WillRecord } from './state.ts'

/** Epochs are promised to the journal in blocks, so that an open does not write the counter each time. */
const EPOCH_BLOCK = 1024

/** The life of sessions and their wills: open, close, expiry, the death of a node. */
export class LocalSessions {
  readonly #state: State
  readonly #recorder: Recorder
  readonly #groups: LocalGroups

  constructor(state: State, recorder: Recorder, groups: LocalGroups) {
    this.#state = state
    this.#recorder = recorder
    this.#groups = groups
  }

  /** @throws BrokerError `MIDGE_SESSION_FENCED` unless the session is there and `epoch` its newest */
  owned(instance: string, clientId: string, epoch: number): LocalSession {
    const session = this.#state.session(instance, clientId)
    if (session === undefined || session.epoch !== epoch) throw fenced()
    return session
  }

  open(request: OpenRequest): OpenedSession {
    const { instance, clientId, nowMs } = request
    const existing = this.#state.session(instance, clientId)
    const previous = existing?.connected === true ? { nodeId: existing.nodeId, epoch: existing.epoch } : undefined
    let endedSubscriptions: Subscription[] = []
    let resumed: LocalSession | undefined
    if (existing !== undefined) {
      const ends = request.cleanStart || hasEnded(existing, nowMs)
      this.#displace(existing, ends, nowMs)
      if (ends) endedSubscriptions = this.end(existing, nowMs)
      else resumed = existing
    }
    const session = resumed ?? this.#create(instance, clientId)
    session.epoch = this.#nextEpoch()
    session.nodeId = request.nodeId
    session.expirySeconds = request.sessionExpirySeconds
    // On bytes of its own: the packet that brought it lies in a receive buffer.
    session.will = request.will && { ...request.will, message: detachMessage(request.will.message).message }
    this.#state.sessionDeadlines.cancel(session)
    this.#state.markConnected(session)
    this.#recorder.session(session)
    return {
      epoch: session.epoch,
      sessionPresent: resumed !== undefined,
      subscriptions: [...session.subscriptions.values()],
      headSeq: session.queue.headSeq,
      tailSeq: session.queue.tailSeq,
      sentSeq: session.sentSeq,
      inboundPacketIds: [...session.inbound],
      previous,
      endedSubscriptions,
    }
  }

  close(request: CloseRequest): Subscription[] {
    const session = this.#state.session(request.instance, request.clientId)
    if (session === undefined) return []
    if (session.epoch !== request.epoch) throw fenced()
    // The call may be a repetition of one that has taken effect.
    if (!session.connected) return []
    session.sentSeq = request.sentSeq
    for (const seq of request.ackedAhead) dropEntry(session, seq, this.#recorder)
    this.#disconnect(session, request.sessionExpirySeconds, request.will, request.nowMs)
    return request.sessionExpirySeconds === 0 ? this.end(session, request.nowMs) : []
  }

  /** Ends up to `countMax` connections of a node, or of all nodes, as abnormally ended. */
  reap(nodeId: string | undefined, nowMs: number, countMax: number): number {
    const nodes = nodeId === undefined ? [...this.#state.connected.keys()] : [nodeId]
    let count = 0
    for (const id of nodes) {
      for (const session of this.#state.connected.get(id) ?? []) {
        if (count === countMax) return count
        count++
        session.sentSeq = session.queue.tailSeq
        this.#disconnect(session, session.expirySeconds, 'fire', nowMs)
        if (session.expirySeconds !== 0) continue
        // Nobody asks this call for the subscriptions, so a session that has any ends in the sweep, which tells them.
        if (session.subscriptions.size === 0) {
          this.end(session, nowMs)
        } else {
          this.#state.sessionDeadlines.schedule(session, nowMs)
          this.#recorder.session(session)
        }
      }
    }
    return count
  }

  /** Ends a session that has no connection any more. */
  end(session: LocalSession, nowMs: number): Subscription[] {
    const pending = session.pendingWill
    // v5 [MQTT-3.1.3-9]: the end of the session is as far as a delay goes.
    if (pending !== undefined && pending.dueAtMs > nowMs) this.#schedule(pending, nowMs)
    session.pendingWill = undefined
    this.#groups.sessionEnded(session)
    this.#recorder.sessionEnded(session)
    this.#state.sessionDeadlines.cancel(session)
    this.#state.tenant(session.instance).sessions.delete(session.clientId)
    const subscriptions = [...session.subscriptions.values()]
    // Whoever still has a reference finds nothing to write to.
    session.subscriptions.clear()
    session.epoch = 0
    return subscriptions
  }

  /** Takes the next will that is due; unless it is confirmed before, it is due again at `againAtMs`. */
  claimWill(nowMs: number, againAtMs: number): WillRecord | undefined {
    const record = this.#state.willDeadlines.takeDue(nowMs)
    if (record === undefined) return undefined
    // Only in memory: a claim dies with the process that made it.
    this.#state.willDeadlines.schedule(record, againAtMs)
    const session = this.#state.session(record.instance, record.clientId)
    if (session?.pendingWill === record) session.pendingWill = undefined
    return record
  }

  /** Forgets a will that was published or cancelled. */
  forgetWill(id: number): void {
    const record = this.#state.wills.get(id)
    if (record === undefined) return
    this.#state.wills.delete(id)
    this.#state.willDeadlines.cancel(record)
    this.#recorder.willRemoved(record)
    const session = this.#state.session(record.instance, record.clientId)
    if (session?.pendingWill === record) session.pendingWill = undefined
  }

  /** The connection of before gives way to a new one; `ends` says that its session does too. */
  #displace(session: LocalSession, ends: boolean, nowMs: number): void {
    if (session.connected) {
      session.sentSeq = session.queue.tailSeq
      // A positive delay is cut short by the new connection, unless the session ends. v5 [MQTT-3.1.3-9]
      const isCancelled = !ends && (session.will?.willDelaySeconds ?? 0) > 0
      this.#disconnect(session, ends ? 0 : session.expirySeconds, isCancelled ? 'discard' : 'fire', nowMs)
      return
    }
    const pending = session.pendingWill
    if (pending === undefined || ends) return
    session.pendingWill = undefined
    // A will whose time has come is published, even if nobody has swept yet.
    if (pending.dueAtMs > nowMs) this.forgetWill(pending.id)
  }

  #disconnect(session: LocalSession, expirySeconds: number, fate: WillFate, nowMs: number): void {
    this.#state.markDisconnected(session)
    session.expirySeconds = expirySeconds
    const { will } = session
    session.will = undefined
    if (will !== undefined && fate === 'fire') {
      const record = new WillRecord(++this.#state.lastWillId, session, will)
      this.#state.wills.set(record.id, record)
      this.#schedule(record, nowMs + Math.min(will.willDelaySeconds, expirySeconds) * 1000)
      session.pendingWill = record
    }
    this.#groups.connectionEnded(session)
    if (expirySeconds === 0) return
    if (expirySeconds !== SESSION_EXPIRY_NEVER) {
      this.#state.sessionDeadlines.schedule(session, nowMs + expirySeconds * 1000)
    }
    this.#recorder.session(session)
  }

  #schedule(record: WillRecord, atMs: number): void {
    this.#state.willDeadlines.schedule(record, atMs)
    this.#recorder.will(record, atMs)
  }

  #create(instance: string, clientId: string): LocalSession {
    const session = new LocalSession(instance, clientId, ++this.#state.lastSessionId)
    this.#state.tenant(instance).sessions.set(clientId, session)
    return session
  }

  #nextEpoch(): number {
    const epoch = ++this.#state.epoch
    if (epoch >= this.#state.epochBound) {
      this.#state.epochBound = epoch + EPOCH_BLOCK
      this.#recorder.epochBound(this.#state.epochBound)
    }
    return epoch
  }
}

function fenced(): BrokerError {
  return new BrokerError('MIDGE_SESSION_FENCED', 'another connection has opened this session since, or it has ended')
}

/** A session whose time is over has ended, even if nobody has swept it yet; one without expiry ends when displaced. */
function hasEnded(session: LocalSession, nowMs: number): boolean {
  if (session.connected) return session.expirySeconds === 0
  return session.dueAtMs !== 0 && session.dueAtMs <= nowMs
}
