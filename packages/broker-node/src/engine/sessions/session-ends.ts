import { BrokerError, type InstanceName, type Subscription, type WillFate } from '@midge/protocol-core'
import { reportBackgroundFailure } from '../ground/background-failure.ts'
import type { CloseHow } from '../ground/close-how.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Routers } from '../routing/routers.ts'
import type { Session } from './session.ts'
import type { SessionRegistry } from './session-registry.ts'

const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 2000

/** What the end of sessions works with. */
export interface SessionEndParts {
  readonly services: Pick<EngineServices, 'counters' | 'directory' | 'logger' | 'nowMs' | 'store'>
  readonly sessions: SessionRegistry
  readonly routers: Routers
  readonly publisher: {
    /** Resolves when everything published on this node so far has been stored, or refused. */
    settled(): Promise<void>
  }
  readonly groups: GroupEnds & {
    /** Tells the store what members have acknowledged. */
    flushAcks(): void
  }
  readonly sweeper: {
    /** A will may be due now. */
    poke(): void
  }
}

/** Share groups, as far as subscriptions end. */
export interface GroupEnds {
  /** Lets the remaining members of share groups have what came back, or ends groups that have none. */
  leave(instance: InstanceName, topicFilters: Iterable<string>): Promise<void>
}

/** Withdraws the subscriptions of a stored session that has ended. */
export async function withdraw(
  parts: { services: Pick<EngineServices, 'directory'>; groups: GroupEnds },
  session: { instance: InstanceName; clientId: string },
  subscriptions: Subscription[],
): Promise<void> {
  const { instance, clientId } = session
  const topicFilters = subscriptions.map(subscription => subscription.topicFilter)
  for (const topicFilter of topicFilters) parts.services.directory.removeStored(instance, clientId, topicFilter)
  await parts.groups.leave(instance, topicFilters)
}

/**
 * Everything that follows the end of a connection: its routes go, the store learns how it ended (will, expiry), and
 * messages that a share group's member still held go to the others.
 */
export class SessionEnds {
  private readonly parts: SessionEndParts
  private isStopping = false

  constructor(parts: SessionEndParts) {
    this.parts = parts
  }

  /** From here on a store that does not answer is not waited for. */
  stopRetrying(): void {
    this.isStopping = true
  }

  /**
   * Ends the session of a connection that has ended; its routes are gone when this returns.
   * @returns resolves when the store knows, or will never know
   */
  end(session: Session, how: CloseHow): Promise<void> {
    const { sessions, services } = this.parts
    const ended = this.run(session, how).catch((error: unknown) =>
      reportBackgroundFailure(services, 'end of a session', error),
    )
    return sessions.trackEnding(session, ended)
  }

  /** Ends a session that was opened for a connection which does not get CONNACK. */
  async abandon(session: Session, will: WillFate): Promise<void> {
    const subscriptions = await this.closeInStore(session, will)
    await withdraw(this.parts, session, subscriptions)
    this.parts.sweeper.poke()
  }

  private async run(session: Session, how: CloseHow): Promise<void> {
    const { services, sessions, routers, publisher, groups, sweeper } = this.parts
    const { instance, clientId } = session
    sessions.unregister(session)
    session.onClosed()
    const router = routers.of(instance)
    for (const topicFilter of session.subscriptions.keys()) {
      router.removeLive(session, topicFilter)
      routers.announce(instance, topicFilter)
    }
    services.counters.subscriptionsCurrent -= session.subscriptions.size
    if (how === 'fenced') return
    if (how === 'goodbye' && session.hasWill) sessions.noteGoodbye(session)
    // The batch of this tick may hold messages of this client; they are stored before its session is closed.
    await publisher.settled()
    groups.flushAcks()
    const ended = await this.closeInStore(session, how === 'goodbye' ? 'discard' : 'fire')
    sessions.forgetGoodbye(session)
    for (const { topicFilter } of ended) services.directory.removeStored(instance, clientId, topicFilter)
    if (session.hasWill && how !== 'goodbye') sweeper.poke()
    await groups.leave(instance, session.subscriptions.keys())
  }

  /**
   * Tells the store until it knows: otherwise the session would stay open there, with a will that nobody fires and an
   * expiry that never starts.
   */
  private async closeInStore(session: Session, will: WillFate): Promise<Subscription[]> {
    const { services } = this.parts
    const nowMs = services.nowMs()
    for (let waitMs = RETRY_MIN_MS; ; waitMs = Math.min(waitMs * 2, RETRY_MAX_MS)) {
      try {
        if (session.queue !== undefined) await session.queue.flushAcks()
        return await services.store.close({
          instance: session.instance,
          clientId: session.clientId,
          epoch: session.epoch,
          sessionExpirySeconds: session.expirySeconds,
          sentSeq: session.queue?.sentSeq ?? 0,
          ackedAhead: session.queue?.acknowledgedAhead ?? [],
          will,
          nowMs,
        })
      } catch (error) {
        const mayHelp = error instanceof BrokerError && error.code === 'MIDGE_STORE_UNAVAILABLE' && !this.isStopping
        if (!mayHelp) throw error
        if (waitMs === RETRY_MIN_MS) reportBackgroundFailure(services, 'end of a session', error)
      }
      await new Promise(resolve => setTimeout(resolve, waitMs).unref())
    }
  }
}
