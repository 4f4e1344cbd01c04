import type { ConnectPacket, Message, SubscribeRequest } from '@midge/protocol-core'
import type { Client } from './client.ts'

/** A reason code, 0 for yes; a promise when the hook needs time. */
export type Verdict = number | Promise<number>

/** The message as it is to be published, or the reason code of the refusal. */
export type Review = Message | number

/**
 * What others may decide about clients and messages, in the words of the standard. The Aedes hooks are translated to
 * this in `aedes-hooks.ts`. The flags let the hot path skip what nobody has asked for.
 */
export interface Hooks {
  /** False while somebody looks at single messages, so that they may not be handed on in runs. */
  readonly allowRuns: boolean
  readonly observesPublish: boolean
  /** Somebody wants to know what clients acknowledge: then messages in flight are kept until they are. */
  readonly observesAck: boolean
  /** Every message of a client is reviewed; while nobody does, `mayPublish` is asked once for each topic. */
  readonly filtersPublish: boolean
  /** Subscriptions are asked for when they are made, and again when their session is resumed. */
  readonly filtersSubscribe: boolean
  readonly filtersForward: boolean
  /** May write into the packet. */
  preConnect(client: Client, packet: ConnectPacket): Promise<boolean>
  mayPublish(client: Client, message: Message): number
  reviewPublish(client: Client, message: Message): Review | Promise<Review>
  /** May write a QoS and a filter into the request. */
  maySubscribe(client: Client, request: SubscribeRequest): Verdict
  /**
   * The message as this client gets it, `undefined` when it gets nothing. Its RETAIN is that of the delivery; its QoS is
   * that of the message, or 0 when the delivery is to be at QoS 0.
   */
  reviewForward(client: Client, message: Message, retain: boolean): Message | undefined
  /** @returns a promise when the client is to be read no further until it is settled; it never rejects */
  published(client: Client | undefined, message: Message): Promise<void> | undefined
  /** A client has acknowledged a message for good; it is `undefined` at QoS 2, where PUBREL is what was acknowledged. */
  acknowledged(client: Client, packetId: number, message: Message | undefined): void
  connected(client: Client): void
  ready(client: Client, sessionPresent: boolean): void
  /** CONNECT has been turned down. */
  refused(client: Client, reasonCode: number, reason: string): void
  /** `topicFilters` are what it was subscribed to. */
  disconnected(client: Client, topicFilters: Iterable<string>): void
  /** `codes` are those of SUBACK. */
  subscribed(client: Client, requests: SubscribeRequest[], codes: number[]): void
  unsubscribed(client: Client, topicFilters: string[]): void
  pinged(client: Client): void
  /** The keep-alive of the client has run out. */
  silent(client: Client): void
  failed(client: Client, error: Error): void
}
