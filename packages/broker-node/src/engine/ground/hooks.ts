import type { ConnectPacket, Message, SubscribeRequest } from '@midge/protocol-core'
import type { Client } from './client.ts'

/** A reason code, 0 for yes; a promise when the hook needs time. */
export type Verdict = number | Promise<number>

/**
 * What others may decide about clients and messages, in the words of the standard. The Aedes hooks are translated to
 * this in `aedes-hooks.ts`. The three flags let the hot path skip what nobody has asked for.
 */
export interface Hooks {
  /** False while somebody looks at single messages, so that they may not be handed on in runs. */
  readonly allowRuns: boolean
  readonly observesPublish: boolean
  readonly filtersForward: boolean
  preConnect(client: Client, packet: ConnectPacket): Promise<boolean>
  mayPublish(client: Client, message: Message): Verdict
  maySubscribe(client: Client, request: SubscribeRequest): Verdict
  mayForward(client: Client, message: Message): boolean
  published(client: Client | undefined, message: Message): void
  connected(client: Client): void
  ready(client: Client): void
  disconnected(client: Client): void
  subscribed(client: Client, requests: SubscribeRequest[]): void
  unsubscribed(client: Client, topicFilters: string[]): void
  pinged(client: Client): void
  /** The keep-alive of the client has run out. */
  silent(client: Client): void
  failed(client: Client, error: Error): void
}
