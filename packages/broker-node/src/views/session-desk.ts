import {
  BrokerError,
  type Directory,
  type InstanceName,
  type QueueStore,
  type SessionInspection,
  type SessionRecordView,
  type SessionStore,
  type WillStore,
} from '@midge/protocol-core'
import type { QueuedMessageView, SessionView, ViewPage, ViewRequest } from './cluster-views.ts'

/** Longest wait for a connection that has been told to end. */
const END_MS_MAX = 5_000
const END_POLL_MS = 20
/** Sessions of a page that is wiped, and those that end at one time. */
const WIPED_PER_PAGE = 200
const ENDED_AT_ONCE = 16

/** What the desk works with. */
export interface SessionDeskParts {
  nodeId: string
  store: SessionInspection & SessionStore & QueueStore & Pick<WillStore, 'discardWills'>
  directory: Pick<Directory, 'removeStored' | 'settled'>
  /** Closes the connection of a client, wherever it is. @returns false when there was none */
  kick(instance: InstanceName, clientId: string): Promise<boolean>
  /** Share groups among the filters of a session that has ended get back what it held, or end with their last member. */
  leaveGroups(instance: InstanceName, topicFilters: readonly string[]): Promise<void>
  /** Unix time in milliseconds. */
  nowMs(): number
}

/** Stored sessions, as an operator looks at them and ends them. */
export class SessionDesk {
  private readonly parts: SessionDeskParts

  constructor(parts: SessionDeskParts) {
    this.parts = parts
  }

  async list(instance: InstanceName, { cursor, countMax }: ViewRequest): Promise<ViewPage<SessionView>> {
    const items: SessionView[] = []
    let next = cursor
    do {
      const page = await this.parts.store.listSessions(instance, next, countMax - items.length)
      items.push(...page.sessions.map(viewOf))
      next = page.cursor
    } while (next !== undefined && items.length < countMax)
    return { items, cursor: next }
  }

  async find(instance: InstanceName, clientId: string): Promise<SessionView | undefined> {
    const session = await this.parts.store.findSession(instance, clientId)
    return session === undefined || session.expirySeconds === 0 ? undefined : viewOf(session)
  }

  /** @throws BrokerError `MIDGE_NOT_FOUND` */
  async queue(
    instance: InstanceName,
    clientId: string,
    { cursor, countMax }: ViewRequest,
  ): Promise<ViewPage<QueuedMessageView>> {
    const session = await this.existing(instance, clientId)
    const from = Math.max(session.headSeq, cursor === undefined ? 0 : Number(cursor))
    if (!Number.isSafeInteger(from)) throw new BrokerError('MIDGE_INVALID', 'cursor: is none of this list')
    const entries = await this.parts.store.readQueue(instance, clientId, session.epoch, from, countMax)
    const items = entries.map(({ seq, qos, retain, released, message }) => ({
      ...{ seq, topic: message.topicName, qos, retain, payload: message.payload, isReleased: released },
    }))
    const last = items.at(-1)?.seq ?? session.tailSeq
    return { items, cursor: last < session.tailSeq ? String(last + 1) : undefined }
  }

  /** @throws BrokerError `MIDGE_NOT_FOUND`, and `MIDGE_INVALID` while its client is connected */
  async purge(instance: InstanceName, clientId: string): Promise<void> {
    const { epoch, tailSeq, nodeId } = await this.existing(instance, clientId)
    if (nodeId !== undefined) {
      throw new BrokerError('MIDGE_INVALID', `clientId: is connected to ${nodeId}; close its connection first`)
    }
    await this.parts.store.ackQueue(instance, clientId, epoch, tailSeq)
  }

  /** Ends a session, its connection first. @throws BrokerError `MIDGE_NOT_FOUND` */
  async end(instance: InstanceName, clientId: string): Promise<void> {
    const before = await this.parts.store.findSession(instance, clientId)
    if (before === undefined) throw notThere()
    const session = before.nodeId === undefined ? before : await this.disconnected(instance, clientId)
    // One that ended with its connection needs no more.
    if (session !== undefined) await this.endStored(instance, session)
    await this.parts.directory.settled()
  }

  /** Ends all sessions of an instance; of wills that nobody has published yet nothing is left. */
  async wipe(instance: InstanceName): Promise<void> {
    let cursor: string | undefined
    do {
      const page = await this.parts.store.listSessions(instance, cursor, WIPED_PER_PAGE)
      cursor = page.cursor
      const waiting = page.sessions.values()
      const work = async (): Promise<void> => {
        for (const { clientId } of waiting) await this.end(instance, clientId).catch(unlessGone)
      }
      await Promise.all(Array.from({ length: ENDED_AT_ONCE }, work))
    } while (cursor !== undefined)
    await this.parts.store.discardWills(instance)
  }

  /** A clean start by us, that ends with its connection: the way in which a client would end it. */
  private async endStored(instance: InstanceName, { clientId, owner }: SessionRecordView): Promise<void> {
    const { store, directory, leaveGroups, nodeId, nowMs } = this.parts
    const { epoch, endedSubscriptions } = await store.open({
      ...{ instance, clientId, username: owner?.username, nodeId, cleanStart: true, sessionExpirySeconds: 0 },
      ...{ will: undefined, nowMs: nowMs() },
    })
    for (const { topicFilter } of endedSubscriptions) directory.removeStored(instance, clientId, topicFilter)
    await store.close({
      ...{ instance, clientId, epoch, sessionExpirySeconds: 0, sentSeq: 0, ackedAhead: [] },
      ...{ will: 'discard', nowMs: nowMs() },
    })
    await leaveGroups(
      instance,
      endedSubscriptions.map(({ topicFilter }) => topicFilter),
    )
  }

  private async disconnected(instance: InstanceName, clientId: string): Promise<SessionRecordView | undefined> {
    const { store, kick, nowMs } = this.parts
    const deadlineMs = nowMs() + END_MS_MAX
    for (;;) {
      await kick(instance, clientId)
      const session = await store.findSession(instance, clientId)
      // A node that does not let go is fenced by what follows.
      if (session?.nodeId === undefined || nowMs() > deadlineMs) return session
      await new Promise(resolve => setTimeout(resolve, END_POLL_MS))
    }
  }

  private async existing(instance: InstanceName, clientId: string): Promise<SessionRecordView> {
    const session = await this.parts.store.findSession(instance, clientId)
    if (session === undefined) throw notThere()
    return session
  }
}

function viewOf(session: SessionRecordView): SessionView {
  const { clientId, owner, nodeId, expirySeconds, headSeq, tailSeq, queueBytes, subscriptionCount, inboundCount } =
    session
  return {
    ...{ clientId, username: owner?.username, nodeId, expirySeconds, subscriptionCount },
    ...{ queueMessages: tailSeq - headSeq + 1, queueBytes, inboundCount },
  }
}

function notThere(): BrokerError {
  return new BrokerError('MIDGE_NOT_FOUND', 'no such session')
}

function unlessGone(error: unknown): void {
  if (!(error instanceof BrokerError) || error.code !== 'MIDGE_NOT_FOUND') throw error
}
