import type { StoreLimits } from '@midge/protocol-core'

/** Whoever waits until more may be sent. */
export interface RoomWaiter {
  onRoom(): void
}

/** How much may go to the clients of an instance; all its connections share one. */
export interface OutboundPace {
  /** True while nothing more may be sent. */
  readonly isDry: boolean
  /** True while so much may be sent that a whole read needs no look at each message. */
  readonly isAmple: boolean
  /** Counts PUBLISH packets that are sent. */
  take(messages: number, bytes: number): void
  /** @returns false while it is dry; then the waiter is told when it is not any more */
  admits(waiter: RoomWaiter): boolean
}

/** How much may come from the clients of an instance; all its connections share one. */
export interface InboundPace {
  /** True while so much may come that a whole read needs no look. */
  readonly isAmple: boolean
  /** Counts PUBLISH packets that have come. @returns true when the client has to be read no further */
  take(messages: number, bytes: number): boolean
  /** Resolves when the client may be read on, or was closed because that takes too long. */
  whenRoom(client: HeldClient): Promise<void>
}

/** A client that is read no further. */
export interface HeldClient {
  close(reasonCode: number, reason: string): void
}

/** What the clients of one instance may use, as it is now; where there is no limit there is nothing to count. */
export interface Usage {
  readonly inbound: InboundPace | undefined
  readonly outbound: OutboundPace | undefined
  readonly storeLimits: StoreLimits | undefined
  /** A client has sent a packet larger than it may. */
  tooLarge(clientId: string): void
  /** A message could not be retained. */
  retainedFull(clientId: string): void
}

/** Of a connection before its CONNECT is accepted. */
export const UNLIMITED: Usage = {
  inbound: undefined,
  outbound: undefined,
  storeLimits: undefined,
  tooLarge: () => undefined,
  retainedFull: () => undefined,
}
