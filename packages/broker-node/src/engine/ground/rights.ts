import { type Message, type Permissions, ReasonCode, type SubscribeRequest } from '@midge/protocol-core'
import type { Client } from './client.ts'
import type { Hooks, Verdict } from './hooks.ts'

/** What one client may do; bound to its connection by CONNECT. */
export interface Rights {
  /** Grows when an answer may have changed: every remembered one is asked for again. */
  readonly version: number
  /** False while somebody looks at each message of this client, so that its messages may not be handed on in runs. */
  readonly allowRuns: boolean
  /** True while this client may not receive everything that it subscribes to: then each delivery is asked for. */
  readonly filtersForward: boolean
  mayPublish(client: Client, message: Message): Verdict
  maySubscribe(client: Client, request: SubscribeRequest): Verdict
  mayForward(client: Client, message: Message): boolean
}

/** The part of the rights that the hooks of the application decide about; the same object for every client. */
export class HookRights implements Rights {
  version = 0
  private readonly hooks: Hooks

  constructor(hooks: Hooks) {
    this.hooks = hooks
  }

  get allowRuns(): boolean {
    return this.hooks.allowRuns
  }

  get filtersForward(): boolean {
    return this.hooks.filtersForward
  }

  mayPublish(client: Client, message: Message): Verdict {
    return this.hooks.mayPublish(client, message)
  }

  maySubscribe(client: Client, request: SubscribeRequest): Verdict {
    return this.hooks.maySubscribe(client, request)
  }

  mayForward(client: Client, message: Message): boolean {
    return this.hooks.mayForward(client, message)
  }
}

/** What one client may do: what its permissions allow, and then what the hooks say to it. */
export class ClientRights implements Rights {
  private readonly permissions: Permissions
  private readonly hooks: Rights

  constructor(permissions: Permissions, hooks: Rights) {
    this.permissions = permissions
    this.hooks = hooks
  }

  /** Each of the two only grows. */
  get version(): number {
    return this.permissions.version + this.hooks.version
  }

  get allowRuns(): boolean {
    return this.hooks.allowRuns
  }

  get filtersForward(): boolean {
    return !this.permissions.allowsAll || this.hooks.filtersForward
  }

  mayPublish(client: Client, message: Message): Verdict {
    const { topicName, qos, retain } = message
    if (!this.permissions.mayPublish(topicName, qos, retain)) return ReasonCode.notAuthorized
    return this.hooks.mayPublish(client, message)
  }

  maySubscribe(client: Client, request: SubscribeRequest): Verdict {
    if (!this.permissions.maySubscribe(request.topicFilter)) return ReasonCode.notAuthorized
    return this.hooks.maySubscribe(client, request)
  }

  mayForward(client: Client, message: Message): boolean {
    if (!this.permissions.mayReceive(message.topicName)) return false
    return !this.hooks.filtersForward || this.hooks.mayForward(client, message)
  }
}
