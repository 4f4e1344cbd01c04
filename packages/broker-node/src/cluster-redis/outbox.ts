import {
  BrokerError,
  FrameWriter,
  type InstanceName,
  type Message,
  type NodeCommand,
  type PublishRun,
} from '@midge/protocol-core'
import { FRAMES_IN_FLIGHT_MAX, OUTBOX_BYTES_MAX } from './timings.ts'

/** A frame on its way, with the sequence number that is inside it. */
interface OutboundFrame {
  bytes: Uint8Array
  sequence: number
  count: number
}

/** One call of `flushed()`: counts the outboxes that still owe it something. */
export class FlushWaiter {
  readonly promise: Promise<void>
  private owed = 1
  private settle: (error?: BrokerError) => void = () => undefined

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.settle = error => (error === undefined ? resolve() : reject(error))
    })
    // A caller that no longer cares must not end the process.
    this.promise.catch(() => undefined)
  }

  owe(): void {
    this.owed++
  }

  /** One debt less; the waiter itself holds one until the tick has closed. */
  paid(): void {
    if (--this.owed === 0) this.settle()
  }

  fail(error: BrokerError): void {
    this.settle(error)
  }
}

/** What an {@link Outbox} needs from the link. */
export interface OutboxOptions {
  nodeId: string
  epoch: number
  /** Adds a frame to the receiver's inbox; false when there is no such inbox. */
  add(frame: Uint8Array): Promise<boolean>
  /** Resolves when it is worth trying again; rejects when the node stops. */
  untilHealthy(): Promise<void>
  /** Messages that will never arrive, with the lowest QoS of what was lost. */
  onDropped(count: number): void
}

/**
 * Frames for one node, in order.
 *
 * Up to {@link FRAMES_IN_FLIGHT_MAX} frames are unconfirmed at a time. When one of them fails, all that follow are
 * sent again behind it once Redis answers; the receiver knows frames it has seen by their sequence, so a repeated one
 * does no harm. The bytes that wait are bounded by {@link OUTBOX_BYTES_MAX}.
 */
export class Outbox {
  private readonly options: OutboxOptions
  private readonly writer: FrameWriter
  /** Frames not confirmed, oldest first; the first `inFlight` of them have been sent. */
  private frames: OutboundFrame[] = []
  private inFlight = 0
  private queuedBytes = 0
  private isStalled = false
  /** Grows with every failure: replies to frames of an earlier attempt say nothing about this one. */
  private attempt = 0
  private waiters: { sequence: number; waiter: FlushWaiter }[] = []
  /** A message above QoS 0 was refused in this tick: a `flushed()` of this tick must not succeed. */
  private refusedInTick = false
  /** The tick's end will look at this outbox. */
  isDirty = false

  constructor(ownNodeId: string, options: OutboxOptions) {
    this.options = options
    this.writer = new FrameWriter(ownNodeId, options.epoch)
  }

  /** Bytes that wait or are on their way. */
  get bytes(): number {
    return this.queuedBytes
  }

  append(instance: InstanceName, message: Message, groups: string[]): void {
    if (this.queuedBytes + message.payload.length > OUTBOX_BYTES_MAX) {
      if (message.qos !== 0) this.refusedInTick = true
      this.options.onDropped(1)
      return
    }
    if (this.writer.append(instance, message, groups)) return
    this.takeFrame()
    this.writer.append(instance, message, groups)
  }

  /** QoS 0 only, so that a refusal is a drop and nothing else. */
  appendRun(instance: InstanceName, run: PublishRun): void {
    if (this.queuedBytes + run.end - run.start > OUTBOX_BYTES_MAX) {
      this.options.onDropped(run.count)
      return
    }
    if (this.writer.appendRun(instance, run)) return
    this.takeFrame()
    this.writer.appendRun(instance, run)
  }

  /** Not bounded by bytes: commands are few, and each of them has to arrive. */
  command(command: NodeCommand): void {
    if (this.writer.appendCommand(command)) return
    this.takeFrame()
    this.writer.appendCommand(command)
  }

  poke(instance: InstanceName, group: string): void {
    if (this.writer.appendPoke(instance, group)) return
    this.takeFrame()
    this.writer.appendPoke(instance, group)
  }

  /** Sends what the tick has gathered; `waiter` then waits for everything up to here. */
  endTick(waiter: FlushWaiter | undefined): void {
    this.isDirty = false
    if (this.mayTake()) this.takeFrame()
    if (waiter !== undefined) {
      if (this.refusedInTick) waiter.fail(unavailable(`the way to node ${this.options.nodeId} is full`))
      if (this.isStalled) waiter.fail(unavailable('Redis does not answer'))
      const isPartial = this.writer.count > 0
      if (isPartial || this.frames.length > 0) {
        waiter.owe()
        this.waiters.push({ sequence: this.writer.lastSequence + (isPartial ? 1 : 0), waiter })
      }
    }
    this.refusedInTick = false
  }

  /** Forgets everything that has not arrived: the receiver is gone. */
  close(): void {
    this.attempt++
    let lost = this.writer.messageCount
    for (const frame of this.frames) lost += frame.count
    if (lost > 0) this.options.onDropped(lost)
    this.frames = []
    this.inFlight = 0
    this.queuedBytes = 0
    this.payWaiters(Number.POSITIVE_INFINITY)
  }

  /** While all frames in flight are out, the next one rather fills up than leaves half empty. */
  private mayTake(): boolean {
    return this.writer.count > 0 && !this.isStalled && this.frames.length < FRAMES_IN_FLIGHT_MAX
  }

  private takeFrame(): void {
    const count = this.writer.messageCount
    const bytes = this.writer.take()
    this.frames.push({ bytes, sequence: this.writer.lastSequence, count })
    this.queuedBytes += bytes.length
    this.pump()
  }

  private pump(): void {
    while (!this.isStalled && this.inFlight < FRAMES_IN_FLIGHT_MAX && this.inFlight < this.frames.length) {
      const frame = this.frames[this.inFlight]
      if (frame === undefined) return
      this.inFlight++
      const { attempt } = this
      this.options.add(frame.bytes).then(
        hasInbox => this.confirmed(frame, hasInbox, attempt),
        () => this.failed(attempt),
      )
    }
  }

  private confirmed(frame: OutboundFrame, hasInbox: boolean, attempt: number): void {
    if (attempt !== this.attempt || this.frames[0] !== frame) return
    this.frames.shift()
    this.inFlight--
    this.queuedBytes -= frame.bytes.length
    if (!hasInbox && frame.count > 0) this.options.onDropped(frame.count)
    this.payWaiters(frame.sequence)
    if (this.mayTake()) this.takeFrame()
    else this.pump()
  }

  private failed(attempt: number): void {
    if (attempt !== this.attempt) return
    this.attempt++
    this.isStalled = true
    this.inFlight = 0
    for (const { waiter } of this.waiters) waiter.fail(unavailable('Redis did not confirm a frame'))
    this.waiters = []
    this.options.untilHealthy().then(
      () => {
        this.isStalled = false
        if (this.mayTake()) this.takeFrame()
        else this.pump()
      },
      () => this.close(),
    )
  }

  private payWaiters(sequence: number): void {
    while (this.waiters.length > 0 && (this.waiters[0]?.sequence ?? 0) <= sequence) this.waiters.shift()?.waiter.paid()
  }
}

function unavailable(text: string): BrokerError {
  return new BrokerError('MIDGE_STORE_UNAVAILABLE', text, { retryable: true })
}
