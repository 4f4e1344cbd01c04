import {
  checkTopicFilter,
  encodeSuback,
  encodeUnsuback,
  parseShare,
  ReasonCode,
  type SubscribePacket,
  type SubscribeRequest,
  type Subscription,
  type UnsubscribePacket,
} from '@midge/protocol-core'
import type { Connection } from '../connection/connection.ts'
import { replayRetained } from '../delivery/retained-replay.ts'
import type { Session } from '../sessions/session.ts'
import { leaveGroups } from '../sessions/session-end.ts'

/** A filter that was granted, and whether the session did not have it before. */
interface Granted {
  subscription: Subscription
  isNew: boolean
}

/**
 * SUBSCRIBE: every filter is decided on its own, then all are stored and announced together, then SUBACK, then the
 * retained messages. SUBACK waits until every live node routes to this one (promise P2).
 */
export async function handleSubscribe(connection: Connection, packet: SubscribePacket): Promise<void> {
  const { broker, session } = connection
  if (session === undefined) return
  // Packets take effect in order: what this client published before is stored first.
  if (connection.hasPending) await broker.publisher.settled()
  const codes: number[] = []
  const granted: Granted[] = []
  for (const request of packet.requests) {
    const code = await decide(connection, session, request)
    // The session has been taken apart meanwhile: nothing may be added to it.
    if (connection.isClosed) return
    codes.push(code)
    if (code <= 2) granted.push(grant(connection, session, request, code, packet.subscriptionId))
  }
  await announce(connection, session, granted)
  if (connection.isClosed) return
  connection.send(encodeSuback(connection.version, packet.packetId, codes))
  broker.hooks.subscribed(connection, packet.requests)
  // A retained message that is still on its way into the store belongs to what this subscriber has to see.
  await broker.publisher.settled()
  connection.queueReplay(() => serve(connection, session, granted))
}

/** @returns the granted QoS, or the reason code of the refusal */
async function decide(connection: Connection, session: Session, request: SubscribeRequest): Promise<number> {
  const { limits, hooks } = connection.broker
  const problem = checkTopicFilter(request.topicFilter, limits.topicLevelsMax)
  if (problem !== 0) return problem
  const isNew = !session.subscriptions.has(request.topicFilter)
  if (isNew && session.subscriptions.size >= limits.subscriptionsPerSessionMax) return ReasonCode.quotaExceeded
  const verdict = await hooks.maySubscribe(connection, request)
  return verdict === 0 ? request.qos : verdict
}

/** Makes a filter part of the session; messages follow with {@link activate}. */
function grant(
  connection: Connection,
  session: Session,
  request: SubscribeRequest,
  qos: number,
  subscriptionId: number,
): Granted {
  const { broker } = connection
  const subscription: Subscription = {
    topicFilter: request.topicFilter,
    qos: qos === 2 ? 2 : qos === 1 ? 1 : 0,
    noLocal: request.noLocal,
    retainAsPublished: request.retainAsPublished,
    retainHandling: request.retainHandling,
    subscriptionId,
  }
  const isNew = !session.subscriptions.has(request.topicFilter)
  if (isNew) broker.counters.subscriptionsCurrent++
  session.subscriptions.set(request.topicFilter, subscription)
  return { subscription, isNew }
}

/**
 * Puts new subscriptions into effect. What a session keeps and what its connection receives change in the same turn:
 * a filter that is replaced has no moment in which neither the old nor the new one holds. v5 [MQTT-3.8.4-3]
 */
function activate(connection: Connection, session: Session, granted: Granted[]): void {
  const { broker } = connection
  const router = broker.routerOf(session.instance)
  for (const { subscription } of granted) {
    if (session.isStored) broker.directory.addStored(session.instance, session.clientId, subscription)
    if (connection.isClosed) continue
    router.addLive(session, subscription)
    broker.updateRoute(session.instance, subscription.topicFilter)
  }
}

async function announce(connection: Connection, session: Session, granted: Granted[]): Promise<void> {
  const { broker } = connection
  if (granted.length === 0) return
  if (session.isStored) {
    const subscriptions = granted.map(item => item.subscription)
    await broker.store.saveSubscriptions(session.instance, session.clientId, session.epoch, subscriptions)
  }
  activate(connection, session, granted)
  if (!(await broker.directory.settled())) broker.counters.subackBarrierTimeouts++
}

/** v5 section 3.3.1.3 and [MQTT-3.3.1-9] to [MQTT-3.3.1-11]; shared subscriptions get no retained messages. */
async function serve(connection: Connection, session: Session, granted: Granted[]): Promise<void> {
  for (const { subscription, isNew } of granted) {
    if (connection.isClosed) return
    if (parseShare(subscription.topicFilter) !== undefined) {
      connection.broker.groups.drain(session.instance, subscription.topicFilter)
    } else if (subscription.retainHandling === 0 || (subscription.retainHandling === 1 && isNew)) {
      await replayRetained(connection, session, subscription)
    }
  }
}

/** UNSUBSCRIBE. Deliveries that have begun are completed. v5 [MQTT-3.10.4-1] to [MQTT-3.10.4-3]. */
export async function handleUnsubscribe(connection: Connection, packet: UnsubscribePacket): Promise<void> {
  const { broker, session } = connection
  if (session === undefined) return
  const router = broker.routerOf(session.instance)
  const codes: number[] = []
  const removed: string[] = []
  for (const topicFilter of packet.topicFilters) {
    if (checkTopicFilter(topicFilter, broker.limits.topicLevelsMax) !== 0) {
      codes.push(ReasonCode.topicFilterInvalid)
    } else if (session.subscriptions.delete(topicFilter)) {
      broker.counters.subscriptionsCurrent--
      router.removeLive(session, topicFilter)
      broker.updateRoute(session.instance, topicFilter)
      removed.push(topicFilter)
      codes.push(ReasonCode.success)
    } else {
      codes.push(ReasonCode.noSubscriptionExisted)
    }
  }
  if (session.isStored && removed.length > 0) {
    for (const topicFilter of removed) broker.directory.removeStored(session.instance, session.clientId, topicFilter)
    await broker.store.removeSubscriptions(session.instance, session.clientId, session.epoch, removed)
    // v5 [MQTT-3.10.4-2]: after UNSUBACK no node may store for these filters.
    await broker.directory.settled()
  }
  await leaveGroups(broker, session.instance, removed)
  connection.send(encodeUnsuback(connection.version, packet.packetId, codes))
  broker.hooks.unsubscribed(connection, removed)
}
