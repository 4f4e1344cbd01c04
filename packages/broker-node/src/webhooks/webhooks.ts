import { randomBytes } from 'node:crypto'
import { checkTopicFilter, type InstanceName, type Message, parseShare } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { HttpAnswer, HttpCall } from '../outbound/http-caller.ts'
import type { Logger } from '../ports.ts'
import type { Instance } from '../tenancy/model/instance.ts'
import type { Webhook } from '../tenancy/model/webhook.ts'
import type { Tenancy, TenancyObserver } from '../tenancy/tenancy.ts'
import { BacklogRoom } from './backlog.ts'
import { type ClientEvent, clientEventText, messageText } from './event-text.ts'
import { type SenderTimings, WebhookSender } from './webhook-sender.ts'

/** What webhooks are fed from, and send by. */
export interface WebhooksParts {
  tenancy: Pick<Tenancy, 'instances' | 'webhooks' | 'observe'>
  counters: Counters
  logger: Logger
  topicLevelsMax: number
  /** Of its own: calls that hang must not take the places of logins. */
  call(call: HttpCall): Promise<HttpAnswer>
  /**
   * Calls `tell` with each message of the filter that is published on this node, in the tick of the message.
   *
   * @returns ends it
   */
  watchMessages(instance: InstanceName, topicFilter: string, tell: (message: Message) => void): () => void
  /** As `watchMessages`, for what happens to clients of this node, in every instance. */
  watchClients(tell: (instance: InstanceName, event: ClientEvent) => void): () => void
  nowMs(): number
  timings?: Partial<SenderTimings>
}

const TIMINGS: SenderTimings = {
  lingerMs: 50,
  timeoutMs: 10_000,
  attemptsMax: 10,
  backOffMsMin: 1000,
  backOffMsMax: 60_000,
  ageMsMax: 15 * 60_000,
}
/** Bytes that wait for all webhooks of this node together. */
const ROOM_BYTES_MAX = 64 * 1024 * 1024
const PAGE_ITEMS = 1000

/** One webhook at work. */
interface Running {
  webhook: Webhook
  sender: WebhookSender
  unwatch: () => void
}

/**
 * The webhooks of all instances on this node: each node tells of its own clients and of the messages published on it,
 * so that every event is told once, and of nothing while an instance has no webhook.
 */
export class Webhooks implements TenancyObserver {
  private readonly parts: WebhooksParts
  private readonly timings: SenderTimings
  private readonly room = new BacklogRoom(ROOM_BYTES_MAX)
  private readonly running: Map<InstanceName, Map<string, Running>> = new Map()
  /** Makes ids that no other process has made. */
  private readonly runId = randomBytes(9).toString('hex')
  private lastSeq = 0
  private unwatchClients: (() => void) | undefined = undefined
  private isStopped = false

  constructor(parts: WebhooksParts) {
    this.parts = parts
    this.timings = { ...TIMINGS, ...parts.timings }
  }

  /** Begins with the webhooks that are there, and follows every change. */
  start(): void {
    const { tenancy } = this.parts
    tenancy.observe(this)
    let after: string | undefined
    do {
      const page = tenancy.instances.list({ countMax: PAGE_ITEMS, ...(after === undefined ? {} : { after }) })
      for (const { id } of page.items)
        for (const webhook of tenancy.webhooks.list(id)) this.onWebhook(id, webhook.id, webhook)
      after = page.cursor
    } while (after !== undefined)
  }

  /** What still waits is dropped. */
  stop(): void {
    this.isStopped = true
    for (const [instance, own] of this.running) for (const id of own.keys()) this.end(instance, id)
  }

  onInstance(before: Instance | undefined, after: Instance | undefined): void {
    if (before === undefined || after !== undefined) return
    for (const id of [...(this.running.get(before.id)?.keys() ?? [])]) this.end(before.id, id)
  }

  onWebhook(instance: InstanceName, id: string, after: Webhook | undefined): void {
    this.end(instance, id)
    if (after?.isEnabled !== true || this.isStopped) return
    const own = this.running.get(instance) ?? new Map<string, Running>()
    this.running.set(instance, own)
    const { room, timings } = this
    const sender = new WebhookSender({ ...this.parts, instance, webhook: after, room, timings })
    own.set(id, { webhook: after, sender, unwatch: this.watchMessages(instance, after, sender) })
    this.unwatchClients ??= this.parts.watchClients((of, event) => this.onClient(of, event))
  }

  private end(instance: InstanceName, id: string): void {
    const own = this.running.get(instance)
    const running = own?.get(id)
    if (own === undefined || running === undefined) return
    running.unwatch()
    running.sender.stop()
    own.delete(id)
    if (own.size === 0) this.running.delete(instance)
    if (this.running.size > 0) return
    this.unwatchClients?.()
    this.unwatchClients = undefined
  }

  private watchMessages(
    instance: InstanceName,
    { id, events, topicFilter }: Webhook,
    sender: WebhookSender,
  ): () => void {
    if (!events.includes('message.published')) return nothing
    const filter = topicFilter ?? '#'
    const { parts } = this
    if (checkTopicFilter(filter, parts.topicLevelsMax) !== 0 || parseShare(filter) !== undefined) {
      const fields = { event: 'webhook.bad_filter', instance, webhook: id, topicFilter: filter.slice(0, 128) }
      parts.logger.warn(fields, 'a webhook is told of no messages: its topicFilter is none, or a shared one')
      return nothing
    }
    return parts.watchMessages(instance, filter, message => {
      if (sender.takesMore()) sender.push(messageText(this.nextId(), message, parts.nowMs()))
    })
  }

  private onClient(instance: InstanceName, event: ClientEvent): void {
    for (const { webhook, sender } of this.running.get(instance)?.values() ?? [])
      if (webhook.events.includes(event.event)) sender.push(clientEventText(this.nextId(), event))
  }

  private nextId(): string {
    this.lastSeq++
    return `${this.runId}-${this.lastSeq}`
  }
}

function nothing(): void {}
