import {
  BrokerError,
  type CloseRequest,
  type DueWill,
  decideClose,
  decideStart,
  decideWillOnOpen,
  detachMessage,
  type OpenedSession,
  type OpenRequest,
  type SessionFacts,
  type SessionStart,
  type Subscription,
  standingOf,
  standingOfOpenWill,
  type WillFate,
} from '@midge/protocol-core'
import { dropEntry } from './commits.ts'
import type { LocalGroups } from './local-groups.ts'
import { LocalWills } from './local-wills.ts'
import type { Recorder } from './recorder.ts'
import { LocalSession, type State } from './state.ts'

/** Epochs are promised to the journal in blocks, so that an open does not write the counter each time. */
const EPOCH_BLOCK = 1024

/** The life of sessions: open, close, expiry, the death of a node. What happens is decided by `session-rules.ts`. */
export class LocalSessions {
  readonly wills: LocalWills
  readonly #state: State
  readonly #recorder: Recorder
  readonly #groups: LocalGroups

  constructor(state: State, recorder: Recorder, groups: LocalGroups) {
    this.#state = state
    this.#recorder = recorder
    this.#groups = groups
    this.wills = new LocalWills(state, recorder)
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
    const standing = standingOf(existing && factsOf(existing), nowMs)
    if (standing !== 'overdue' && isOfAnother(existing, request.username)) throw owned()
    const previous = existing?.connected === true ? { nodeId: existing.nodeId, epoch: existing.epoch } : undefined
    const start = decideStart(standing, request.cleanStart)
    this.#checkRoom(request, existing)
    const { due, claimed } = this.wills.onOpen(instance, clientId, start, nowMs)
    const displacedWill = existing?.connected === true ? this.#displace(existing, start, nowMs) : undefined
    const endedSubscriptions = existing !== undefined && start === 'replaced' ? this.end(existing) : []
    const session = existing !== undefined && start === 'resumed' ? existing : this.#create(instance, clientId)
    session.epoch = this.#nextEpoch()
    session.nodeId = request.nodeId
    session.owner = { username: request.username }
    session.expirySeconds = request.sessionExpirySeconds
    // On bytes of its own: the packet that brought it lies in a receive buffer.
    session.will = request.will && { ...request.will, message: detachMessage(request.will.message).message }
    this.#state.sessionDeadlines.cancel(session)
    this.#state.markConnected(session)
    this.#recorder.session(session)
    return {
      epoch: session.epoch,
      sessionPresent: start === 'resumed',
      subscriptions: [...session.subscriptions.values()],
      headSeq: session.queue.headSeq,
      tailSeq: session.queue.tailSeq,
      sentSeq: session.sentSeq,
      inboundPacketIds: [...session.inbound],
      previous,
      displacedWill,
      dueWills: due,
      claimedWills: claimed,
      endedSubscriptions,
    }
  }

  close(request: CloseRequest): Subscription[] {
    const { instance, clientId, epoch, nowMs } = request
    const session = this.#state.session(instance, clientId)
    if (session === undefined || session.epoch !== epoch || !session.connected) {
      if (request.will === 'discard') this.wills.discard(instance, clientId, epoch)
      if (session !== undefined && session.epoch !== epoch) throw fenced()
      // The call may be a repetition of one that has taken effect.
      return []
    }
    session.sentSeq = request.sentSeq
    for (const seq of request.ackedAhead) dropEntry(session, seq, this.#recorder)
    session.expirySeconds = request.sessionExpirySeconds
    this.#disconnect(session, request.will, nowMs)
    return session.expirySeconds === 0 ? this.end(session) : []
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
        this.#disconnect(session, 'fire', nowMs)
        if (session.expirySeconds !== 0) continue
        // Nobody asks this call for the subscriptions, so a session that has any ends in the sweep, which tells them.
        if (session.subscriptions.size === 0) {
          this.end(session)
        } else {
          this.#state.sessionDeadlines.schedule(session, nowMs)
          this.#recorder.session(session)
        }
      }
    }
    return count
  }

  /** Ends a session that has no connection any more. */
  end(session: LocalSession): Subscription[] {
    this.#groups.sessionEnded(session)
    this.#recorder.sessionEnded(session)
    this.#state.sessionDeadlines.cancel(session)
    this.#state.tenant(session.instance).sessions.delete(session.clientId)
    const subscriptions = [...session.subscriptions.values()]
    // Whoever still has a reference finds nothing to write to.
    session.unsubscribeAll()
    session.epoch = 0
    return subscriptions
  }

  /** @throws BrokerError `MIDGE_PLAN_LIMIT` */
  #checkRoom({ instance, storedSessionsMax }: OpenRequest, existing: LocalSession | undefined): void {
    if (storedSessionsMax === undefined || (existing !== undefined && existing.expirySeconds > 0)) return
    let count = 0
    for (const { expirySeconds } of this.#state.tenant(instance).sessions.values()) if (expirySeconds > 0) count++
    if (count >= storedSessionsMax) throw new BrokerError('MIDGE_PLAN_LIMIT', `${count} sessions are stored already`)
  }

  /** The open connection gives way to a new one. @returns its will, if that is to be published */
  #displace(session: LocalSession, start: SessionStart, nowMs: number): DueWill | undefined {
    const { will } = session
    session.will = undefined
    session.sentSeq = session.queue.tailSeq
    this.#state.markDisconnected(session)
    this.#groups.connectionEnded(session)
    if (will === undefined) return undefined
    if (decideWillOnOpen(standingOfOpenWill(will.willDelaySeconds), start) === 'cancel') return undefined
    return this.wills.claim(this.wills.fire(session, will, nowMs), nowMs)
  }

  #disconnect(session: LocalSession, fate: WillFate, nowMs: number): void {
    const { will, expirySeconds } = session
    const closed = decideClose({ fate, willDelaySeconds: will?.willDelaySeconds, expirySeconds, nowMs })
    this.#state.markDisconnected(session)
    session.will = undefined
    if (will !== undefined && closed.willDueAtMs !== undefined) this.wills.fire(session, will, closed.willDueAtMs)
    this.#groups.connectionEnded(session)
    if (closed.session === 'ends') return
    if (closed.session === 'expires') this.#state.sessionDeadlines.schedule(session, closed.expiresAtMs)
    this.#recorder.session(session)
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

function owned(): BrokerError {
  return new BrokerError('MIDGE_CLIENT_ID_OWNED', 'a session of this client id belongs to another user')
}

function isOfAnother(session: LocalSession | undefined, username: string | undefined): boolean {
  return session?.owner !== undefined && session.owner.username !== username
}

function factsOf(session: LocalSession): SessionFacts {
  return { isConnected: session.connected, expirySeconds: session.expirySeconds, expiresAtMs: session.dueAtMs }
}
