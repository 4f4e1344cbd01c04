import { randomUUID } from 'node:crypto'
import {
  BrokerError,
  checkRecordChanges,
  type RecordChange,
  type RecordListener,
  type RecordStore,
  recordConflict,
} from '@midge/protocol-core'
import { stopping } from '../redis/errors.ts'
import { pause } from '../redis/retry.ts'
import { ReplicatedTable, type TablePoint } from './replicated-table.ts'
import { SettleBarrier } from './settle-barrier.ts'
import { type TableOwnerOptions, watchTables } from './table-peers.ts'
import {
  RECORDS_BARRIER_MS,
  RECORDS_LOG_BATCHES_MAX,
  RECORDS_READ_COUNT,
  RECORDS_WAITING_MAX,
  RECORDS_WRITE_MS,
} from './timings.ts'

const RECORDS = 'records'
const REPLICA_TIMEOUT_MS = 1_000

/** What {@link RedisRecords} are made of. */
export interface RedisRecordsOptions extends TableOwnerOptions {
  /** A write is kept only when a replica has it. */
  waitsForReplica: boolean
}

/** A write that Redis has and the own listener has not been told of. */
interface Untold {
  point: TablePoint
  resolve(): void
  reject(error: Error): void
}

/**
 * {@link RecordStore} over Redis: a replicated table that is written with conditions, and read as the others are.
 *
 * The listener is told when the log has been read to its end, so it never sees half a write, nor a value that a later
 * write has replaced. Writes of one node go one after the other: a repeated one is recognised by its number.
 */
export class RedisRecords implements RecordStore {
  private readonly options: RedisRecordsOptions
  private readonly table: ReplicatedTable
  private readonly barrier: SettleBarrier
  private readonly goneNodes = new Set<string>()
  private listener: RecordListener | undefined
  private poll: NodeJS.Timeout | undefined
  private isStopped = false
  /** Rows that have changed since the listener was told last. */
  private readonly changed = new Map<string, string | undefined>()
  /** Who waits for this node to have told its listener; `undefined` stands for anybody. */
  private origins: Set<string> | undefined = new Set()
  private told: TablePoint = { epoch: '', version: 0 }
  private untold: Untold[] = []
  private lastBatch = 0
  private turn: Promise<unknown> = Promise.resolve()
  private waiting = 0

  constructor(options: RedisRecordsOptions) {
    this.options = options
    const { registry } = options
    this.barrier = new SettleBarrier({
      capMs: RECORDS_BARRIER_MS,
      isAwaited: nodeId => nodeId !== registry.nodeId && !this.goneNodes.has(nodeId) && registry.mayServe(nodeId),
    })
    this.table = this.createTable()
    watchTables([this.watched()], { ...options, barrier: this.barrier })
    registry.observe({
      onJoined: nodeId => this.goneNodes.delete(nodeId),
      onGone: nodeId => {
        this.goneNodes.add(nodeId)
        this.barrier.forget(nodeId)
      },
    })
  }

  async start(listener: RecordListener): Promise<void> {
    this.listener = listener
    const { bus, registry, timings } = this.options
    // Registered first: whoever writes from now on waits for this node, whoever wrote before is in what it loads.
    await bus.start()
    await registry.start()
    await this.table.start()
    if (this.isStopped) return
    this.poll = setInterval(() => this.table.follow(), timings.pollMs)
    bus.onListening(() => this.table.follow())
  }

  async write(changes: readonly RecordChange[]): Promise<{ everywhere: boolean }> {
    checkRecordChanges(changes)
    if (this.isStopped) throw stopping()
    if (this.waiting >= RECORDS_WAITING_MAX) {
      const text = `${RECORDS_WAITING_MAX} writes of records are waiting; this one was not made`
      throw new BrokerError('MIDGE_STORE_UNAVAILABLE', text, { retryable: true })
    }
    this.waiting++
    const written = this.turn.then(() => this.writeInTurn(changes))
    this.turn = written.catch(() => undefined).finally(() => this.waiting--)
    const { batch, point } = await written
    const [everywhere] = await Promise.all([this.barrier.wait([[RECORDS, batch]]), this.untilTold(point)])
    return { everywhere }
  }

  async stop(): Promise<void> {
    if (this.isStopped) return
    this.isStopped = true
    clearInterval(this.poll)
    await this.table.stop(0)
    this.barrier.stop()
    for (const { reject } of this.untold.splice(0)) reject(stopping())
    this.listener = undefined
  }

  /** Records in the table, for tests and metrics. */
  get size(): number {
    return this.table.size
  }

  private createTable(): ReplicatedTable {
    const { registry, timings } = this.options
    return new ReplicatedTable({
      ...this.options,
      name: RECORDS,
      nodeId: registry.nodeId,
      processToken: registry.token,
      staleMs: timings.staleMs,
      readBatches: RECORDS_READ_COUNT,
      observer: {
        onRow: (key, value) => {
          // Everything is told after the first load, out of the table itself.
          if (this.told.epoch === '') return
          // To the end, so that changes are told in the order of their last ones.
          this.changed.delete(key)
          this.changed.set(key, value)
        },
        onWritten: () => undefined,
        onApplied: (_point, origins) => {
          if (origins === undefined) this.origins = undefined
          else for (const nodeId of origins) this.origins?.add(nodeId)
        },
        onCaughtUp: point => this.tell(point),
      },
    })
  }

  private watched(): Parameters<typeof watchTables>[0][number] {
    const { table } = this
    const told = (): TablePoint => this.told
    return {
      name: RECORDS,
      get appliedPoint(): TablePoint {
        return told()
      },
      summary: () => table.summary(),
      follow: () => table.follow(),
      reload: () => table.reload(),
    }
  }

