import {
  checkTopicFilter,
  codesAnswerSize,
  encodeSuback,
  encodeUnsuback,
  ProtocolError,
  parseShare,
  ReasonCode,
  type SubscribeRequest,
  type Subscription,
} from '@midge/protocol-core'
import type { GroupQueues } from '../delivery/group-queues.ts'
import type { Publisher } from '../delivery/publisher.ts'
import { replayRetained } from '../delivery/retained-replay.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Routers } from '../routing/routers.ts'
import type { OpenClient } from './open-client.ts'

/** What SUBSCRIBE and UNSUBSCRIBE work with. */
export interface SubscribeParts {
  readonly services: Pick<EngineServices, 'counters' | 'directory' | 'hooks' | 'limits' | 'store'>
  readonly routers: Routers
  readonly groups: GroupQueues
  readonly publisher: Publisher
}

/** The client that subscribes. */
interface SubscribingClient extends OpenClient {
  /** Messages of this client may be on their way into the store. */
  readonly hasPending: boolean
}

/** What is to be subscribed to; the answer is only sent when there is a packet id. */
export interface SubscribeWish {
  readonly requests: SubscribeRequest[]
  /** v5 Subscription Identifier; 0 when absent. */
  readonly subscriptionId: number
  readonly packetId: number | undefined
}

/** What is to be unsubscribed from; the answer is only sent when there is a packet id. */
export interface UnsubscribeWish {
  readonly topicFilters: string[]
  readonly packetId: number | undefined
}

/** A filter that was granted, and whether the session did not have it before. */
interface Granted {
  subscription: Subscription
  isNew: boolean
}

/**
 * SUBSCRIBE: every filter is decided on its own, then all are stored and announced together, then SUBACK, then the
 * retained messages. SUBACK waits until every live node routes to this one (promise P2).
 */
export async function handleSubscribe(
  parts: SubscribeParts,
  client: SubscribingClient,
  wish: SubscribeWish,
): Promise<void> {
  const { connection, session } = client
  const { publisher, services } = parts
  if (wish.packetId !== undefined) checkAnswer(client, wish.requests.length)
  // Packets take effect in order: what this client published before is stored first.
  if (client.hasPending) await publisher.settled()
  const codes: number[] = []
  const granted: Granted[] = []
  for (const request of wish.requests) {
    const code = await decide(parts, client, request)
    // The session has been taken apart meanwhile: nothing may be added to it.
    if (connection.isClosed) return
    codes.push(code)
    if (code > 2) continue
    if (client.isBridge) askForBridge(request)
    granted.push(grant(parts, client, subscriptionOf(request, code, wish.subscriptionId)))
  }
  await announce(parts, client, granted)
  if (connection.isClosed) return
  if (wish.packetId !== undefined) connection.send(encodeSuback(connection.version, wish.packetId, codes))
  services.hooks.subscribed(connection, wish.requests, codes)
  // A retained message that is still on its way into the store belongs to what this subscriber has to see.
  await publisher.settled()
  session.queueReplay(() => serve(parts, client, granted))
}

/** v5 [MQTT-3.1.2-24]: found out before anything changes that the client would never hear of. */
function checkAnswer({ connection }: OpenClient, codes: number): void {
  if (!connection.isV5 || connection.takes(codesAnswerSize(codes))) return
  throw new ProtocolError(ReasonCode.packetTooLarge, "the answer is larger than the client's Maximum Packet Size")
}

/** @returns the granted QoS, or the reason code of the refusal */
async function decide(parts: SubscribeParts, client: OpenClient, request: SubscribeRequest): Promise<number> {
  const { limits } = parts.services
  const { connection, rights, session } = client
  const problem = checkTopicFilter(request.topicFilter, limits.topicLevelsMax)
  if (problem !== 0) return problem
  const isNew = !session.subscriptions.has(request.topicFilter)
  const { size } = session.subscriptions
  if (isNew && !client.usage.takesSubscription(size, limits.subscriptionsPerSessionMax, session.clientId))
    return ReasonCode.quotaExceeded
  const verdict = await rights.maySubscribe(connection, request)
  return verdict === 0 ? request.qos : verdict
}

/**
 * What a bridge would say in MQTT 5. A share group has no No Local, v5 [MQTT-3.8.3-4]: its messages go to whose turn it
 * is.
 */
