import { BrokerError, parseShare, type Subscription } from '@midge/protocol-core'
import type { BrokerCore } from '../broker-core.ts'
import type { CloseHow } from '../ground/close-how.ts'
import type { Session } from './session.ts'

const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 2000

/**
 * Everything that follows the end of a connection: its routes go, the store learns how it ended (will, expiry), and
 * messages that a share group's member still held go to the others.
 *
 * @param how - `fenced` when a newer connection owns the session: then the store is not told anything
 */
export async function endSession(broker: BrokerCore, session: Session, how: CloseHow): Promise<void> {
  const { instance, clientId, connection } = session
  broker.unregister(session)
  const router = broker.routerOf(instance)
  for (const topicFilter of session.subscriptions.keys()) {
    router.removeLive(session, topicFilter)
    broker.updateRoute(instance, topicFilter)
  }
  broker.counters.subscriptionsCurrent -= session.subscriptions.size
  if (how === 'fenced') return
  // The batch of this tick may hold messages of this client; they are stored before its session is closed.
  await broker.publisher.settled()
  broker.groups.flushAcks()
  const ended = await closeInStore(broker, session, how === 'goodbye' ? 'discard' : 'fire')
  for (const subscription of ended) broker.directory.removeStored(instance, clientId, subscription.topicFilter)
  if (connection.terms.hasWill && how !== 'goodbye') broker.pokeSweeper()
  await leaveGroups(broker, instance, session.subscriptions.keys())
}

/**
 * Tells the store until it knows: otherwise the session would stay open there, with a will that nobody fires and an
 * expiry that never starts.
 */
async function closeInStore(broker: BrokerCore, session: Session, will: 'discard' | 'fire'): Promise<Subscription[]> {
  const nowMs = broker.nowMs()
  for (let waitMs = RETRY_MIN_MS; ; waitMs = Math.min(waitMs * 2, RETRY_MAX_MS)) {
    try {
      if (session.queue !== undefined) await session.queue.flushAcks()
      return await broker.store.close({
        instance: session.instance,
        clientId: session.clientId,
        epoch: session.epoch,
        sessionExpirySeconds: session.connection.terms.sessionExpirySeconds,
        sentSeq: session.queue?.sentSeq ?? 0,
        ackedAhead: session.queue?.acknowledgedAhead ?? [],
        will,
        nowMs,
      })
    } catch (error) {
      const mayHelp = error instanceof BrokerError && error.code === 'MIDGE_STORE_UNAVAILABLE' && !broker.isDraining
      if (!mayHelp) throw error
      if (waitMs === RETRY_MIN_MS) broker.onBackgroundFailure('end of a session', error)
    }
    await new Promise(resolve => setTimeout(resolve, waitMs).unref())
  }
}

/** Ends a session whose client went away while the store was opening it. */
export async function abandonSession(broker: BrokerCore, session: Session): Promise<void> {
  const ended = await closeInStore(broker, session, 'fire')
  await withdraw(broker, session.instance, session.clientId, ended)
  broker.pokeSweeper()
}

/** Withdraws the subscriptions of a stored session that has ended. */
export async function withdraw(
  broker: BrokerCore,
  instance: string,
  clientId: string,
  subscriptions: Subscription[],
): Promise<void> {
  for (const { topicFilter } of subscriptions) broker.directory.removeStored(instance, clientId, topicFilter)
  await leaveGroups(
    broker,
    instance,
    subscriptions.map(subscription => subscription.topicFilter),
  )
}

/** Lets the remaining members of share groups have what came back, or ends groups that have none. */
export async function leaveGroups(broker: BrokerCore, instance: string, topicFilters: Iterable<string>): Promise<void> {
  for (const topicFilter of topicFilters) {
    if (parseShare(topicFilter) === undefined) continue
    if (broker.routerOf(instance).group(topicFilter) === undefined)
      await broker.store.deleteGroup(instance, topicFilter)
    else broker.groups.announce(instance, topicFilter)
  }
}
