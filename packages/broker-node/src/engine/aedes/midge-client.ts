import { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { BrokerError, checkTopicFilter, ReasonCode, type SubscribeRequest } from '@midge/protocol-core'
import type { Aedes, Client as AedesClient, Subscription } from 'aedes'
import type { BrokerCore } from '../broker-core.ts'
import type { Client } from '../ground/client.ts'
import { type AedesPublishInput, NO_ERROR, toMessage } from './translate.ts'

type Done = (error?: Error) => void
type Subscriptions = Parameters<AedesClient['subscribe']>[0]
type Unsubscriptions = Parameters<AedesClient['unsubscribe']>[0] | string | string[]

/** A subscription as `client.subscriptions` shows it; the short names are Aedes'. */
export interface ClientSubscription {
  qos: number
  /** Retain Handling of MQTT 5. */
  rh: number
  /** Retain As Published of MQTT 5. */
  rap: boolean
  /** No Local of MQTT 5. */
  nl: boolean
}

/**
 * A client as hooks and events know it: Aedes' `Client`, from the moment its connection is handed in. The same object
 * all the time, so what a hook leaves on it is there later.
 */
export class MidgeClient extends EventEmitter implements AedesClient {
  readonly broker: Aedes
  readonly conn: Duplex
  /** The upgrade request of a WebSocket, if `handle` was given one. */
  readonly req?: IncomingMessage
  /** Set with CONNECT. */
  isConnecting: boolean
  /** True while `preConnect` has not said yes: until then a client has no id, as in Aedes. */
  isUnasked = false
  /** What a hook said when it turned CONNECT down. */
  refusal: Error | undefined = undefined
  /** Set when CONNACK is out and everything of the session is in place. */
  isReady: boolean
  private readonly client: Client
  private readonly core: BrokerCore

  constructor(broker: Aedes, parts: { client: Client; core: BrokerCore; request: IncomingMessage | undefined }) {
    super()
    const { client, core, request } = parts
    this.broker = broker
    this.client = client
    this.core = core
    this.conn = client.stream
    // An instance is what CONNECT binds first.
    this.isConnecting = client.clientId !== ''
    this.isReady = client.isEstablished
    if (request !== undefined) this.req = request
  }

  get hasId(): boolean {
    return !this.isUnasked && this.client.clientId !== ''
  }

  get id(): string {
    // Aedes' types hide that there is none at first.
    return this.hasId ? this.client.clientId : (null as unknown as string)
  }

  get clean(): boolean {
    return !this.hasId || this.client.isClean
  }

  get version(): number {
    // Aedes' types hide that there is none before CONNECT.
    return this.hasId ? this.client.version : (null as unknown as number)
  }

  get connecting(): boolean {
    return !this.closed && this.isConnecting && !this.isReady
  }

  get connected(): boolean {
    return !this.closed && this.isReady
  }

  get closed(): boolean {
    return this.client.isClosed
  }

  /** What the client is subscribed to at this moment, by filter. */
  get subscriptions(): Record<string, ClientSubscription> {
    const found: Record<string, ClientSubscription> = Object.create(null)
    for (const [filter, subscription] of this.core.openClientOf(this.client)?.session.subscriptions ?? []) {
      const { qos, retainHandling, retainAsPublished, noLocal } = subscription
      found[filter] = { qos, rh: retainHandling, rap: retainAsPublished, nl: noLocal }
    }
    return found
  }

  /** Sends a message to this client alone, whatever it subscribes to; `done` when it is on its way, not acknowledged. */
  publish(packet: AedesPublishInput, done: Done = ignore): void {
    const open = this.core.openClientOf(this.client)
    if (open === undefined) done(notConnected('publish'))
    else open.session.send(toMessage(packet)).then(() => done(NO_ERROR), done)
  }

  /** Subscribes on behalf of the client; `authorizeSubscribe` is asked. A packet with `messageId` also sends SUBACK. */
  subscribe(wanted: Subscriptions, done: Done = ignore): void {
    const list = 'subscriptions' in wanted ? wanted.subscriptions : Array.isArray(wanted) ? wanted : [wanted]
    const requests = list.map(toRequest)
    const open = this.core.openClientOf(this.client)
    const wrong = requests.find(({ topicFilter }) => !this.isFilter(topicFilter))
    const packetId = 'messageId' in wanted ? wanted.messageId : undefined
    if (open === undefined) done(notConnected('subscribe'))
    else if (wrong !== undefined) done(new RangeError(`not a topic filter: ${wrong.topicFilter}`))
    else this.core.subscribeFor(open, { requests, subscriptionId: 0, packetId }).then(() => done(NO_ERROR), done)
  }

  /** Takes subscriptions of the client back. A packet with `messageId` also sends UNSUBACK. */
  unsubscribe(unwanted: Unsubscriptions, done: Done = ignore): void {
    const topicFilters = filtersOf(unwanted)
    const open = this.core.openClientOf(this.client)
    const wrong = topicFilters.find(filter => !this.isFilter(filter))
    const packetId = typeof unwanted === 'object' && 'messageId' in unwanted ? unwanted.messageId : undefined
    if (open === undefined) done(notConnected('unsubscribe'))
    else if (wrong !== undefined) done(new RangeError(`not a topic filter: ${wrong}`))
    else this.core.unsubscribeFor(open, { topicFilters, packetId }).then(() => done(NO_ERROR), done)
  }

  close(done?: () => void): void {
    this.client.close(ReasonCode.administrativeAction, 'closed by the server')
    done?.()
  }

  /** @throws BrokerError always: what waits for a session is not taken away from it */
  emptyOutgoingQueue(): void {
    const text = 'client.emptyOutgoingQueue(): end the session instead, by a connection with a clean start'
    throw new BrokerError('MIDGE_LIBRARY_UNSUPPORTED', text)
  }

  private isFilter(text: unknown): boolean {
    return typeof text === 'string' && checkTopicFilter(text, this.core.services.limits.topicLevelsMax) === 0
  }
}

function ignore(): void {}

function notConnected(method: string): BrokerError {
  const text = `client.${method}(): the client is not connected; wait for clientReady`
  return new BrokerError('MIDGE_LIBRARY_UNSUPPORTED', text)
}

function toRequest({ topic, qos, nl, rap, rh }: Subscription): SubscribeRequest {
  return {
    topicFilter: topic,
    qos,
    noLocal: nl === true,
    retainAsPublished: rap === true,
    retainHandling: rh === 1 || rh === 2 ? rh : 0,
  }
}

/** Aedes' types speak of objects with a topic, its code takes the filters themselves: both will do. */
function filtersOf(unwanted: Unsubscriptions): string[] {
  if (typeof unwanted === 'string') return [unwanted]
  if ('unsubscriptions' in unwanted) return unwanted.unsubscriptions
  const list = 'subscriptions' in unwanted ? unwanted.subscriptions : Array.isArray(unwanted) ? unwanted : [unwanted]
  return list.map(item => (typeof item === 'string' ? item : item.topic))
}
