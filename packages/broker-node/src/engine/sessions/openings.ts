import { type InstanceName, instanceKey } from '@midge/protocol-core'

/** What was heard of one client id while the store was opening its session. */
export interface Hints {
  /** Newest queue entry announced; only means something when the session existed before. */
  tailSeq: number
  /** Highest epoch of another connection; 0 for none. */
  overtakenBy: number
}

/**
 * Client ids between the call of `Store.open` and its answer: the session has an owner in the store already, but there
 * is nobody on this node yet whom announcements could reach, and an announcement may be faster than the answer.
 */
export class Openings {
  private readonly hints = new Map<string, Hints & { count: number }>()

  get isEmpty(): boolean {
    return this.hints.size === 0
  }

  /** Collects hints for the client id while `open` runs; those so far are in the argument at any time. */
  async during<T>(instance: InstanceName, clientId: string, open: (hints: Hints) => Promise<T>): Promise<T> {
    const key = instanceKey(instance, clientId)
    const hints = this.hints.get(key) ?? { tailSeq: 0, overtakenBy: 0, count: 0 }
    this.hints.set(key, hints)
    hints.count++
    try {
      return await open(hints)
    } finally {
      if (--hints.count === 0) this.hints.delete(key)
    }
  }

  /** Highest epoch of the client id that is known to be overtaken while it is being opened; else 0. */
  overtakenBy(instance: InstanceName, clientId: string): number {
    return this.hints.get(instanceKey(instance, clientId))?.overtakenBy ?? 0
  }

  onGrew(instance: InstanceName, clientId: string, tailSeq: number): void {
    const known = this.hints.get(instanceKey(instance, clientId))
    if (known !== undefined && tailSeq > known.tailSeq) known.tailSeq = tailSeq
  }

  onTakeover(instance: InstanceName, clientId: string, epoch: number): void {
    const known = this.hints.get(instanceKey(instance, clientId))
    if (known !== undefined && epoch > known.overtakenBy) known.overtakenBy = epoch
  }
}
