import { Message, type Permissions, ReasonCode, type SubscribeRequest } from '@midge/protocol-core'
import type { Client } from './client.ts'
import type { Hooks, Review, Verdict } from './hooks.ts'

/** What one client may do; bound to its connection by CONNECT. */
export interface Rights {
  /** Grows when an answer may have changed: every remembered one is asked for again. */
  readonly version: number
  /** False while somebody looks at each message of this client, so that its messages may not be handed on in runs. */
  readonly allowRuns: boolean
  /** True while every message of this client is reviewed; otherwise `mayPublish` is asked once for each topic. */
  readonly filtersPublish: boolean
  /** True while the subscriptions of a resumed session have to be asked for again. */
  readonly filtersSubscribe: boolean
  /** True while this client may not receive everything that it subscribes to: then each delivery is asked for. */
  readonly filtersForward: boolean
  /** A reason code, 0 for yes. */
  mayPublish(client: Client, message: Message): number
  /** False while an answer of `mayPublish` holds only for messages of the same QoS and RETAIN. */
  publishesAlike(topicName: string): boolean
  reviewPublish(client: Client, message: Message): Review | Promise<Review>
  maySubscribe(client: Client, request: SubscribeRequest): Verdict
  /** As `Hooks.reviewForward`. */
  reviewForward(client: Client, message: Message, retain: boolean): Message | undefined
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

  get filtersPublish(): boolean {
    return this.hooks.filtersPublish
  }

  get filtersSubscribe(): boolean {
    return this.hooks.filtersSubscribe
  }

  get filtersForward(): boolean {
    return this.hooks.filtersForward
  }

  mayPublish(client: Client, message: Message): number {
    return this.hooks.mayPublish(client, message)
  }

  publishesAlike(): boolean {
    return true
  }

  maySubscribe(client: Client, request: SubscribeRequest): Verdict {
    return this.hooks.maySubscribe(client, request)
  }

  reviewPublish(client: Client, message: Message): Review | Promise<Review> {
    return this.hooks.reviewPublish(client, message)
  }

  reviewForward(client: Client, message: Message, retain: boolean): Message | undefined {
    return this.hooks.reviewForward(client, message, retain)
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

  get filtersPublish(): boolean {
    return this.hooks.filtersPublish
  }

  get filtersSubscribe(): boolean {
    return this.hooks.filtersSubscribe
  }

  get filtersForward(): boolean {
    return !this.permissions.allowsAll || this.hooks.filtersForward
  }

  mayPublish(client: Client, message: Message): number {
    return this.permits(message) ? this.hooks.mayPublish(client, message) : ReasonCode.notAuthorized
  }

  publishesAlike(topicName: string): boolean {
    return this.permissions.publishesAlike(topicName)
  }

  reviewPublish(client: Client, message: Message): Review | Promise<Review> {
    if (!this.permits(message)) return ReasonCode.notAuthorized
    const review = this.hooks.reviewPublish(client, message)
    return review instanceof Promise ? review.then(answer => this.permitted(answer)) : this.permitted(review)
  }

  maySubscribe(client: Client, request: SubscribeRequest): Verdict {
    if (!this.permissions.maySubscribe(request.topicFilter, request.qos)) return ReasonCode.notAuthorized
    return this.hooks.maySubscribe(client, request)
  }

  reviewForward(client: Client, message: Message, retain: boolean): Message | undefined {
    if (!this.permissions.mayReceive(message.topicName)) return undefined
    if (this.hooks.filtersForward) return this.hooks.reviewForward(client, message, retain)
    return message.retain === retain ? message : new Message({ ...message, retain })
  }

  private permits({ topicName, qos, retain }: Message): boolean {
    return this.permissions.mayPublish(topicName, qos, retain)
  }

  /** What a hook has written is still a message of this client. */
  private permitted(review: Review): Review {
    return typeof review === 'number' || this.permits(review) ? review : ReasonCode.notAuthorized
  }
}
