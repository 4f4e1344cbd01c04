import { ReasonCode } from '@midge/protocol-core'
import type { HeldClient, InboundPace, OutboundPace, RoomWaiter } from '../ground/usage.ts'
import type { Allowance } from './allowance.ts'

/** A client that cannot be read on for this long is told so and closed. */
const HOLD_MS_MAX = 10_000
/** A read of so many messages and bytes may come without a look at each of them. */
const AMPLE_MESSAGES = 4_096
const AMPLE_BYTES = 65_536
/** Weight of the newest message in the mean size: one in so many. */
const MEAN_WEIGHT = 16

/** The two rates of one direction; one may be without limit. */
export interface Rates {
  messages: Allowance | undefined
  bytes: Allowance | undefined
}

function areAmple({ messages, bytes }: Rates): boolean {
  return (
    (messages === undefined || messages.balance > AMPLE_MESSAGES) &&
    (bytes === undefined || bytes.balance > AMPLE_BYTES)
  )
}

/** A client that is read no further. */
interface Held {
  client: HeldClient
  sinceMs: number
  resolve: () => void
}

/** PUBLISH packets from the clients of an instance: beyond the rate they are read no further, so that nothing is lost. */
export class InboundMeter implements InboundPace {
  private readonly rates: Rates
  private readonly onLow: () => void
  private readonly textOf: (rate: Allowance) => string
  private held: Held[] = []
  private meanBytes = 64

  /** @param onLow - tokens are wanted, at the latest now */
  constructor(rates: Rates, onLow: () => void, textOf: (rate: Allowance) => string) {
    this.rates = rates
    this.onLow = onLow
    this.textOf = textOf
  }

  get isAmple(): boolean {
    return areAmple(this.rates)
  }

  take(messages: number, bytes: number): boolean {
    const { rates } = this
    this.meanBytes += (bytes / messages - this.meanBytes) / MEAN_WEIGHT
    // Both are counted, whatever the first one says.
    const isLow = (rates.messages?.take(messages) === true ? 1 : 0) + (rates.bytes?.take(bytes) === true ? 1 : 0)
    if (isLow === 0) return false
    this.onLow()
    return this.overdrawn() !== undefined
  }

  whenRoom(client: HeldClient): Promise<void> {
    return new Promise(resolve => this.held.push({ client, sinceMs: performance.now(), resolve }))
  }

  /** Tokens have come: lets as many go on as there is room for. */
  wake(): void {
    const { messages, bytes } = this.rates
    if (this.held.length === 0 || this.overdrawn() !== undefined) return
    const count = Math.min(
      messages?.balance ?? this.held.length,
      (bytes?.balance ?? Number.POSITIVE_INFINITY) / this.meanBytes,
    )
    for (const { resolve } of this.held.splice(0, Math.max(1, Math.ceil(count)))) resolve()
  }

  /** Closes those that have waited too long; the first one has waited longest. */
  expire(nowMs: number): void {
    const rate = this.overdrawn()
    let count = 0
    for (const { client, sinceMs, resolve } of this.held) {
      if (nowMs - sinceMs < HOLD_MS_MAX) break
      count++
      if (rate !== undefined) client.close(ReasonCode.messageRateTooHigh, this.textOf(rate))
      resolve()
    }
    if (count > 0) this.held.splice(0, count)
  }

  /** There is no limit any more. */
  release(): void {
    for (const { resolve } of this.held.splice(0)) resolve()
  }

  private overdrawn(): Allowance | undefined {
    const { messages, bytes } = this.rates
    if (messages?.isOverdrawn === true) return messages
    return bytes?.isOverdrawn === true ? bytes : undefined
  }
}

/** PUBLISH packets to the clients of an instance: beyond the rate QoS 0 is dropped, and what has a queue waits in it. */
export class OutboundMeter implements OutboundPace {
  private readonly rates: Rates
  private readonly onLow: () => void
  private waiters: Set<RoomWaiter> = new Set()

  /** @param onLow - tokens are wanted, at the latest now */
  constructor(rates: Rates, onLow: () => void) {
    this.rates = rates
    this.onLow = onLow
  }

  get isDry(): boolean {
    return this.rates.messages?.isDry === true || this.rates.bytes?.isDry === true
  }

  get isAmple(): boolean {
    return areAmple(this.rates)
  }

  take(messages: number, bytes: number): void {
    const { rates } = this
    const isLow = (rates.messages?.take(messages) === true ? 1 : 0) + (rates.bytes?.take(bytes) === true ? 1 : 0)
    if (isLow > 0) this.onLow()
  }

  admits(waiter: RoomWaiter): boolean {
    if (!this.isDry) return true
    this.waiters.add(waiter)
    return false
  }

  /** Tokens have come: those who wait go on in their turn, as far as they reach. */
  wake(): void {
    // Who gets on and is out of tokens again has joined the end of the line.
    for (const waiter of this.waiters) {
      if (this.isDry) return
      this.waiters.delete(waiter)
      waiter.onRoom()
    }
  }

  /** There is no limit any more. */
  release(): void {
    const waiting = this.waiters
    this.waiters = new Set()
    for (const waiter of waiting) waiter.onRoom()
  }
}
