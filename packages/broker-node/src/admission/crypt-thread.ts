import { Worker } from 'node:worker_threads'
import type { CryptJob, CryptResult } from './sha512-crypt-worker.ts'

/** A thread costs some 5 MiB, and imported passwords are rare once their users have been here. */
const IDLE_MS_MAX = 30_000

interface Waiting {
  resolve(text: string): void
  reject(error: Error): void
}

/**
 * The thread on which SHA-crypt runs, since neither Node.js nor its thread pool has it: started when it is needed,
 * ended when it has been idle; idle, it does not keep the process alive. Whoever asks bounds how much waits.
 */
export class CryptThread {
  private worker: Worker | undefined = undefined
  private readonly waiting: Map<number, Waiting> = new Map()
  private lastId = 0
  private idleTimer: NodeJS.Timeout | undefined = undefined

  /** @returns what `sha512Crypt` returns */
  derive(password: Uint8Array, salt: Uint8Array, rounds: number): Promise<string> {
    clearTimeout(this.idleTimer)
    this.worker ??= this.start()
    const { worker } = this
    worker.ref()
    const job: CryptJob = { id: ++this.lastId, password, salt, rounds }
    return new Promise((resolve, reject) => {
      this.waiting.set(job.id, { resolve, reject })
      worker.postMessage(job)
    })
  }

  private start(): Worker {
    const worker = new Worker(new URL('./sha512-crypt-worker.js', import.meta.url))
    worker.on('message', ({ id, text }: CryptResult) => {
      this.waiting.get(id)?.resolve(text)
      this.waiting.delete(id)
      if (this.waiting.size === 0) this.rest(worker)
    })
    worker.on('error', error => this.fail(worker, error))
    worker.on('exit', () => this.fail(worker, new Error('the thread for SHA-crypt has ended')))
    return worker
  }

  private rest(worker: Worker): void {
    worker.unref()
    this.idleTimer = setTimeout(() => this.stop(), IDLE_MS_MAX).unref()
  }

  private stop(): void {
    const { worker } = this
    this.worker = undefined
    void worker?.terminate()
  }

  private fail(worker: Worker, error: Error): void {
    if (this.worker !== worker) return
    this.worker = undefined
    for (const { reject } of this.waiting.values()) reject(error)
    this.waiting.clear()
  }
}
