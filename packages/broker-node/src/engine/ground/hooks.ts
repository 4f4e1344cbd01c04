import type { ConnectPacket, Message, SubscribeRequest } from '@midge/protocol-core'
import type { AuthenticationResult } from '../../ports.ts'
import type { Connection } from '../connection/connection.ts'

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
  preConnect(connection: Connection, packet: ConnectPacket): Promise<boolean>
  authenticate(connection: Connection, packet: ConnectPacket): AuthenticationResult | Promise<AuthenticationResult>
  mayPublish(connection: Connection, message: Message): Verdict
  maySubscribe(connection: Connection, request: SubscribeRequest): Verdict
  mayForward(connection: Connection, message: Message): boolean
  published(connection: Connection | undefined, message: Message): void
  connected(connection: Connection): void
  ready(connection: Connection): void
  disconnected(connection: Connection): void
  subscribed(connection: Connection, requests: SubscribeRequest[]): void
  unsubscribed(connection: Connection, topicFilters: string[]): void
  pinged(connection: Connection): void
  /** The keep-alive of the client has run out. */
  silent(connection: Connection): void
  failed(connection: Connection, error: Error): void
}
