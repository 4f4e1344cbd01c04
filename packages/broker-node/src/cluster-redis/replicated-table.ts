import { randomUUID } from 'node:crypto'
import { BrokerError } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import type { CommandLink } from '../redis/command-link.ts'
import { pause } from '../redis/retry.ts'
import type { RetryGate } from '../redis/retry-gate.ts'
import type { ClusterKeys } from './cluster-keys.ts'
import type { ClusterScript } from './cluster-scripts.ts'
import { TableDigest } from './table-digest.ts'
import { TABLE_BATCH_CHANGES_MAX, TABLE_BATCH_CHARS_MAX, TABLE_LOG_BATCHES_MAX, TABLE_SCAN_COUNT } from './timings.ts'

/** A point in the life of a table: versions of different epochs have nothing to do with each other. */
export interface TablePoint {
  epoch: string
  version: number
}

/** What a {@link ReplicatedTable} tells its owner. */
export interface TableObserver {
  /**
   * A row has changed by another node's hand or by a reload; `undefined` when it is gone. The table's own `set` is not
   * reported: whoever calls it knows.
   */
  onRow(field: string, value: string | undefined): void
  /** Own changes up to batch `batch` are written at `point`; `nodeIds` were registered at that moment. */
  onWritten(batch: number, point: TablePoint, nodeIds: string[]): void
  /** Everything up to `point` is applied; `origins` wrote it, `undefined` stands for anybody (a reload). */
  onApplied(point: TablePoint, origins: Set<string> | undefined): void
  /** The log was read to its end: the rows are what the table had at `point`, without half a batch among them. */
  onCaughtUp?(point: TablePoint): void
}

/** What a {@link ReplicatedTable} needs. */
export interface TableOptions {
  name: string
  redis: CommandLink<ClusterScript>
  gate: RetryGate
  keys: ClusterKeys
  nodeId: string
  processToken: string
  staleMs: number
  /** Batches per read of the log. */
  readBatches: number
  logger: Logger
  observer: TableObserver
}

/**
 * A table of text rows that every node holds in memory.
 *
 * The truth is a Redis hash. Every write is a batch: one script changes the hash, takes the next version and puts the
 * changes into a log whose entry ids are the versions. A node follows the log entry by entry; a missing version, a
 * trimmed log or another epoch (Redis was reset, or lost its last writes in a failover) makes it load the hash again
 * and report the differences.
 *
 * Own changes count at once: they hide what others wrote to the same row until they are seen in the log, where the
 * order is decided for everybody.
 */
export class ReplicatedTable {
  private readonly options: TableOptions
  private readonly digest = new TableDigest()
  private rows = new Map<string, string>()
  private point: TablePoint = { epoch: '', version: 0 }
  private confirmedAtMs = Number.NEGATIVE_INFINITY
  private loaded = false
  private isStopped = false

  /** Own changes not yet sent, a map per batch; an empty value deletes. */
  private queue: Map<string, string>[] = []
  private queueTailChars = 0
  /** Rows with own changes that the log has not shown yet, and the batch that has the last of them. */
  private readonly hidden = new Map<string, number>()
  private nextBatch = 1
  /** Batches that Redis has confirmed and the log has not shown yet, oldest first. */
  private written: { batch: number; point: TablePoint }[] = []
  private seenBatch = 0
  private sending: Promise<void> | undefined
  private isFlushScheduled = false
  private following: Promise<void> | undefined
  private followAgain = false
  private mustReload = true

  constructor(options: TableOptions) {
    this.options = options
  }

  get name(): string {
    return this.options.name
  }

  get size(): number {
    return this.rows.size
  }

  get appliedPoint(): TablePoint {
    return this.point
  }

