import type { CloseHow } from './close-how.ts'

/**
 * What a connection hands on: its packets, in the order of their arrival, and the turns of its life. What throws
 * `ProtocolError` ends the connection with that reason.
 *
 * `chunk` is the receive buffer; a packet is valid only during the call, unless it is copied. A chunk that is not lent
 * (`FrameInput.isLent`) stays as it is, and may be referred to instead.
 */
export interface PacketSink {
  /**
   * PUBLISH of an open connection, from its first byte at `start`.
   * @returns false when a step was begun (`waitFor`) after which the same frame is to be handed in again
   */
  onPublish(chunk: Uint8Array, start: number, bodyStart: number, bodyEnd: number): boolean
  /** What was collected of PUBLISH packets takes effect; called before every other packet and at the end of a chunk. */
  endRun(): void
  /** Every other packet; `first` is its first byte. */
  onPacket(first: number, chunk: Uint8Array, bodyStart: number, bodyEnd: number): void
  /**
   * Asked about once a second, while nothing waits to be handled or to be sent.
   * @returns whether the client has broken its Receive Maximum, v5 [MQTT-3.3.4-7]
   */
  hasExceeded(nowMs: number): boolean
  /** The socket has taken enough for queued messages to go on. */
  onRoom(): void
  /** The limits of its instance have changed. */
  onLimits(): void
  /**
   * The connection has ended.
   * @returns resolves when the store has the end of the session; `undefined` when there is nothing to wait for
   */
  onEnded(how: CloseHow): Promise<void> | undefined
}
