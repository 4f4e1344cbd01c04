import { Message } from '@midge/protocol-core'
import type { DeliveryForm } from '../ground/delivery-form.ts'

/** One message that waits for room in the outbound window. */
export interface WaitingMessage {
  message: Message
  form: DeliveryForm
}

/** Fixed cost per waiting message that the byte bound counts besides its payload and topic. */
const OVERHEAD_BYTES = 128

/** Copies what a message shares with a receive buffer, so that waiting does not keep the whole buffer alive. */
function detached(message: Message): Message {
  return new Message({
    topicName: message.topicName,
    topicBytes: message.topicBytes,
    payload: Uint8Array.prototype.slice.call(message.payload),
    qos: message.qos,
    retain: message.retain,
    properties: Uint8Array.prototype.slice.call(message.properties),
    expiresAtMs: message.expiresAtMs,
    publisherId: message.publisherId,
  })
}

/**
 * QoS 1 and 2 messages of a session without a stored queue that wait for its window.
 *
 * Bounded by `onlineQueueMessages` and `onlineQueueBytes`; a message that does not fit is refused and the caller
 * counts it.
 */
export class WaitingMessages {
  private readonly messagesMax: number
  private readonly bytesMax: number
  private items: (WaitingMessage | undefined)[] = []
  private head = 0
  private bytes = 0

  constructor(limits: { onlineQueueMessages: number; onlineQueueBytes: number }) {
    this.messagesMax = limits.onlineQueueMessages
    this.bytesMax = limits.onlineQueueBytes
  }

  get isEmpty(): boolean {
    return this.head === this.items.length
  }

  push(message: Message, form: DeliveryForm): boolean {
    const size = sizeOf(message)
    if (this.items.length - this.head >= this.messagesMax || this.bytes + size > this.bytesMax) return false
    this.items.push({ message: detached(message), form })
    this.bytes += size
    return true
  }

  shift(): WaitingMessage | undefined {
    const item = this.items[this.head]
    if (item === undefined) return undefined
    this.items[this.head++] = undefined
    this.bytes -= sizeOf(item.message)
    // Amortised: half of the array is dead before it is moved.
    if (this.head > 1024 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head)
      this.head = 0
    } else if (this.head === this.items.length) {
      this.items = []
      this.head = 0
    }
    return item
  }
}

function sizeOf(message: Message): number {
  return message.payload.length + message.topicBytes.length + message.properties.length + OVERHEAD_BYTES
}