  /** Resolves when the table is loaded, however long Redis takes. */
  async start(): Promise<void> {
    while (!this.loaded) {
      if (this.isStopped || this.options.gate.isStopped) throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'stopped')
      this.follow()
      await this.following
    }
  }

  /** All rows; not to be changed. */
  entries(): IterableIterator<[string, string]> {
    return this.rows.entries()
  }

  get(field: string): string | undefined {
    return this.rows.get(field)
  }

  /** Changes a row here now, and everywhere with the next batch; `undefined` deletes. */
  set(field: string, value: string | undefined): void {
    this.change(field, value)
    const chars = field.length + (value?.length ?? 0)
    let tail = this.queue.at(-1)
    if (
      tail === undefined ||
      tail.size >= TABLE_BATCH_CHANGES_MAX ||
      this.queueTailChars + chars > TABLE_BATCH_CHARS_MAX
    ) {
      tail = new Map()
      this.queue.push(tail)
      this.queueTailChars = 0
    }
    tail.set(field, value ?? '')
    this.queueTailChars += chars
    this.hidden.set(field, this.lastBatch())
    this.scheduleFlush()
  }

  /** @returns the batch that carries the last own change; 0 when there never was one */
  lastBatch(): number {
    return this.nextBatch - 1 + this.queue.length
  }

  /** What peers compare with theirs; `undefined` while own changes make this table differ on purpose. */
  summary(): string | undefined {
    if (!this.loaded || this.hidden.size > 0) return undefined
    return `${this.point.epoch} ${this.point.version} ${this.rows.size} ${this.digest.toString()}`
  }

  /** True when the rows were known to be complete a moment ago. */
  isCurrent(): boolean {
    return this.loaded && !this.mustReload && performance.now() - this.confirmedAtMs < this.options.staleMs
  }

  /** Reads what is new; called for a nudge and from time to time. */
  follow(): void {
    if (this.isStopped) return
    this.followAgain = true
    this.following ??= this.followUntilDone().finally(() => {
      this.following = undefined
    })
  }

  /** Loads everything again: somebody has found that this table differs from others. */
  reload(): void {
    this.mustReload = true
    this.follow()
  }

  /** Writes own changes that are still here, unless Redis keeps it waiting for longer than `waitMs`. */
  async stop(waitMs: number): Promise<void> {
    if (this.options.redis.isReady) {
      this.flush()
      const tooLong = new AbortController()
      const sent = (this.sending ?? Promise.resolve()).finally(() => tooLong.abort())
      await Promise.race([sent, pause(waitMs, tooLong.signal)])
    }
    this.isStopped = true
  }

  private change(field: string, value: string | undefined): boolean {
    const before = this.rows.get(field)
    if (before === value) return false
    if (before !== undefined) this.digest.toggle(field, before)
    if (value === undefined) this.rows.delete(field)
    else {
      this.rows.set(field, value)
      this.digest.toggle(field, value)
    }
    return true
  }

  /** A change from the log or a load; own changes on their way are newer than anything seen here. */
  private adopt(field: string, value: string | undefined): void {
    if (this.hidden.has(field)) return
    if (this.change(field, value)) this.options.observer.onRow(field, value)
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  private scheduleFlush(): void {
    if (this.isFlushScheduled || this.sending !== undefined) return
    this.isFlushScheduled = true
    setImmediate(() => {
      this.isFlushScheduled = false
      this.flush()
    })
  }

  /** One batch at a time is on its way; what comes meanwhile is the next one. */
  private flush(): void {
    if (this.sending !== undefined || this.queue.length === 0 || this.isStopped) return
    this.sending = this.sendAll().finally(() => {
      this.sending = undefined
      if (this.queue.length > 0) this.scheduleFlush()
    })
  }

  private async sendAll(): Promise<void> {
    for (let changes = this.queue.shift(); changes !== undefined; changes = this.queue.shift()) {
      if (!(await this.sendBatch(this.nextBatch++, [...changes].flat()))) return
    }
  }

  /** Repeats until Redis has it; a batch that was written and not confirmed is recognised by its number. */
  private async sendBatch(batch: number, changes: string[]): Promise<boolean> {
    const { redis, gate, keys, name, nodeId, processToken, observer, logger } = this.options
    const tableKeys = [keys.table(name), keys.tableMeta(name), keys.tableLog(name), keys.nodes()]
    const args = [randomUUID(), nodeId, processToken, batch, TABLE_LOG_BATCHES_MAX, ...changes]
    while (!this.isStopped) {
      try {
        await redis.whenReady(gate.signal)
        const [epoch, version, nodeIds] = asArray(await redis.one({ script: 'write-table-4', keys: tableKeys, args }))
        const point = { epoch: String(epoch), version: Number(version) }
        if (batch > this.seenBatch) {
          this.written.push({ batch, point })
          // Written before our last load, and not seen in the log: whose values the rows have is not known.
          if (point.epoch === this.point.epoch && point.version <= this.point.version) this.reload()
        }
        observer.onWritten(batch, point, asArray(nodeIds).map(String))
        return true
      } catch (error) {
        logger.debug({ event: 'cluster.table_write_failed', table: name, reason: String(error) }, 'writing again')
        const isBack = await gate.healthy().then(
          () => true,
          () => false,
        )
        if (!isBack) return false
      }
    }
    return false
  }

  // --- following ---------------------------------------------------------------------------------------------------

  private async followUntilDone(): Promise<void> {
    const { redis, gate, name, logger } = this.options
    while (this.followAgain && !this.isStopped) {
      this.followAgain = false
      try {
        await redis.whenReady(gate.signal)
        if (this.mustReload) await this.load()
        await this.readLog()
      } catch (error) {
        if (this.isStopped || gate.isStopped) return
        logger.debug({ event: 'cluster.table_read_failed', table: name, reason: String(error) }, 'reading again')
        this.followAgain = await gate.healthy().then(
          () => true,
          () => false,
        )
      }
    }
  }

  private async readLog(): Promise<void> {
    for (;;) {
      const { epoch, version, batches } = await this.read(this.point.version + 1, this.options.readBatches)
      if (this.isStopped) return
      if (epoch !== this.point.epoch || version < this.point.version) return this.reload()
      const origins = new Set<string>()
      for (const [id, fields] of batches) {
        if (Number.parseInt(id, 10) !== this.point.version + 1) return this.reload()
        this.applyBatch(fields, origins)
        this.point = { epoch, version: this.point.version + 1 }
      }
      if (origins.size > 0) this.options.observer.onApplied(this.point, origins)
      if (this.point.version >= version) {
        this.confirmedAtMs = performance.now()
        // Redis confirmed a batch under a version that now belongs to another one: a failover lost ours.
        const [oldest] = this.written
        if (oldest !== undefined && oldest.point.version <= version) this.reload()
        this.options.observer.onCaughtUp?.(this.point)
        return
      }
      if (batches.length === 0) return this.reload()
    }
  }

  private applyBatch(fields: string[], origins: Set<string>): void {
    const [, nodeId = '', , process, , batch] = fields
    const isOwn = process === this.options.processToken
    if (isOwn) {
      this.seenBatch = Math.max(this.seenBatch, Number(batch))
      while ((this.written[0]?.batch ?? Number.POSITIVE_INFINITY) <= this.seenBatch) this.written.shift()
    } else origins.add(nodeId)
    for (let i = 6; i + 1 < fields.length; i += 2) {
      const field = fields[i] ?? ''
      // From here on others' changes to this row are newer than ours, unless we have changed it once more.
      if (isOwn && (this.hidden.get(field) ?? 0) <= this.seenBatch) this.hidden.delete(field)
      this.adopt(field, fields[i + 1] || undefined)
    }
  }

  /** What a load from `point` on will show is no longer hidden. */
  private releaseWritten({ epoch, version }: TablePoint): void {
    const wentBack = epoch === this.point.epoch && version < this.point.version
    let released = 0
    while (this.written.length > 0) {
      const oldest = this.written[0]
      if (oldest === undefined) break
      if (!wentBack && oldest.point.epoch === epoch && oldest.point.version > version) break
      released = oldest.batch
      this.written.shift()
    }
    this.seenBatch = Math.max(this.seenBatch, released)
    for (const [field, batch] of this.hidden) if (batch <= this.seenBatch) this.hidden.delete(field)
  }

  private async load(): Promise<void> {
    const { logger, observer, name } = this.options
    this.mustReload = false
    try {
      const { epoch, version } = await this.read(0, 0)
      this.releaseWritten({ epoch, version })
      const fresh = await this.scan()
      if (this.isStopped) return
      for (const field of this.rows.keys()) if (!fresh.has(field)) this.adopt(field, undefined)
      for (const [field, value] of fresh) this.adopt(field, value)
      this.point = { epoch, version }
    } catch (error) {
      this.mustReload = true
      throw error
    }
    if (this.loaded) logger.info({ event: 'cluster.table_reloaded', table: name, rows: this.rows.size }, 'loaded again')
    this.loaded = true
    observer.onApplied(this.point, undefined)
  }

  private async scan(): Promise<Map<string, string>> {
    const { redis, keys, name } = this.options
    const rows = new Map<string, string>()
    let cursor = '0'
    do {
      const args = [keys.table(name), cursor, 'COUNT', TABLE_SCAN_COUNT]
      const [next, page] = asArray(await redis.one({ command: 'hscan', args }))
      cursor = String(next)
      const flat = asArray(page)
      for (let i = 0; i + 1 < flat.length; i += 2) rows.set(String(flat[i]), String(flat[i + 1]))
    } while (cursor !== '0' && !this.isStopped)
    return rows
  }

  private async read(
    fromVersion: number,
    countMax: number,
  ): Promise<TablePoint & { batches: [id: string, fields: string[]][] }> {
    const { redis, keys, name } = this.options
    const args = [randomUUID(), fromVersion, countMax]
    const tableKeys = [keys.tableMeta(name), keys.tableLog(name)]
    const [epoch, version, entries] = asArray(await redis.one({ script: 'read-table-2', keys: tableKeys, args }))
    // The shape is XRANGE's.
    const batches = asArray(entries).map((entry): [string, string[]] => {
      const [id, fields] = asArray(entry)
      return [String(id), asArray(fields).map(String)]
    })
    return { epoch: String(epoch), version: Number(version), batches }
  }
}

function asArray(reply: unknown): unknown[] {
  return Array.isArray(reply) ? reply : []
}
