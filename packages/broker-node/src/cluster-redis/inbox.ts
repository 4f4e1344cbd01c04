import { BrokerError, type FrameReader } from '@midge/protocol-core'
import type { Redis } from 'ioredis'
import type { Logger } from '../ports.ts'
import { pause, whenReady } from './connection.ts'
import { INBOX_BLOCK_MS, INBOX_READ_COUNT, INBOX_TRIM_MS, retryDelayMs } from './limits.ts'

/** A blocking read that has not returned this long after its time is on a dead connection. */
const READ_GRACE_MS = 3_000

/** What an {@link InboxReader} needs. */
export interface InboxOptions {
  /** Used by this reader alone: it blocks. */
  redis: Redis
  /** For trimming. */
  commands: Redis
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
    this.options.redis.disconnect()
    await this.running
  }

  private async run(): Promise<void> {
    const { redis, logger } = this.options
    let failures = 0
    while (!this.stopped.signal.aborted) {
      try {
        await whenReady(redis, this.stopped.signal)
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
    const { redis, key } = this.options
    const watchdog = setTimeout(() => redis.disconnect(true), INBOX_BLOCK_MS + READ_GRACE_MS)
    try {
      const streams = await redis.xreadBuffer(
        'COUNT',
        INBOX_READ_COUNT,
        'BLOCK',
        INBOX_BLOCK_MS,
        'STREAMS',
        key,
        this.lastId,
      )
      return streams?.[0]?.[1] ?? []
    } finally {
      clearTimeout(watchdog)
    }
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
    if (entries.length > 0) this.trim()
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

  /** What has been read is of no use to anybody; without this an inbox would always hold its maximum. */
  private trim(): void {
    const nowMs = performance.now()
    const { commands, key } = this.options
    if (nowMs - this.trimmedAtMs < INBOX_TRIM_MS || commands.status !== 'ready') return
    this.trimmedAtMs = nowMs
    commands.xtrim(key, 'MINID', this.lastId).catch(() => undefined)
  }
}

function isBefore(entryId: string, other: string): boolean {
  const [time = 0, count = 0] = entryId.split('-').map(Number)
  const [otherTime = 0, otherCount = 0] = other.split('-').map(Number)
  return time < otherTime || (time === otherTime && count < otherCount)
}
