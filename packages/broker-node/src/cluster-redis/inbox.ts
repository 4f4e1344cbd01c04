import { BrokerError, type FrameReader } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import type { BlockingLink } from '../redis/blocking-link.ts'
import { pause, retryDelayMs } from '../redis/retry.ts'
import { INBOX_BLOCK_MS, INBOX_READ_COUNT, INBOX_TRIM_MS } from './timings.ts'

/** What an {@link InboxReader} needs. */
export interface InboxOptions {
  link: BlockingLink
  key: string
  reader: FrameReader
  /** Called with the reader standing on an open frame. */
  onFrame(reader: FrameReader): void
  /** Frames of `senderNodeId` that were added to the inbox, or should have been, and never arrived here. */
  onGap(senderNodeId: string, missingFrames: number): void
  /** A frame that could not be read: unknown version, or damaged. */
  onUnreadable(reason: string): void
  logger: Logger
}

/**
 * Reads this node's inbox, frame after frame, and goes on where it was after the connection was lost.
 *
 * Delivers each frame of a sender at most once and in order: a sender that is not sure repeats frames, with their
 * sequence numbers.
 */
export class InboxReader {
  private readonly options: InboxOptions
  private readonly stopped = new AbortController()
  private readonly senders = new Map<string, { epoch: number; sequence: number }>()
  private lastId: string
  private trimmedAtMs = 0
  private running: Promise<void> | undefined

  /** @param fromId - entries behind this one are read */
  constructor(options: InboxOptions, fromId: string) {
    this.options = options
    this.lastId = fromId
  }

  start(): void {
    this.running ??= this.run()
  }

  /** The inbox was created anew; Redis' clock may have gone back, and ids with it. */
  restartAt(entryId: string): void {
    if (isBefore(entryId, this.lastId)) this.lastId = entryId
  }

  /** Forgets the sequence of a node that is gone. */
  forget(nodeId: string): void {
    this.senders.delete(nodeId)
  }

  async stop(): Promise<void> {
    this.stopped.abort()
    this.options.link.disconnect()
    await this.running
  }

  private async run(): Promise<void> {
    const { link, logger } = this.options
    let failures = 0
    while (!this.stopped.signal.aborted) {
      try {
        await link.whenReady(this.stopped.signal)
        await this.trim()
        this.handle(await this.read())
        failures = 0
      } catch (error) {
        if (this.stopped.signal.aborted) return
        if (++failures === 1) logger.debug({ event: 'cluster.inbox_retry', reason: String(error) }, 'reading again')
        await pause(retryDelayMs(failures), this.stopped.signal)
      }
    }
  }

  private async read(): Promise<[Buffer, Buffer[]][]> {
    const { link, key } = this.options
    const reply = await link.call(
      'XREAD',
      'COUNT',
      INBOX_READ_COUNT,
      'BLOCK',
      INBOX_BLOCK_MS,
      'STREAMS',
      key,
      this.lastId,
    )
    // The shape is XREAD's: streams, of which there is one, with their entries.
    const streams = reply as [Buffer, [Buffer, Buffer[]][]][] | null
    return streams?.[0]?.[1] ?? []
  }

  private handle(entries: [Buffer, Buffer[]][]): void {
    for (const [id, [name, frame]] of entries) {
      this.lastId = id.toString('latin1')
      // Other names mark where a process began.
      if (frame === undefined || name?.length !== 1) continue
      try {
        this.handleFrame(frame)
      } catch (error) {
        if (!(error instanceof BrokerError)) {
          this.options.logger.error({ event: 'cluster.frame_failed', reason: String(error) }, 'handling a frame failed')
        } else this.options.onUnreadable(error.message)
      }
    }
  }

  private handleFrame(frame: Uint8Array): void {
    const { reader } = this.options
    if (!reader.open(frame)) {
      this.options.onUnreadable('unknown version')
      return
    }
    const known = this.senders.get(reader.nodeId)
    if (known === undefined || known.epoch !== reader.epoch) {
      this.senders.set(reader.nodeId, { epoch: reader.epoch, sequence: reader.sequence })
    } else {
      if (reader.sequence <= known.sequence) return
      const missing = reader.sequence - known.sequence - 1
      known.sequence = reader.sequence
      if (missing > 0) this.options.onGap(reader.nodeId, missing)
    }
    this.options.onFrame(reader)
  }

  /**
   * What has been read is of no use to anybody; without this an inbox would always hold its maximum. As a write on the
   * connection that otherwise only reads, it also fails when the server was made a replica.
   */
  private async trim(): Promise<void> {
    const nowMs = performance.now()
    if (nowMs - this.trimmedAtMs < INBOX_TRIM_MS) return
    this.trimmedAtMs = nowMs
    await this.options.link.call('XTRIM', this.options.key, 'MINID', this.lastId)
  }
}

function isBefore(entryId: string, other: string): boolean {
  const [time = 0, count = 0] = entryId.split('-').map(Number)
  const [otherTime = 0, otherCount = 0] = other.split('-').map(Number)
  return time < otherTime || (time === otherTime && count < otherCount)
}
