import { type InstanceName, instanceKey, ReasonCode } from '@midge/protocol-core'
import { reportBackgroundFailure } from '../ground/background-failure.ts'
import type { Outlet } from '../ground/outlet.ts'
import type { EngineServices } from '../ground/services.ts'
import { Goodbyes } from './goodbyes.ts'
import { type Hints, Openings } from './openings.ts'
import type { Session } from './session.ts'

/** How long packets that wait for a step of an earlier one may delay the end of a connection that was taken over. */
const READ_UP_MS = 500
const READ_UP_STEP_MS = 5

/** The sessions that have a connection on this node, and those that are just being opened or ended. */
export class SessionRegistry {
  private readonly services: Pick<EngineServices, 'counters' | 'logger' | 'store'>
  private readonly sessions = new Map<string, Session>()
  private readonly openings = new Openings()
  private readonly goodbyes = new Goodbyes()
  /** Ends of sessions that the store does not know of yet, by client. */
  private readonly endings = new Map<string, Promise<void>>()

  constructor(services: Pick<EngineServices, 'counters' | 'logger' | 'store'>) {
    this.services = services
  }

  sessionOf(instance: InstanceName, clientId: string): Session | undefined {
    return this.sessions.get(instanceKey(instance, clientId))
  }

  /** True while no session is being opened or ended. */
  get isSettled(): boolean {
    return this.openings.isEmpty && this.endings.size === 0
  }

  /**
   * Runs the opening of a session up to its `register`. Another node may open the same session meanwhile and its
   * takeover may arrive before there is a session here to close: `register` then refuses.
   */
  whileOpening<T>(instance: InstanceName, clientId: string, open: (hints: Hints) => Promise<T>): Promise<T> {
    return this.openings.during(instance, clientId, open)
  }

  /**
   * Makes the session the one of its client id on this node; an older one is closed.
   * @returns false when a newer one is already there: the caller's connection has been overtaken
   */
  register(session: Session): boolean {
    const key = instanceKey(session.instance, session.clientId)
    const other = this.sessions.get(key)
    if (other !== undefined && other.epoch > session.epoch) return false
    if (this.openings.overtakenBy(session.instance, session.clientId) >= session.epoch) return false
    this.sessions.set(key, session)
    this.services.counters.sessionsCurrent = this.sessions.size
    if (other !== undefined) this.takeOver(other)
    return true
  }

  unregister(session: Session): void {
    const key = instanceKey(session.instance, session.clientId)
    if (this.sessions.get(key) === session) this.sessions.delete(key)
    this.services.counters.sessionsCurrent = this.sessions.size
  }

  /**
   * Another connection, here or on another node, owns the session of this client id since `epoch`: the one of here is
   * closed. What it has sent before is read first, because a DISCONNECT may be on its way.
   * @returns how the connection of `epoch` ended: `goodbye` when DISCONNECT had discarded its will
   */
  async release(instance: InstanceName, clientId: string, epoch: number): Promise<'goodbye' | 'released'> {
    this.openings.onTakeover(instance, clientId, epoch)
    const session = this.sessionOf(instance, clientId)
    if (session !== undefined && session.epoch <= epoch) {
      await readUp(session.outlet)
      if (!session.outlet.isClosed) this.takeOver(session)
    }
    return this.goodbyes.has(instance, clientId, epoch) ? 'goodbye' : 'released'
  }

  /** DISCONNECT has discarded the will of the session's connection; the store does not know yet. */
  noteGoodbye({ instance, clientId, epoch }: Session): void {
    this.goodbyes.note(instance, clientId, epoch)
  }

  /** The store knows how the session's connection has ended. */
  forgetGoodbye({ instance, clientId, epoch }: Session): void {
    this.goodbyes.forget(instance, clientId, epoch)
  }

  /** The queue of a session has grown, by whoever's commit. */
  onQueueGrew(instance: InstanceName, clientId: string, tailSeq: number): void {
    this.noteGrowth(instance, clientId, tailSeq)
    this.sessionOf(instance, clientId)?.queue?.onGrew(tailSeq)
  }

  /** A queue has grown by a commit of this node: for a session that is just being opened, of which the reader may not know. */
  noteGrowth(instance: InstanceName, clientId: string, tailSeq: number): void {
    if (!this.openings.isEmpty) this.openings.onGrew(instance, clientId, tailSeq)
  }

  /** Announcements may have been lost: looks at the true tails. */
  refreshQueues(): void {
    const { store } = this.services
    for (const session of this.sessions.values()) {
      if (session.queue === undefined) continue
      store
        .tailSeq(session.instance, session.clientId)
        .then(tailSeq => session.queue?.onGrew(tailSeq))
        .catch((error: unknown) => reportBackgroundFailure(this.services, 'queue refresh', error))
    }
  }

  /**
   * Keeps the end of a session until the store knows of it.
   * @param ended - must not reject
   * @returns resolves when the store knows of this end and of those before it
   */
  trackEnding(session: Session, ended: Promise<void>): Promise<void> {
    const key = instanceKey(session.instance, session.clientId)
    const earlier = this.endings.get(key)
    const ending = ended
      .then(() => earlier)
      .finally(() => {
        if (this.endings.get(key) === ending) this.endings.delete(key)
      })
    this.endings.set(key, ending)
    return ending
  }

  /** Resolves when the store knows how earlier connections of this client have ended. */
  endingOf(instance: InstanceName, clientId: string): Promise<void> | undefined {
    return this.endings.get(instanceKey(instance, clientId))
  }

  /** Resolves when the store knows of every end so far. */
  async allEnded(): Promise<void> {
    await Promise.all(this.endings.values())
  }

  private takeOver(session: Session): void {
    this.services.counters.sessionsTakenOver++
    session.outlet.close(ReasonCode.sessionTakenOver, 'session taken over', { isFenced: true })
  }
}

/** Resolves when what the client had sent before the call has been handled. */
async function readUp(outlet: Outlet): Promise<void> {
  for (let waitedMs = 0; outlet.isBehind && waitedMs < READ_UP_MS; waitedMs += READ_UP_STEP_MS) {
    await new Promise(resolve => setTimeout(resolve, READ_UP_STEP_MS))
  }
  // Between the two the event loop looks at every socket once.
  await new Promise<void>(resolve => setImmediate(() => setImmediate(resolve)))
}
