import { mkdir } from 'node:fs/promises'
import { BrokerError } from '@midge/protocol-core'
import { ClassicLevel } from 'classic-level'
import type { Journal, JournalRecord } from './journal.ts'
import { SYNCED_KEY, SYNCED_VALUE } from './recorder.ts'

/**
 * What "kept" means: written to the operating system, which outlives the process, with a sync every second; or
 * synced to the disk, which outlives the machine.
 */
export type LevelDurability = 'everysec' | 'fsync'

type Database = ClassicLevel<Uint8Array, Uint8Array>
type Batch = ReturnType<Database['batch']>

const SYNC_MS = 1_000
const PAGE_RECORDS = 1_000
const VIEWS = { keyEncoding: 'view', valueEncoding: 'view' } as const

/** A promise with its handles; `kept` may be rejected while nobody waits. */
class WriteGroup {
  readonly batch: Batch
  readonly kept: Promise<void>
  resolve: () => void = () => {}
  reject: (error: Error) => void = () => {}

  constructor(batch: Batch) {
    this.batch = batch
    this.kept = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.kept.catch(() => {})
  }
}

/**
 * A journal in a LevelDB directory, with group commit: what comes in during a tick, or while a write is under way, is
 * one write.
 */
export class LevelJournal implements Journal {
  readonly keeps = true
  readonly #db: Database
  readonly #durability: LevelDurability
  #open: WriteGroup | undefined
  #writing: WriteGroup | undefined
  #failure: BrokerError | undefined
  /** Something was written and not synced since. */
  #isSyncOwed = false
  /** The next write is to sync, however recent the last sync is. */
  #isSyncDue = false
  #syncedAtMs = performance.now()
  readonly #syncTimer: NodeJS.Timeout | undefined

  private constructor(db: Database, durability: LevelDurability) {
    this.#db = db
    this.#durability = durability
    if (durability === 'everysec') this.#syncTimer = setInterval(() => this.#syncIfOwed(), SYNC_MS).unref()
  }

  /**
   * Opens the directory, creating it when it is not there, and locks it against other processes.
   *
   * @throws BrokerError `MIDGE_CONFIG_INVALID` when the directory cannot be used, `MIDGE_STORE_UNAVAILABLE`
   * (retryable) when another process has it, `MIDGE_STORE_CORRUPT`
   */
  static async open(directory: string, durability: LevelDurability): Promise<LevelJournal> {
    try {
      await mkdir(directory, { recursive: true })
    } catch (cause) {
      throw new BrokerError('MIDGE_CONFIG_INVALID', `The data directory ${directory} cannot be created`, { cause })
    }
    const db: Database = new ClassicLevel(directory, VIEWS)
    try {
      await db.open()
    } catch (error) {
      throw openError(directory, error)
    }
    return new LevelJournal(db, durability)
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#group().batch.put(key, value)
  }

  delete(key: Uint8Array): void {
    this.#group().batch.del(key)
  }

  flushed(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return (this.#open ?? this.#writing)?.kept ?? Promise.resolve()
  }

  failure(): Error | undefined {
    return this.#failure
  }

  async *records(): AsyncIterable<JournalRecord[]> {
    const iterator = this.#db.iterator()
    try {
      for (;;) {
        const page = await iterator.nextv(PAGE_RECORDS)
        if (page.length === 0) return
        yield page
      }
    } catch (cause) {
      if (cause instanceof BrokerError) throw cause
      throw new BrokerError('MIDGE_STORE_CORRUPT', `The data directory ${this.#db.location} cannot be read`, { cause })
    } finally {
      await iterator.close()
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#syncTimer)
    this.#isSyncOwed ||= this.#open !== undefined || this.#writing !== undefined
    this.#syncIfOwed()
    try {
      while (this.#failure === undefined && (this.#open ?? this.#writing) !== undefined) await this.flushed()
    } finally {
      await this.#db.close()
    }
  }

  #group(): WriteGroup {
    if (this.#open !== undefined) return this.#open
    const group = new WriteGroup(this.#db.batch())
    this.#open = group
    // At the end of the tick, so that all of its changes are one write; a write under way goes on with it by itself.
    if (this.#writing === undefined) setImmediate(() => this.#write())
    return group
  }

  #write(): void {
    const group = this.#open
    if (group === undefined || this.#writing !== undefined) return
    this.#open = undefined
    this.#writing = group
    if (this.#failure !== undefined) {
      this.#fail(this.#failure)
      return
    }
    const sync = this.#isSyncDue || this.#durability === 'fsync' || performance.now() - this.#syncedAtMs >= SYNC_MS
    this.#isSyncDue = false
    group.batch.write({ sync }).then(
      () => this.#written(group, sync),
      cause => {
        const text = `The data directory ${this.#db.location} cannot be written; the store stays down until a restart`
        this.#fail(new BrokerError('MIDGE_STORE_UNAVAILABLE', text, { cause }))
      },
    )
  }

  #written(group: WriteGroup, isSynced: boolean): void {
    this.#writing = undefined
    this.#isSyncOwed = !isSynced
    if (isSynced) this.#syncedAtMs = performance.now()
    group.resolve()
    this.#write()
  }

  /** Memory is ahead of the disk from here on: nothing more is written, so that the two do not drift further apart. */
  #fail(error: BrokerError): void {
    this.#failure = error
    const groups = [this.#writing, this.#open]
    this.#writing = undefined
    this.#open = undefined
    for (const group of groups) group?.reject(error)
  }

  #syncIfOwed(): void {
    if (!this.#isSyncOwed || this.#failure !== undefined) return
    this.#isSyncDue = true
    this.put(SYNCED_KEY, SYNCED_VALUE)
  }
}

function openError(directory: string, error: unknown): BrokerError {
  const cause = error instanceof Error ? error.cause : undefined
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'LEVEL_LOCKED') {
    const text = `The data directory ${directory} is in use by another process: stop that one, or set MIDGE_DATA_DIR to a directory of this node's own`
    return new BrokerError('MIDGE_STORE_UNAVAILABLE', text, { retryable: true, cause: error })
  }
  if (code === 'LEVEL_CORRUPTION') {
    const text = `The data directory ${directory} is damaged: restore it from a backup, or move it away to start empty`
    return new BrokerError('MIDGE_STORE_CORRUPT', text, { cause: error })
  }
  return new BrokerError('MIDGE_CONFIG_INVALID', `The data directory ${directory} cannot be opened`, { cause: error })
}
