import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { BrokerError } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { HttpAnswer, HttpCall } from '../outbound/http-caller.ts'
import type { Logger } from '../ports.ts'
import type { Webhook } from '../tenancy/model/webhook.ts'
import { Backlog, type BacklogRoom } from './backlog.ts'
import { signatureOf, WEBHOOK_HEADERS } from './signature.ts'
import { WebhookDropReason } from './webhook-drop-reason.ts'

/** How patient a sender is. */
export interface SenderTimings {
  /** Events that happen together are sent together. */
  lingerMs: number
  /** For one request. */
  timeoutMs: number
  /** Requests for one batch. */
  attemptsMax: number
  /** Between two of them; doubles each time, with jitter. */
  backOffMsMin: number
  backOffMsMax: number
  /** An event older than that is not sent any more. */
  ageMsMax: number
}

/** What a sender works with. */
export interface SenderParts {
  instance: string
  webhook: Webhook
  room: BacklogRoom
  timings: SenderTimings
  counters: Counters
  logger: Logger
  call(call: HttpCall): Promise<HttpAnswer>
  nowMs(): number
}

const ANSWER_BYTES_MAX = 64 * 1024
/** Statuses beside 5xx that may be another at the next attempt. */
const PASSING_STATUSES: readonly number[] = [408, 425, 429]

/** A request that has not been accepted. */
interface Failure {
  isFinal: boolean
  text: string
}

/**
 * Sends what one webhook is to be told: one request at a time, in order, again until it is accepted or given up. Nobody
 * waits for it: what finds no room in its backlog is dropped and counted.
 */
export class WebhookSender {
  private readonly parts: SenderParts
  private readonly backlog: Backlog
  private readonly stopped = new AbortController()
  private isRunning = false
  /** Of this webhook, told to its server in the next batch. */
  private droppedCount = 0

  constructor(parts: SenderParts) {
    this.parts = parts
    this.backlog = new Backlog(parts.room)
  }

  /** Counts an event that finds no room as dropped. @returns false for it, so that its text is not made */
  takesMore(): boolean {
    if (!this.backlog.isFull) return true
    this.drop(WebhookDropReason.backlogFull, 1)
    return false
  }

  /** @param text - JSON of the event */
  push(text: string): void {
    if (this.stopped.signal.aborted) return
    if (!this.backlog.push({ text, atMs: this.parts.nowMs() })) this.drop(WebhookDropReason.backlogFull, 1)
    if (this.isRunning) return
    this.isRunning = true
    this.run().catch((error: unknown) => {
      this.isRunning = false
      if (this.stopped.signal.aborted) return
      const { logger, instance, webhook } = this.parts
      logger.error({ event: 'webhook.bug', err: error, instance, webhook: webhook.id }, 'a webhook cannot be told')
    })
  }

  /** What still waits is dropped. */
  stop(): void {
    this.stopped.abort()
    this.giveUp(WebhookDropReason.stopped, this.backlog.length)
  }

  private async run(): Promise<void> {
    await this.pause(this.parts.timings.lingerMs)
    while (this.backlog.length > 0) {
      await this.sendHead()
      this.giveUp(WebhookDropReason.tooOld, this.backlog.countBefore(this.parts.nowMs() - this.parts.timings.ageMsMax))
    }
    this.isRunning = false
  }

  /** The oldest batch: it leaves the backlog accepted, or given up. */
  private async sendHead(): Promise<void> {
    const { timings, counters, instance, webhook } = this.parts
    const events = this.backlog.head()
    const id = randomUUID()
    const dropped = this.droppedCount
    const head = JSON.stringify({ id, instance, webhook: webhook.id, droppedCount: dropped })
    const body = `${head.slice(0, -1)},"events":[${events.map(({ text }) => text).join(',')}]}`
    for (let attempt = 1; ; attempt++) {
      const failure = await this.send(id, body)
      this.stopped.signal.throwIfAborted()
      if (failure === undefined) {
        this.droppedCount -= dropped
        counters.webhookEventsDelivered += events.length
        this.backlog.remove(events.length)
        return
      }
      counters.webhookRequestsFailed++
      const isTooOld = this.parts.nowMs() - (events[0]?.atMs ?? 0) > timings.ageMsMax
      if (failure.isFinal || attempt >= timings.attemptsMax || isTooOld) {
        this.giveUp(failure.isFinal ? WebhookDropReason.refused : WebhookDropReason.unreachable, events.length)
        this.logLost(events.length, failure.text)
        return
      }
      const longest = Math.min(timings.backOffMsMax, timings.backOffMsMin * 2 ** (attempt - 1))
      await this.pause(longest * (0.5 + Math.random() / 2))
    }
  }

  private async send(id: string, body: string): Promise<Failure | undefined> {
    const { webhook, timings, nowMs } = this.parts
    const timestampSeconds = Math.floor(nowMs() / 1000)
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'Midge',
      [WEBHOOK_HEADERS.id]: id,
      [WEBHOOK_HEADERS.timestamp]: String(timestampSeconds),
      [WEBHOOK_HEADERS.signature]: signatureOf(webhook.secret, { id, timestampSeconds, body }),
    }
    const { timeoutMs } = timings
    try {
      const call = { url: webhook.url, method: 'POST', headers, body, timeoutMs } as const
      const { status } = await this.parts.call({ ...call, answerBytesMax: ANSWER_BYTES_MAX })
      if (status >= 200 && status < 300) return undefined
      return { isFinal: status < 500 && !PASSING_STATUSES.includes(status), text: `answered ${status}` }
    } catch (error) {
      if (error instanceof BrokerError) return { isFinal: !error.retryable, text: `${error.code}: ${error.message}` }
      throw error
    }
  }

  private pause(ms: number): Promise<void> {
    return wait(ms, undefined, { signal: this.stopped.signal, ref: false })
  }

  private giveUp(reason: WebhookDropReason, count: number): void {
    if (count === 0) return
    this.backlog.remove(count)
    this.drop(reason, count)
  }

  private drop(reason: WebhookDropReason, count: number): void {
    this.droppedCount += count
    this.parts.counters.dropWebhookEvents(reason, count)
  }

  private logLost(eventsCount: number, reason: string): void {
    const { logger, instance, webhook } = this.parts
    const fields = { event: 'webhook.given_up', instance, webhook: webhook.id, eventsCount, reason }
    logger.warn(fields, 'events were given up: the server of a webhook does not take them')
  }
}
