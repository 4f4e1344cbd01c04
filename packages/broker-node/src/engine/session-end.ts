import { parseShare } from '@midge/protocol-core'
import type { BrokerCore } from './broker-core.ts'
import type { Session } from './session.ts'

/**
 * Everything that follows the end of a connection: its routes go, the store learns how it ended (will, expiry), and
 * messages that a share group's member still held go to the others.
 *
 * @param how - `fenced` when a newer connection owns the session: then the store is not told anything
 */
export async function endSession(
  broker: BrokerCore,
  session: Session,
  how: 'fenced' | 'error' | 'goodbye' | 'refused',
): Promise<void> {
  const { instance, clientId, epoch, connection } = session
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
  if (session.queue !== undefined) await session.queue.flushAcks()
  broker.groups.flushAcks()
  const ended = await broker.store.close({
    instance,
    clientId,
    epoch,
    sessionExpirySeconds: connection.terms.sessionExpirySeconds,
    sentSeq: session.queue?.sentSeq ?? 0,
    ackedAhead: session.queue?.acknowledgedAhead ?? [],
    will: how === 'goodbye' ? 'discard' : 'fire',
    nowMs: broker.nowMs(),
  })
  for (const subscription of ended) broker.directory.removeStored(instance, clientId, subscription.topicFilter)
  if (connection.terms.hasWill && how !== 'goodbye') broker.pokeSweeper()
  for (const topicFilter of session.subscriptions.keys()) {
    if (parseShare(topicFilter) !== undefined) await leaveGroup(broker, instance, topicFilter)
  }
}

/** Lets the remaining members have what came back, or ends a group that has none. */
export async function leaveGroup(broker: BrokerCore, instance: string, group: string): Promise<void> {
  if (broker.routerOf(instance).group(group) === undefined) await broker.store.deleteGroup(instance, group)
  else broker.groups.announce(instance, group)
}