  // --- telling -----------------------------------------------------------------------------------------------------

  private tell(point: TablePoint): void {
    const { listener } = this
    if (listener === undefined || this.isStopped) return
    const before = this.told.epoch
    this.told = point
    if (point.epoch === before) {
      for (const [key, value] of this.changed) listener.onRecord(key, value)
    } else {
      if (before !== '') {
        this.options.logger.warn({ event: 'cluster.records_reset', records: this.table.size }, 'Redis lost the records')
        listener.onRecordsReset()
      }
      for (const [key, value] of this.table.entries()) listener.onRecord(key, value)
      listener.onRecordsTold()
    }
    this.changed.clear()
    this.acknowledge(point)
    this.settleUntold(before)
  }

  private acknowledge(point: TablePoint): void {
    const { origins } = this
    const { bus, registry } = this.options
    this.origins = new Set()
    const applied = { kind: 'applied', nodeId: registry.nodeId, table: RECORDS, ...point } as const
    if (origins === undefined) bus.broadcast(applied)
    else for (const nodeId of origins) bus.sendTo(nodeId, applied)
  }

  private settleUntold(epochBefore: string): void {
    const { epoch, version } = this.told
    this.untold = this.untold.filter(({ point, resolve, reject }) => {
      if (point.epoch === epoch) {
        if (point.version > version) return true
        resolve()
      } else {
        if (epoch === epochBefore) return true
        reject(new BrokerError('MIDGE_STORE_UNAVAILABLE', 'Redis was reset and has lost the write'))
      }
      return false
    })
  }

  private async untilTold(point: TablePoint): Promise<void> {
    if (this.told.epoch === point.epoch && this.told.version >= point.version) return
    const inTime = new AbortController()
    const told = new Promise<void>((resolve, reject) => this.untold.push({ point, resolve, reject }))
    const late = pause(RECORDS_WRITE_MS, inTime.signal).then(() => {
      if (!inTime.signal.aborted) throw unknownOutcome('it was written, and this node has not read it back in time')
    })
    try {
      await Promise.race([told, late])
    } finally {
      inTime.abort()
    }
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  private async writeInTurn(changes: readonly RecordChange[]): Promise<{ batch: number; point: TablePoint }> {
    const { registry } = this.options
    const batch = ++this.lastBatch
    const args = [randomUUID(), registry.nodeId, registry.token, batch, RECORDS_LOG_BATCHES_MAX, ...encode(changes)]
    const tooLong = new AbortController()
    const timer = setTimeout(() => tooLong.abort(), RECORDS_WRITE_MS)
    try {
      return { batch, point: this.written(batch, await this.sendUntilAnswered(args, tooLong.signal)) }
    } finally {
      clearTimeout(timer)
      tooLong.abort()
    }
  }

  /** Repeats until Redis has answered, or too long; a batch that was written and not confirmed has its number. */
  private async sendUntilAnswered(args: (string | number)[], tooLong: AbortSignal): Promise<unknown[]> {
    const { redis, gate } = this.options
    for (;;) {
      try {
        if (this.isStopped) throw stopping()
        await redis.whenReady(tooLong)
        return await this.send(args)
      } catch (error) {
        if (tooLong.aborted || this.isStopped || gate.isStopped) throw unknownOutcome(String(error))
        await Promise.race([gate.healthy().catch(() => undefined), pause(RECORDS_WRITE_MS, tooLong)])
      }
    }
  }

  private async send(args: (string | number)[]): Promise<unknown[]> {
    const { redis, keys, waitsForReplica } = this.options
    const tableKeys = [keys.table(RECORDS), keys.tableMeta(RECORDS), keys.tableLog(RECORDS), keys.nodes()]
    const call = { script: 'write-records-4', keys: tableKeys, args } as const
    if (!waitsForReplica) return asArray(await redis.one(call))
    const wait = { command: 'wait', args: [1, REPLICA_TIMEOUT_MS], near: keys.table(RECORDS) }
    const [reply, replicas] = await redis.all([call, wait])
    if (Number(asArray(reply)[0]) === 1 && Number(replicas) < 1) {
      throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'no Redis replica confirmed the change', { retryable: true })
    }
    return asArray(reply)
  }

  private written(batch: number, reply: unknown[]): TablePoint {
    const [isWritten, epochOrKey, version, nodeIds] = reply
    if (Number(isWritten) !== 1) throw recordConflict(String(epochOrKey))
    const point = { epoch: String(epochOrKey), version: Number(version) }
    const awaited = asArray(nodeIds).map(String)
    for (const nodeId of awaited) this.goneNodes.delete(nodeId)
    this.barrier.onWritten(RECORDS, batch, point, awaited)
    this.options.bus.broadcast({ kind: 'changed', table: RECORDS })
    this.table.follow()
    return point
  }
}

/** The arguments of `write-records-4`. */
function encode(changes: readonly RecordChange[]): string[] {
  return changes.flatMap(({ key, value = '', expected }) => {
    if (expected === undefined) return [key, value, '', '']
    return expected.value === undefined ? [key, value, 'n', ''] : [key, value, 'v', expected.value]
  })
}

function unknownOutcome(reason: string): BrokerError {
  const text = `it is not known whether the records were written: ${reason}`
  return new BrokerError('MIDGE_STORE_UNAVAILABLE', text, { retryable: true })
}

function asArray(reply: unknown): unknown[] {
  return Array.isArray(reply) ? reply : []
}
