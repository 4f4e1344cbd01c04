import type { Message, PublishRun, Qos } from '@midge/protocol-core'
import type { DeliveryForm } from '../ground/delivery-form.ts'
import type { CloseOptions, Outlet } from '../ground/outlet.ts'
import type { PlainFrame } from '../ground/plain-frame.ts'

/** A PUBLISH that went out. */
export interface SentPublish {
  topicName: string
  payload: string
  qos: Qos
  retain: boolean
  dup: boolean
  packetId: number
  subscriptionIds: number[] | undefined
}

/** An outlet without a socket: what goes out is kept, and the test says what there is room for. */
export class ScriptedOutlet implements Outlet {
  isClosed = false
  isV5 = true
  isBehind = false
  acceptsQueued = true
  takesPlainFrames = false
  /** False drops every PUBLISH, as one that is too large for the client. */
  takesPublish = true
  readonly sent: SentPublish[] = []
  readonly pubrels: number[] = []
  /** Packet ids, those of QoS 2 negative. */
  readonly acknowledged: number[] = []
  /** Frames appended as they are, and how many messages they hold. */
  readonly frames: { bytes: Uint8Array; count: number }[] = []
  readonly patched: number[] = []
  readonly failures: unknown[] = []
  readonly closed: { reasonCode: number; options: CloseOptions | undefined }[] = []

  /** Payloads of the messages that were sent one by one. */
  get payloads(): string[] {
    return this.sent.map(({ payload }) => payload)
  }

  sendPublish(message: Message, form: DeliveryForm, packetId: number): boolean {
    return this.keep(message, form, { packetId, dup: false })
  }

  resendPublish(message: Message, form: DeliveryForm, packetId: number): boolean {
    return this.keep(message, form, { packetId, dup: true })
  }

  sendPubrel(packetId: number): void {
    this.pubrels.push(packetId)
  }

  onAcknowledged(packetId: number, isQos2: boolean): void {
    this.acknowledged.push(isQos2 ? -packetId : packetId)
  }

  appendRun(run: PublishRun): void {
    this.frames.push({ bytes: run.bytes.slice(run.start, run.end), count: run.count })
  }

  appendFrame(frame: Uint8Array): void {
    this.frames.push({ bytes: frame.slice(), count: 1 })
  }

  appendPatched(frame: Uint8Array, packetId: number): void {
    this.frames.push({ bytes: frame.slice(), count: 1 })
    this.patched.push(packetId)
  }

  appendPlain(frame: PlainFrame, packetId: number): void {
    this.frames.push({ bytes: frame.bytes.slice(frame.start, frame.end), count: 1 })
    this.patched.push(packetId)
  }

  close(reasonCode: number, _reason: string, options?: CloseOptions): void {
    this.isClosed = true
    this.closed.push({ reasonCode, options })
  }

  onStoreFailure(error: unknown): void {
    this.failures.push(error)
  }

  private keep(message: Message, form: DeliveryForm, rest: { packetId: number; dup: boolean }): boolean {
    if (!this.takesPublish) return false
    const { topicName } = message
    const { qos, retain, subscriptionIds } = form
    this.sent.push({
      topicName,
      payload: Buffer.from(message.payload).toString(),
      qos,
      retain,
      subscriptionIds,
      ...rest,
    })
    return true
  }
}