function askForBridge(request: SubscribeRequest): void {
  request.noLocal = parseShare(request.topicFilter) === undefined
  request.retainAsPublished = true
}

function subscriptionOf(request: SubscribeRequest, qos: number, subscriptionId: number): Subscription {
  return {
    topicFilter: request.topicFilter,
    qos: qos === 2 ? 2 : qos === 1 ? 1 : 0,
    noLocal: request.noLocal,
    retainAsPublished: request.retainAsPublished,
    retainHandling: request.retainHandling,
    subscriptionId,
  }
}

/** Makes a filter part of the session; messages follow with {@link activate}. */
function grant({ services }: SubscribeParts, { session }: OpenClient, subscription: Subscription): Granted {
  const isNew = !session.subscriptions.has(subscription.topicFilter)
  if (isNew) services.counters.subscriptionsCurrent++
  session.subscribe(subscription)
  return { subscription, isNew }
}

/**
 * Puts new subscriptions into effect. What a session keeps and what its connection receives change in the same turn:
 * a filter that is replaced has no moment in which neither the old nor the new one holds. v5 [MQTT-3.8.4-3]
 */
function activate({ routers, services }: SubscribeParts, client: OpenClient, granted: Granted[]): void {
  const { connection, router, session } = client
  for (const { subscription } of granted) {
    if (session.isStored) services.directory.addStored(session.instance, session.clientId, subscription)
    if (connection.isClosed) continue
    router.addLive(session, subscription)
    routers.announce(session.instance, subscription.topicFilter)
  }
}

async function announce(parts: SubscribeParts, client: OpenClient, granted: Granted[]): Promise<void> {
  const { counters, directory, store } = parts.services
  const { session } = client
  if (granted.length === 0) return
  if (session.isStored) {
    const subscriptions = granted.map(item => item.subscription)
    await store.saveSubscriptions(session.instance, session.clientId, session.epoch, subscriptions)
  }
  activate(parts, client, granted)
  if (!(await directory.settled())) counters.subackBarrierTimeouts++
}

/** v5 section 3.3.1.3 and [MQTT-3.3.1-9] to [MQTT-3.3.1-11]; shared subscriptions get no retained messages. */
async function serve(parts: SubscribeParts, { connection, session }: OpenClient, granted: Granted[]): Promise<void> {
  for (const { subscription, isNew } of granted) {
    if (connection.isClosed) return
    if (parseShare(subscription.topicFilter) !== undefined) {
      parts.groups.drain(session.instance, subscription.topicFilter)
    } else if (subscription.retainHandling === 0 || (subscription.retainHandling === 1 && isNew)) {
      await replayRetained(parts.services, session, subscription)
    }
  }
}

/** UNSUBSCRIBE. Deliveries that have begun are completed. v5 [MQTT-3.10.4-1] to [MQTT-3.10.4-3]. */
export async function handleUnsubscribe(
  parts: SubscribeParts,
  client: OpenClient,
  wish: UnsubscribeWish,
): Promise<void> {
  const { counters, directory, hooks, limits, store } = parts.services
  const { connection, router, session } = client
  const { instance, clientId, epoch } = session
  if (wish.packetId !== undefined) checkAnswer(client, wish.topicFilters.length)
  const codes: number[] = []
  const removed: string[] = []
  for (const topicFilter of wish.topicFilters) {
    if (checkTopicFilter(topicFilter, limits.topicLevelsMax) !== 0) {
      codes.push(ReasonCode.topicFilterInvalid)
    } else if (session.unsubscribe(topicFilter)) {
      counters.subscriptionsCurrent--
      router.removeLive(session, topicFilter)
      parts.routers.announce(instance, topicFilter)
      removed.push(topicFilter)
      codes.push(ReasonCode.success)
    } else {
      codes.push(ReasonCode.noSubscriptionExisted)
    }
  }
  if (session.isStored && removed.length > 0) {
    for (const topicFilter of removed) directory.removeStored(instance, clientId, topicFilter)
    await store.removeSubscriptions(instance, clientId, epoch, removed)
    // v5 [MQTT-3.10.4-2]: after UNSUBACK no node may store for these filters.
    await directory.settled()
  }
  await parts.groups.leave(instance, removed)
  if (wish.packetId !== undefined) connection.send(encodeUnsuback(connection.version, wish.packetId, codes))
  hooks.unsubscribed(connection, wish.topicFilters)
}
