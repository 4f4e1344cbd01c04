import type { Message } from '@midge/protocol-core'
import type { Hooks, Verdict } from '../ground/hooks.ts'

/** The hooks of an application that allows everything; what it is told of single messages is kept. */
export class SilentHooks implements Hooks {
  allowRuns = true
  observesPublish = false
  filtersForward = false
  readonly publishedMessages: Message[] = []

  async preConnect(): Promise<boolean> {
    return true
  }

  mayPublish(): Verdict {
    return 0
  }

  maySubscribe(): Verdict {
    return 0
  }

  mayForward(): boolean {
    return true
  }

  published(_client: unknown, message: Message): void {
    this.publishedMessages.push(message)
  }

  connected(): void {}
  ready(): void {}
  disconnected(): void {}
  subscribed(): void {}
  unsubscribed(): void {}
  pinged(): void {}
  silent(): void {}
  failed(): void {}
}
