import type { TablePoint } from './replicated-table.ts'

/** Part of a barrier that concerns one table. */
interface Leg {
  table: string
  batch: number
  point: TablePoint | undefined
  nodeIds: string[]
}

interface Barrier {
  key: string
  legs: Leg[]
  promise: Promise<boolean>
  resolve: (isSettled: boolean) => void
  timer: NodeJS.Timeout
}

/** What a {@link SettleBarrier} needs. */
export interface BarrierOptions {
  capMs: number
  /** False for a node that need not be waited for: it is gone, or its lease has run out. */
  isAwaited(nodeId: string): boolean
}

/**
 * The SUBACK barrier: knows which own batches are written, which nodes were there at that moment, and how far each of
 * them has applied the tables.
 *
 * A node that registers later loads the tables after the write and needs no waiting for. Callers of one tick that
 * wait for the same batches share one barrier.
 */
export class SettleBarrier {
  private readonly options: BarrierOptions
  private readonly applied = new Map<string, TablePoint>()
  private readonly written = new Map<string, Leg>()
  private readonly open = new Map<string, Barrier>()

  constructor(options: BarrierOptions) {
    this.options = options
  }

  /** @param batches - per table the last own batch to wait for; 0 for none */
  wait(batches: [table: string, batch: number][]): Promise<boolean> {
    const key = batches.join()
    const existing = this.open.get(key)
    if (existing !== undefined) return existing.promise
    const legs = batches.filter(([, batch]) => batch > 0).map(([table, batch]) => this.legOf(table, batch))
    if (legs.every(leg => this.isDone(leg))) return Promise.resolve(true)
    let resolve: (isSettled: boolean) => void = () => undefined
    const promise = new Promise<boolean>(settle => {
      resolve = settle
    })
    const timer = setTimeout(() => this.close(key, false), this.options.capMs)
    this.open.set(key, { key, legs, promise, resolve, timer })
    return promise
  }

  onWritten(table: string, batch: number, point: TablePoint, nodeIds: string[]): void {
    this.written.set(table, { table, batch, point, nodeIds })
    for (const barrier of this.open.values()) {
      for (const leg of barrier.legs) {
        if (leg.table !== table || leg.batch > batch || leg.point !== undefined) continue
        leg.point = point
        leg.nodeIds = nodeIds
      }
    }
    this.check()
  }

  onApplied(nodeId: string, table: string, point: TablePoint): void {
    const key = `${table} ${nodeId}`
    const before = this.applied.get(key)
    if (before !== undefined && before.epoch === point.epoch && before.version >= point.version) return
    this.applied.set(key, point)
    this.check()
  }

  /** Who is to be awaited has changed. */
  check(): void {
    for (const barrier of this.open.values()) {
      if (barrier.legs.every(leg => this.isDone(leg))) this.close(barrier.key, true)
    }
  }

  forget(nodeId: string): void {
    for (const key of this.applied.keys()) if (key.slice(key.indexOf(' ') + 1) === nodeId) this.applied.delete(key)
    this.check()
  }

  stop(): void {
    for (const key of [...this.open.keys()]) this.close(key, false)
  }

  private legOf(table: string, batch: number): Leg {
    const written = this.written.get(table)
    if (written !== undefined && written.batch >= batch) return written
    return { table, batch, point: undefined, nodeIds: [] }
  }

  private isDone(leg: Leg): boolean {
    const { point } = leg
    if (point === undefined) return false
    return leg.nodeIds.every(nodeId => {
      if (!this.options.isAwaited(nodeId)) return true
      const applied = this.applied.get(`${leg.table} ${nodeId}`)
      return applied !== undefined && applied.epoch === point.epoch && applied.version >= point.version
    })
  }

  private close(key: string, isSettled: boolean): void {
    const barrier = this.open.get(key)
    if (barrier === undefined) return
    this.open.delete(key)
    clearTimeout(barrier.timer)
    barrier.resolve(isSettled)
  }
}
