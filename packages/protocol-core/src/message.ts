import type { Qos } from './packet.ts'

/** Shared by every message and frame that carries nothing there. */
export const EMPTY_BYTES: Uint8Array = new Uint8Array(0)

/** What a new {@link Message} is made of; see the fields of the class. */
export interface MessageFields {
  topicName: string
  topicBytes: Uint8Array
  payload: Uint8Array
  qos: Qos
  retain: boolean
  properties: Uint8Array
  expiresAtMs: number
  publisherId: string
}

/**
 * An Application Message on its way through the broker, as published.
 *
 * Immutable and shared by all deliveries; the bytes may be views into a larger receive buffer, so whoever keeps a
 * message for long copies it first (the envelope codec does).
 */
export class Message {
  readonly topicName: string
  /** UTF-8 of `topicName`. */
  readonly topicBytes: Uint8Array
  readonly payload: Uint8Array
  /** QoS of the PUBLISH. */
  readonly qos: Qos
  /** RETAIN flag of the PUBLISH. */
  readonly retain: boolean
  /**
   * The properties a server must forward unaltered, encoded as in the packet and in their order, without a length in
   * front: Payload Format Indicator, Content Type, Response Topic, Correlation Data, User Properties.
   * Never Topic Alias, Subscription Identifier or Message Expiry Interval. v5 [MQTT-3.3.2-4], [MQTT-3.3.2-17].
   */
  readonly properties: Uint8Array
  /** Wall clock of expiry in ms; 0 means never. v5 [MQTT-3.3.2-5]. */
  readonly expiresAtMs: number
  /** Client id of the publisher, for No Local; '' when the server itself publishes. */
  readonly publisherId: string

  constructor(fields: MessageFields) {
    this.topicName = fields.topicName
    this.topicBytes = fields.topicBytes
    this.payload = fields.payload
    this.qos = fields.qos
    this.retain = fields.retain
    this.properties = fields.properties
    this.expiresAtMs = fields.expiresAtMs
    this.publisherId = fields.publisherId
  }
}

/** @returns seconds left for the Message Expiry Interval of a delivery, rounded up; -1 never expires, 0 expired. */
export function remainingExpirySeconds(expiresAtMs: number, nowMs: number): number {
  if (expiresAtMs === 0) return -1
  return expiresAtMs <= nowMs ? 0 : Math.ceil((expiresAtMs - nowMs) / 1000)
}
