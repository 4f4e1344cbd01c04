import type { BrokerCore } from '../broker-core.ts'
import type { ClientView } from './client-view.ts'
import type { AedesPublish } from './translate.ts'

/** Called with an error, or with nothing when all is well. */
export type Callback = (error?: Error | null) => void

/** The hooks of Aedes that Midge serves, with Aedes' signatures. */
export interface AedesHookSet {
  preConnect(client: ClientView, packet: object, done: (error: Error | null, success: boolean) => void): void
  authenticate(
    client: ClientView,
    username: string | undefined,
    password: Buffer | undefined,
    done: (error: (Error & { returnCode?: number }) | null, success: boolean | null) => void,
  ): void
  authorizePublish(client: ClientView | null, packet: AedesPublish, done: Callback): void
  authorizeSubscribe(
    client: ClientView,
    subscription: { topic: string; qos: number },
    done: (error: Error | null, subscription?: { topic: string; qos: number } | null) => void,
  ): void
  authorizeForward(client: ClientView, packet: AedesPublish): AedesPublish | null | undefined
  published(packet: AedesPublish, client: ClientView | null, done: Callback): void
}

/** The broker, as those see it who call its hooks and emit its events. */
export interface HookedBroker extends AedesHookSet {
  readonly core: BrokerCore
  /** A client is connected: Aedes' registry and events hear of it. */
  onConnected(client: ClientView): void
  onDisconnected(client: ClientView): void
  emit(event: string, ...args: unknown[]): boolean
  on(event: string, listener: (...args: never[]) => void): unknown
  listenerCount(event: string): number
}
