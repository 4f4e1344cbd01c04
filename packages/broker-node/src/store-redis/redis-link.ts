import { BrokerError } from '@midge/protocol-core'
import type { Redis, RedisOptions } from 'ioredis'
import type { Logger } from '../ports.ts'
import { loadScripts, type Script, type ScriptName } from './scripts.ts'

export type Argument = string | number | Buffer

/** One step: a script, or a plain command. */
export type Call = { script: ScriptName; keys: string[]; args: Argument[] } | { command: string; args: Argument[] }

/** Makes a connection; replaced to reach Redis through Sentinel. Options in `overrides` have to be obeyed. */
export type ClientFactory = (overrides: RedisOptions) => Redis

const COMMAND_TIMEOUT_MS = 2000
const CONNECT_TIMEOUT_MS = 2000
const RETRY_MIN_MS = 50
const RETRY_MAX_MS = 2000

/**
 * Options that every connection needs. No command waits in the client or is sent twice: a caller whose outcome is
 * unknown is told so. `disableClientInfo` because of ioredis#2037, which kills subscribers without a word.
 */
export function connectionOptions(commandTimeoutMs: number = COMMAND_TIMEOUT_MS): RedisOptions {
  return {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableAutoPipelining: false,
    commandTimeout: commandTimeoutMs,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 5000,
    noDelay: true,
    disableClientInfo: true,
    retryStrategy: attempt => Math.min(RETRY_MIN_MS * 2 ** Math.min(attempt - 1, 10), RETRY_MAX_MS) * jitter(),
    // A failover leaves a healthy connection to a server that may not be written to any more.
    reconnectOnError: error => /^(READONLY|MASTERDOWN|LOADING)/.test(error.message),
  }
}

function jitter(): number {
  return 0.75 + Math.random() * 0.5
}

/** @returns the error of the port's contract for an error of the client */
export function toBrokerError(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error
  const text = error instanceof Error ? error.message : String(error)
  if (text.startsWith('FENCED')) return new BrokerError('MIDGE_SESSION_FENCED', text.slice('FENCED '.length))
  return new BrokerError('MIDGE_STORE_UNAVAILABLE', `Redis: ${text}`, { retryable: true, cause: error })
}

interface Batch {
  calls: Call[]
  resolve(replies: unknown[]): void
}

/**
 * The connection that carries commands. Calls of one turn of the event loop leave in one pipeline, in the order in
 * which they were made.
 */
export class RedisLink {
  readonly client: Redis
  private readonly scripts: ReadonlyMap<ScriptName, Script> = loadScripts()
  private readonly logger: Logger
  private waiting: Batch[] = []
  private flushScheduled = false
  private loading: Promise<void> | undefined
  /** The last pipeline that was sent; replies come in order, so with it all others are answered. */
  private lastSend: Promise<unknown> = Promise.resolve()

  constructor(client: Redis, logger: Logger) {
    this.client = client
    this.logger = logger
    client.on('ready', () => {
      this.loadAll().catch((error: unknown) => {
        this.logger.debug(
          { event: 'store.scripts_not_loaded', error: String(error) },
          'scripts are loaded on first use',
        )
      })
    })
  }

  /**
   * Sends all calls as one pipeline.
   * @returns per call its reply or its error; never rejects
   */
  run(calls: Call[]): Promise<unknown[]> {
    return new Promise(resolve => {
      this.waiting.push({ calls, resolve })
      if (this.flushScheduled) return
      this.flushScheduled = true
      setImmediate(() => this.flush())
    })
  }

  /** Sends what waits, without waiting for the end of the turn. */
  flush(): void {
    this.flushScheduled = false
    const batches = this.waiting
    if (batches.length === 0) return
    this.waiting = []
    this.lastSend = this.send(batches.flatMap(batch => batch.calls)).then(replies => {
      let at = 0
      for (const batch of batches) {
        batch.resolve(replies.slice(at, at + batch.calls.length))
        at += batch.calls.length
      }
    })
  }

  /** @throws {@link BrokerError} when one of the calls failed */
  async all(calls: Call[]): Promise<unknown[]> {
    const replies = await this.run(calls)
    for (const reply of replies) if (reply instanceof Error) throw toBrokerError(reply)
    return replies
  }

  /** @throws {@link BrokerError} */
  async one(call: Call): Promise<unknown> {
    const [reply] = await this.run([call])
    if (reply instanceof Error) throw toBrokerError(reply)
    return reply
  }

  /** Waits for what was called so far and disconnects. */
  async stop(): Promise<void> {
    this.flush()
    await this.lastSend
    this.client.disconnect()
  }

  private async send(calls: Call[]): Promise<unknown[]> {
    const replies = await this.pipeline(calls)
    const missing: number[] = []
    replies.forEach((reply, i) => {
      if (reply instanceof Error && reply.message.startsWith('NOSCRIPT')) missing.push(i)
    })
    if (missing.length === 0) return replies
    try {
      await this.loadAll()
    } catch {
      return replies
    }
    const repeated = await this.pipeline(missing.flatMap(i => calls[i] ?? []))
    missing.forEach((i, n) => {
      replies[i] = repeated[n]
    })
    return replies
  }

  private async pipeline(calls: Call[]): Promise<unknown[]> {
    const pipeline = this.client.pipeline()
    for (const call of calls) {
      if ('script' in call) {
        pipeline.callBuffer('evalsha', this.scriptOf(call.script).sha, call.keys.length, ...call.keys, ...call.args)
      } else {
        pipeline.callBuffer(call.command, ...call.args)
      }
    }
    try {
      const results = await pipeline.exec()
      return calls.map((_, i) => {
        const [error, reply] = results?.[i] ?? [new Error('no reply'), undefined]
        return error ?? reply
      })
    } catch (error) {
      return calls.map(() => (error instanceof Error ? error : new Error(String(error))))
    }
  }

  private scriptOf(name: ScriptName): Script {
    const script = this.scripts.get(name)
    if (script === undefined) throw new Error(`no script ${name}`)
    return script
  }

  private loadAll(): Promise<void> {
    this.loading ??= this.sendScripts().finally(() => {
      this.loading = undefined
    })
    return this.loading
  }

  private async sendScripts(): Promise<void> {
    const pipeline = this.client.pipeline()
    for (const script of this.scripts.values()) pipeline.script('LOAD', script.source)
    const results = await pipeline.exec()
    for (const [error] of results ?? []) if (error !== null) throw error
  }
}
