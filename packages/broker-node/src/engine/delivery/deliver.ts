import { EMPTY_BYTES, type Message, PublishFrame, type PublishRun, remainingExpirySeconds } from '@midge/protocol-core'
import { type DeliveryForm, FORM_SLOTS, formOf, formSlot } from '../ground/delivery-form.ts'
import type { PlainFrame } from '../ground/plain-frame.ts'
import type { GroupMember, Subscriber } from '../ground/subscriber.ts'
import type { DeliveryOptions, LiveTarget, Match } from '../routing/match.ts'

/** Subscribers from which on a frame is encoded once and copied, instead of being encoded for each. */
const SHARED_FRAME_TARGETS_MIN = 3

/** The frame that is being encoded. */
const frame = new PublishFrame()

/** Frames of one message, one per wire form: v5 or not × QoS × RETAIN. Built when first needed. */
class SharedFrames {
  private readonly message: Message
  private readonly expirySeconds: number
  private readonly frames: (Uint8Array | undefined)[] = new Array<Uint8Array | undefined>(2 * FORM_SLOTS).fill(
    undefined,
  )

  constructor(message: Message, nowMs: number) {
    this.message = message
    this.expirySeconds = remainingExpirySeconds(message.expiresAtMs, nowMs)
  }

  get(isV5: boolean, form: DeliveryForm): Uint8Array {
    const slot = (isV5 ? FORM_SLOTS : 0) + formSlot(form.qos, form.retain)
    const known = this.frames[slot]
    if (known !== undefined) return known
    const encoded = this.encode(isV5, form)
    this.frames[slot] = encoded
    return encoded
  }

  private encode(isV5: boolean, form: DeliveryForm): Uint8Array {
    const { message } = this
    frame.version = isV5 ? 5 : 4
    frame.topicBytes = message.topicBytes
    frame.payload = message.payload
    frame.qos = form.qos
    frame.retain = form.retain
    frame.properties = isV5 ? message.properties : EMPTY_BYTES
    frame.expirySeconds = isV5 ? this.expirySeconds : -1
    const encoded = Buffer.allocUnsafe(frame.measure())
    frame.writeTo(encoded, 0)
    return encoded
  }
}

/**
 * Delivers a message to the online subscribers of this node, each once, at the lower of its own and its granted QoS.
 *
 * A stored session gets only QoS 0 here: everything else reaches it through its queue.
 */
export function deliverFrames(message: Message, match: Match, nowMs: () => number): void {
  const { live } = match
  const shared = live.length >= SHARED_FRAME_TARGETS_MIN ? new SharedFrames(message, nowMs()) : undefined
  for (let i = 0; i < live.length; i++) {
    const target = live[i] as LiveTarget
    const { subscriber } = target
    const options = target.optionsFor(message.publisherId, subscriber.clientId)
    if (options !== undefined) deliverBy(options, subscriber, message, shared)
  }
}

/** The same for a frame that goes on as it came to every subscriber that takes it so. */
export function deliverPlain(frame: PlainFrame, match: Match): void {
  const { live } = match
  let message: Message | undefined
  for (let i = 0; i < live.length; i++) {
    const target = live[i] as LiveTarget
    const { subscriber } = target
    const options = target.optionsFor(frame.publisherId, subscriber.clientId)
    if (options === undefined) continue
    const packetId = takesPlain(frame, options, subscriber) ? subscriber.takeIdForQos1() : 0
    if (packetId !== 0) {
      subscriber.outlet.appendPlain(frame, packetId)
      continue
    }
    message ??= frame.toMessage()
    deliverBy(options, subscriber, message, undefined)
  }
}

function takesPlain(frame: PlainFrame, options: DeliveryOptions, { isStored, outlet }: Subscriber): boolean {
  if (options.qos === 0 || options.subscriptionIds !== undefined || isStored) return false
  return outlet.isV5 === frame.isV5 && outlet.takesPlainFrames
}

function deliverBy(
  options: DeliveryOptions,
  subscriber: Subscriber,
  message: Message,
  shared: SharedFrames | undefined,
): void {
  const form = options.formFor(message.qos, message.retain)
  if (message.retain) subscriber.noteLiveRetained(message.topicName)
  if (form.qos === 0 || !subscriber.isStored) deliverTo(subscriber, message, form, shared)
}

function deliverTo(
  subscriber: Subscriber,
  message: Message,
  form: DeliveryForm,
  shared: SharedFrames | undefined,
): void {
  const { outlet } = subscriber
  if (shared !== undefined && form.qos < 2 && form.subscriptionIds === undefined && outlet.takesPlainFrames) {
    if (form.qos === 0) {
      outlet.appendFrame(shared.get(outlet.isV5, form))
      return
    }
    const packetId = subscriber.takeIdForQos1()
    if (packetId !== 0) {
      outlet.appendPatched(shared.get(outlet.isV5, form), packetId)
      return
    }
  }
  if (form.qos === 0) outlet.sendPublish(message, form, 0)
  else subscriber.sendOrWait(message, form)
}

/** Delivers neighbouring QoS 0 messages: as one slice to every subscriber that takes the frames as they are. */
export function deliverRun(run: PublishRun, match: Match): void {
  const { live } = match
  let messages: Message[] | undefined
  for (let i = 0; i < live.length; i++) {
    const target = live[i] as LiveTarget
    const { subscriber } = target
    const options = target.optionsFor(run.publisherId, subscriber.clientId)
    if (options === undefined) continue
    const { outlet } = subscriber
    if (options.subscriptionIds === undefined && outlet.isV5 === run.isV5 && outlet.takesPlainFrames) {
      outlet.appendRun(run)
    } else {
      messages ??= run.messages()
      const form = options.formFor(0, false)
      for (const message of messages) outlet.sendPublish(message, form, 0)
    }
  }
}

/** Delivers a message at QoS 0 to the member of a share group whose turn it is. */
export function deliverToMember(member: GroupMember, group: string, message: Message): void {
  const subscription = member.subscriptions.get(group)
  if (subscription === undefined) return
  const ids = subscription.subscriptionId === 0 ? undefined : [subscription.subscriptionId]
  member.outlet.sendPublish(message, formOf(0, subscription.retainAsPublished && message.retain, ids), 0)
}
