/** Runs few jobs at a time, keeps a bounded number waiting in order, and refuses the rest. */
export class JobGate {
  private readonly runningMax: number
  private readonly waitingMax: number
  private running = 0
  private readonly waiting: (() => void)[] = []

  constructor(runningMax: number, waitingMax: number) {
    this.runningMax = runningMax
    this.waitingMax = waitingMax
  }

  /** @returns `undefined` when too many are waiting already */
  run<T>(job: () => Promise<T>): Promise<T> | undefined {
    if (this.running < this.runningMax) return this.start(job)
    if (this.waiting.length >= this.waitingMax) return undefined
    return new Promise<void>(resolve => this.waiting.push(resolve)).then(() => this.start(job))
  }

  private async start<T>(job: () => Promise<T>): Promise<T> {
    this.running++
    try {
      return await job()
    } finally {
      this.running--
      this.waiting.shift()?.()
    }
  }
}
