import {
  EMPTY_BYTES,
  type Message,
  type PublishRun,
  publishSize,
  type Qos,
  remainingExpirySeconds,
  writePublish,
} from '@midge/protocol-core'
import type { BrokerCore } from '../broker-core.ts'
import type { DeliveryOptions, LiveTarget, Match } from '../routing/router.ts'
import type { Session } from '../sessions/session.ts'

/** Subscribers from which on a frame is encoded once and copied, instead of being encoded for each. */
const SHARED_FRAME_TARGETS_MIN = 3

/** Frames of one message, one per wire form: v5 or not × QoS × RETAIN. Built when first needed. */
class SharedFrames {
  private readonly message: Message
  private readonly expirySeconds: number
  private readonly frames: (Uint8Array | undefined)[] = new Array<Uint8Array | undefined>(12).fill(undefined)

  constructor(message: Message, nowMs: number) {
    this.message = message
    this.expirySeconds = remainingExpirySeconds(message.expiresAtMs, nowMs)
  }

  get(isV5: boolean, qos: Qos, retain: boolean): Uint8Array {
    const slot = (isV5 ? 6 : 0) + qos * 2 + (retain ? 1 : 0)
    const known = this.frames[slot]
    if (known !== undefined) return known
    const frame = this.encode(isV5, qos, retain)
    this.frames[slot] = frame
    return frame
  }

  private encode(isV5: boolean, qos: Qos, retain: boolean): Uint8Array {
    const { message } = this
    const version = isV5 ? 5 : 4
    const properties = isV5 ? message.properties : EMPTY_BYTES
    const expiry = isV5 ? this.expirySeconds : -1
    const size = publishSize(
      version,
      message.topicBytes,
      qos,
      properties,
      expiry,
      undefined,
      0,
      true,
      message.payload.length,
    )
    const frame = Buffer.allocUnsafe(size)
    writePublish(
      frame,
      0,
      version,
      message.topicBytes,
      message.payload,
      qos,
      false,
      retain,
      0,
      properties,
      expiry,
      undefined,
      0,
      true,
    )
    return frame
  }
}

/**
 * Delivers a message to the online sessions of this node, each once, at the lower of its own and its granted QoS.
 *
 * A stored session gets only QoS 0 here: everything else reaches it through its queue.
 *
 * @param publisherId - client id that No Local subscriptions are compared with. v5 [MQTT-3.8.3-3]
 */
export function deliverFrames(broker: BrokerCore, message: Message, match: Match, publisherId: string): void {
  const { live } = match
  // A hook that filters is asked for each delivery, in `sendPublish`.
  const isShared = live.length >= SHARED_FRAME_TARGETS_MIN && !broker.hooks.filtersForward
  const shared = isShared ? new SharedFrames(message, broker.nowMs()) : undefined
  for (let i = 0; i < live.length; i++) {
    const target = live[i] as LiveTarget
    const { session } = target
    const options = session.clientId === publisherId ? target.forOwn : target
    if (options === undefined) continue
    const qos = Math.min(message.qos, options.qos) as Qos
    if (message.retain) session.connection.noteLiveRetained(message.topicName)
    if (qos > 0 && session.isStored) continue
    deliverTo(session, options, message, qos, shared)
  }
}

function deliverTo(
  session: Session,
  options: DeliveryOptions,
  message: Message,
  qos: Qos,
  shared: SharedFrames | undefined,
): void {
  const { connection } = session
  const { subscriptionIds } = options
  const retain = options.retainAsPublished && message.retain
  if (shared !== undefined && qos < 2 && subscriptionIds === undefined && connection.takesPlainFrames) {
    if (qos === 0) {
      const frame = shared.get(connection.version === 5, 0, retain)
      connection.appendRun(frame, 0, frame.length, 1)
      return
    }
    const packetId = session.takeIdForQos1()
    if (packetId !== 0) {
      connection.appendPatched(shared.get(connection.version === 5, 1, retain), packetId)
      return
    }
  }
  if (qos === 0) connection.sendPublish(message, 0, retain, false, 0, subscriptionIds)
  else session.sendOrWait(message, qos, retain, subscriptionIds)
}

/** Delivers neighbouring QoS 0 messages: as one slice to every subscriber that takes the frames as they are. */
export function deliverRun(run: PublishRun, match: Match): void {
  const { live } = match
  let messages: Message[] | undefined
  for (let i = 0; i < live.length; i++) {
    const target = live[i] as LiveTarget
    const { session } = target
    const options = session.clientId === run.publisherId ? target.forOwn : target
    if (options === undefined) continue
    const { connection } = session
    const isSameForm = (connection.version === 5) === run.isV5
    if (options.subscriptionIds === undefined && connection.takesPlainFrames && isSameForm) {
      connection.appendRun(run.bytes, run.start, run.end, run.count)
    } else {
      messages ??= run.messages()
      for (const message of messages) connection.sendPublish(message, 0, false, false, 0, options.subscriptionIds)
    }
  }
}
