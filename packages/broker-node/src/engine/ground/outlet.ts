import type { Message, PublishRun } from '@midge/protocol-core'
import type { DeliveryForm } from './delivery-form.ts'
import type { PlainFrame } from './plain-frame.ts'

/** More than a reason code for the end of a connection. */
export interface CloseOptions {
  /** Server Reference of DISCONNECT. v5 section 3.14.2.2.5 */
  serverReference?: string
  /** A newer connection owns the session: the store is told nothing. */
  isFenced?: boolean
}

/** What a session, and whatever delivers to it, sees of its connection: where frames go out. */
export interface Outlet {
  readonly isClosed: boolean
  readonly isV5: boolean
  /** True while packets that have come wait for a step of an earlier one. */
  readonly isBehind: boolean
  /** True while the socket takes QoS 1 and 2 messages; beyond the bound they wait in their queue. */
  readonly acceptsQueued: boolean
  /** Frames that came in, or were encoded for others, can go out as they are: no aliases, no size limit, no filter. */
  readonly takesPlainFrames: boolean
  /**
   * Appends a PUBLISH of its own for this client.
   * @param packetId - 0 at QoS 0
   * @returns false when it was dropped: too large for the client (v5 [MQTT-3.1.2-25]), not allowed, or QoS 0 and the
   * output is full
   */
  sendPublish(message: Message, form: DeliveryForm, packetId: number): boolean
  /** The same with DUP: an earlier connection may have sent it. v5 [MQTT-3.3.1-1] */
  resendPublish(message: Message, form: DeliveryForm, packetId: number): boolean
  sendPubrel(packetId: number): void
  /** The client has acknowledged a message of its own (PUBACK, or PUBCOMP when `isQos2`). */
  onAcknowledged(packetId: number, isQos2: boolean): void
  /** Appends QoS 0 frames as they came in; only while {@link Outlet.takesPlainFrames}. */
  appendRun(run: PublishRun): void
  /** Appends an encoded QoS 0 frame; only while {@link Outlet.takesPlainFrames}. */
  appendFrame(frame: Uint8Array): void
  /** Appends an encoded QoS 1 frame under a packet id of this client; only while {@link Outlet.takesPlainFrames}. */
  appendPatched(frame: Uint8Array, packetId: number): void
  /** Appends a frame as it came, under a packet id of this client; only while {@link Outlet.takesPlainFrames}. */
  appendPlain(frame: PlainFrame, packetId: number): void
  /** Ends the connection; a v5 client that has its CONNACK is told why. v5 section 3.14 */
  close(reasonCode: number, reason: string, options?: CloseOptions): void
  /** The store did not answer, or has a newer owner for the session: nothing may be acknowledged any more. */
  onStoreFailure(error: unknown): void
}
