import type { Message, Subscription } from '@midge/protocol-core'
import type { Outlet } from '../ground/outlet.ts'
import type { Subscriber } from '../ground/subscriber.ts'

/** Every message of a filter as it was published, without retained ones. */
export function everythingOf(topicFilter: string): Subscription {
  return { topicFilter, qos: 2, noLocal: false, retainAsPublished: true, retainHandling: 2, subscriptionId: 0 }
}

/**
 * A part of this program as one of the receivers of messages on this node, like a client without a socket: every
 * message comes by itself, at the QoS and with the RETAIN at which it was published.
 */
export class ProgramSubscriber implements Subscriber, Outlet {
  readonly clientId = ''
  readonly isStored = false
  readonly isClosed = false
  readonly isV5 = false
  readonly isBehind = false
  readonly acceptsQueued = true
  readonly takesPlainFrames = false
  private readonly deliver: (message: Message) => void

  /** @param deliver - called in the tick of the message, whose bytes may be a view of what was read; must not throw */
  constructor(deliver: (message: Message) => void) {
    this.deliver = deliver
  }

  get outlet(): Outlet {
    return this
  }

  sendPublish(message: Message): boolean {
    this.deliver(message)
    return true
  }

  resendPublish(message: Message): boolean {
    return this.sendPublish(message)
  }

  sendOrWait(message: Message): void {
    this.deliver(message)
  }

  takeIdForQos1(): number {
    return 0
  }

  noteLiveRetained(): void {}
  sendPubrel(): void {}
  onAcknowledged(): void {}
  appendRun(): void {}
  appendFrame(): void {}
  appendPatched(): void {}
  appendPlain(): void {}
  close(): void {}
  onStoreFailure(): void {}
}
