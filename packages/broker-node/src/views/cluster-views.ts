import type { InstanceName, Qos } from '@midge/protocol-core'
import type { ConnectionFacts, SubscriptionFacts } from '../ports.ts'

/** Which page of a list: `cursor` is that of the page before. */
export interface ViewRequest {
  cursor?: string
  countMax: number
}

/** A page; without a `cursor` there is no further one. It may be shorter than was asked for, even empty, and not the last. */
export interface ViewPage<T> {
  items: T[]
  cursor: string | undefined
}

/** One open connection, and where it is. */
export interface ConnectionView extends ConnectionFacts {
  nodeId: string
}

/** One stored session. */
export interface SessionView {
  clientId: string
  /** Who has opened it; `undefined` where that is not known. */
  username: string | undefined
  /** Where its client is connected; `undefined` while it is not. */
  nodeId: string | undefined
  expirySeconds: number
  subscriptionCount: number
  queueMessages: number
  queueBytes: number
  /** QoS 2 messages of the client that it has not released. */
  inboundCount: number
}

/** One message of a queue, in the order in which the client gets them. */
export interface QueuedMessageView {
  seq: number
  topic: string
  qos: Qos
  retain: boolean
  payload: Uint8Array
  /** PUBREC has come: only PUBREL is owed. */
  isReleased: boolean
}

/** One retained message. */
export interface RetainedView {
  topic: string
  qos: Qos
  payload: Uint8Array
  expiresAtMs: number | undefined
}

/** One thing that happened to a client. */
export interface LogView {
  /** Where to go on from: see `since` of {@link ClusterViews.log}. */
  id: string
  atMs: number
  nodeId: string
  /** `connected`, `refused`, `disconnected`, … */
  event: string
  clientId: string | undefined
  username: string | undefined
  address: string | undefined
  /** In plain words. */
  text: string
}

/** What an instance has now, in the whole cluster. */
export interface InstanceStatistics {
  connections: number
}

/** One node of the cluster. One that did not answer is not ready, and nothing more is known of it. */
export interface NodeView {
  nodeId: string
  ready: boolean
  version?: string
  uptimeSeconds?: number
  connections?: number
  eventLoopLagMs?: number
}

/** A message from the API. */
export interface PublishWish {
  topic: string
  payload: Uint8Array
  qos: Qos
  retain: boolean
  messageExpirySeconds?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Uint8Array
  userProperties?: readonly (readonly [name: string, value: string])[]
}

/**
 * What there is to see of the running cluster, and to do to it; the same whichever node is asked. A node that does not
 * answer within two seconds is left out.
 *
 * Errors by code: `MIDGE_NOT_FOUND`, `MIDGE_INVALID` (a cursor, a topic, an import that cannot be read; the text says
 * which), `MIDGE_STORE_UNAVAILABLE`.
 */
export interface ClusterViews {
  connections(instance: InstanceName, request: ViewRequest): Promise<ViewPage<ConnectionView>>
  connection(instance: InstanceName, clientId: string): Promise<ConnectionView | undefined>
  /** @returns false when the client was not connected */
  kick(instance: InstanceName, clientId: string): Promise<boolean>
  /** Closes all connections of an instance; clients may come back at once. */
  restart(instance: InstanceName): Promise<void>

  sessions(instance: InstanceName, request: ViewRequest): Promise<ViewPage<SessionView>>
  session(instance: InstanceName, clientId: string): Promise<SessionView | undefined>
  queue(instance: InstanceName, clientId: string, request: ViewRequest): Promise<ViewPage<QueuedMessageView>>
  /** Empties the queue of a session whose client is not connected. @throws BrokerError `MIDGE_INVALID` while it is */
  purgeQueue(instance: InstanceName, clientId: string): Promise<void>
  /** Ends a session, and its connection first. */
  deleteSession(instance: InstanceName, clientId: string): Promise<void>
  /** Lines of JSON: the session, its subscriptions, its queue. */
  exportSession(instance: InstanceName, clientId: string): AsyncIterable<string>
  /**
   * @returns whose session it is
   * @throws BrokerError `MIDGE_ALREADY_EXISTS` while the client has a session or is connected
   */
  importSession(instance: InstanceName, lines: string): Promise<string>
  /** @param of - only those of this client */
  subscriptions(
    instance: InstanceName,
    request: ViewRequest,
    of?: { clientId: string },
  ): Promise<ViewPage<SubscriptionFacts>>

  /** @param topicFilter - `#` for all */
  retained(instance: InstanceName, topicFilter: string, request: ViewRequest): Promise<ViewPage<RetainedView>>
  retainedMessage(instance: InstanceName, topic: string): Promise<RetainedView | undefined>
  /** @returns how many were removed */
  deleteRetained(instance: InstanceName, topicFilter: string): Promise<number>
  /** Lines of JSON. */
  exportRetained(instance: InstanceName, topicFilter: string): AsyncIterable<string>
  /** @returns how many were stored */
  importRetained(instance: InstanceName, lines: string): Promise<number>

  /** Stored as far as QoS and subscribers ask for it when it resolves, in the order of the list. */
  publish(instance: InstanceName, messages: readonly PublishWish[]): Promise<void>

  /**
   * Closes its connections and removes sessions with their queues and share groups, wills, and retained messages; can be
   * asked for again.
   */
  wipe(instance: InstanceName): Promise<void>

  /** The last things that happened, oldest first. @param since - `id` of the last one that is known */
  log(instance: InstanceName, since: string | undefined, countMax: number): Promise<LogView[]>
  /** What happens from now on, on all nodes, until `signal` is aborted. */
  followLog(instance: InstanceName, signal: AbortSignal): AsyncIterable<LogView>

  statistics(instance: InstanceName): Promise<InstanceStatistics>
  nodes(): Promise<NodeView[]>
  /** Asks a node to go out of service. @throws BrokerError `MIDGE_NOT_FOUND` */
  drain(nodeId: string): Promise<void>
}
