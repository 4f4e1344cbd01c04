import type { Message } from '@midge/protocol-core'
import type { Hooks, Verdict } from '../ground/hooks.ts'

/** The hooks of an application that allows everything; what it is told of single messages is kept. */
export class SilentHooks implements Hooks {
  allowRuns = true
  observesPublish = false
  observesAck = false
  filtersPublish = false
  filtersSubscribe = false
  filtersForward = false
  readonly publishedMessages: Message[] = []

  async preConnect(): Promise<boolean> {
    return true
  }

  mayPublish(): number {
    return 0
  }

  maySubscribe(): Verdict {
    return 0
  }

  reviewPublish(_client: unknown, message: Message): Message {
    return message
  }

  reviewForward(_client: unknown, message: Message): Message {
    return message
  }

  published(_client: unknown, message: Message): undefined {
    this.publishedMessages.push(message)
  }

  acknowledged(): void {}
  connected(): void {}
  refused(): void {}
  ready(): void {}
  disconnected(): void {}
  subscribed(): void {}
  unsubscribed(): void {}
  pinged(): void {}
  silent(): void {}
  failed(): void {}
}
