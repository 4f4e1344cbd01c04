import { type ChainableCommander, Cluster, type Redis } from 'ioredis'
import type { Logger } from '../ports.ts'
import { connectRedis, type LinkRole, type RedisClient } from './connect.ts'
import { isRedirection, toBrokerError } from './errors.ts'
import type { LinkHealth } from './health.ts'
import { LinkProbe } from './probe.ts'
import type { Script } from './script-files.ts'
import { type Servers, serversOf } from './servers.ts'
import type { RedisTarget } from './settings.ts'
import { Waiters } from './waiters.ts'

export type Argument = string | number | Buffer

/**
 * One step: a script, or a plain command. The first argument of a command is its key, unless `near` names a key whose
 * server is meant, or '' for any server.
 */
export type Call<Name extends string = string> =
  | { script: Name; keys: string[]; args: Argument[] }
  | { command: string; args: Argument[]; near?: string }

interface Batch<Name extends string> {
  calls: Call<Name>[]
  resolve(replies: unknown[]): void
}

/** Calls for one server, by their position in the batch. */
interface Lane {
  server: Redis
  positions: number[]
}

/** What a {@link CommandLink} is made of. */
export interface CommandLinkOptions<Name extends string> {
  target: RedisTarget
  role: LinkRole
  health: LinkHealth
  scripts: ReadonlyMap<Name, Script>
  /** A key that is never there. */
  probeKey: string
  logger: Logger
}

/**
 * A connection that carries commands. Calls of one turn of the event loop leave in one pipeline a server, in the order
 * in which they were made.
 */
export class CommandLink<Name extends string = string> {
  private readonly client: RedisClient
  private readonly health: LinkHealth
  private readonly servers: Servers
  private readonly scripts: ReadonlyMap<Name, Script>
  private readonly logger: Logger
  private readonly probe: LinkProbe
  private readonly waiters = new Waiters()
  private readonly readyHandlers: (() => void)[] = []
  private waiting: Batch<Name>[] = []
  private flushScheduled = false
  /** The last pipeline that was sent; replies come in order, so with it all others are answered. */
  private lastSend: Promise<unknown> = Promise.resolve()
  /** Connections were made since all servers answered last. */
  private hasReconnected = true
  /** Batches that were sent and not settled. */
  private underWay = 0
  /** Some of these were refused unexecuted and are sent once more: what comes later waits, because order is a promise. */
  private held: { promise: Promise<void>; release(): void } | undefined
  /** Ends with the last batch that is sent once more. */
  private mending: Promise<void> = Promise.resolve()

  constructor(options: CommandLinkOptions<Name>) {
    this.client = connectRedis(options.target, options.role, options.health)
    this.health = options.health
    this.scripts = options.scripts
    this.logger = options.logger
    this.servers = serversOf(this.client)
    this.probe = new LinkProbe({
      servers: this.servers,
      key: options.probeKey,
      health: options.health,
      onUp: () => this.onUp(),
    })
    for (const event of ['ready', '+node', '-node']) {
      // `server` is one of a Redis Cluster that has joined or left.
      this.client.on(event, (server?: Redis) => {
        server?.once('ready', () => this.onConnection())
        this.onConnection()
      })
    }
  }

  /** True when a command that is sent now is likely to be answered. */
  get isReady(): boolean {
    return this.servers.areWhole()
  }

  /** True while all servers answer in time. */
  get isUp(): boolean {
    return this.health.state === 'up'
  }

  /** Adds a receiver of every moment at which all servers answer over new connections, the first time included. */
  onReady(handler: () => void): void {
    this.readyHandlers.push(handler)
  }

  /**
   * Resolves when commands can be sent.
   *
   * @throws {@link BrokerError} `MIDGE_STORE_UNAVAILABLE` when the signal aborts first
   */
  whenReady(signal: AbortSignal): Promise<void> {
    return this.isReady && !signal.aborted ? Promise.resolve() : this.waiters.wait(signal)
  }

  /**
   * Sends all calls as one pipeline a server.
   * @returns per call its reply or its error; never rejects
   */
  run(calls: Call<Name>[]): Promise<unknown[]> {
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
  async all(calls: Call<Name>[]): Promise<unknown[]> {
    const replies = await this.run(calls)
    for (const reply of replies) if (reply instanceof Error) throw toBrokerError(reply)
    return replies
  }

  /** @throws {@link BrokerError} */
  async one(call: Call<Name>): Promise<unknown> {
    const [reply] = await this.run([call])
    if (reply instanceof Error) throw toBrokerError(reply)
    return reply
  }

  /**
   * Sends one command at once; for one that is a batch in itself, which a pipeline would only copy.
   * @throws {@link BrokerError}
   */
  async now(command: string, ...args: Argument[]): Promise<unknown> {
    if (this.client instanceof Cluster) {
      const reply = this.one({ command, args })
      this.flush()
      return await reply
    }
    try {
      return await this.client.callBuffer(command, ...args)
    } catch (error) {
      throw toBrokerError(error)
    }
  }

  /** Asks every server the same. @throws {@link BrokerError} when one of them does not answer */
  async everywhere(command: string, ...args: Argument[]): Promise<unknown[]> {
    try {
      return await Promise.all(this.servers.all().map(server => server.call(command, ...args)))
    } catch (error) {
      throw toBrokerError(error)
    }
  }

  /** @returns of the servers that the calls go to, one key each */
  keyPerServer(calls: Call<Name>[]): string[] {
    const find = this.servers.finder()
    const found = new Map<Redis | undefined, string>()
    for (const call of calls) found.set(find(keyOf(call)), keyOf(call))
    return [...found.values()]
  }

  /** Waits for what was called so far and disconnects. */
  async stop(): Promise<void> {
    this.flush()
    await this.lastSend
    this.disconnect()
  }

  disconnect(): void {
    this.health.close()
    this.probe.stop()
    this.client.disconnect()
  }

  private onConnection(): void {
    this.hasReconnected = true
    // Next turn: the client is in the middle of its own bookkeeping.
    setImmediate(() => this.probe.probe())
  }

  private onUp(): void {
    this.waiters.release()
    if (!this.hasReconnected) return
    this.hasReconnected = false
    this.loadScripts(this.servers.all()).catch((error: unknown) => {
      this.logger.debug({ event: 'redis.scripts_not_loaded', error: String(error) }, 'scripts are loaded on first use')
    })
    for (const handler of this.readyHandlers) handler()
  }

  private async send(calls: Call<Name>[]): Promise<unknown[]> {
    while (this.held !== undefined) await this.held.promise
    this.underWay++
    const replies: unknown[] = new Array(calls.length)
    if (this.client instanceof Cluster) {
      await Promise.all(this.lanesOf(calls, calls.keys(), replies).map(lane => this.sendLane(lane, calls, replies)))
    } else {
      const lane = { server: this.client, positions: [...calls.keys()] }
      await this.sendLane(lane, calls, replies)
    }
    const refused: number[] = []
    replies.forEach((reply, i) => {
      if (reply instanceof Error && (isScriptMissing(reply) || isRedirection(reply))) refused.push(i)
    })
    if (refused.length > 0) await this.mend(refused, calls, replies)
    if (--this.underWay === 0) this.letGo()
    return replies
  }

  private letGo(): void {
    this.held?.release()
    this.held = undefined
  }

  /** In the order of the batches, of which others may be refused too; until then nothing new is sent. */
  private async mend(refused: number[], calls: Call<Name>[], replies: unknown[]): Promise<void> {
    this.held ??= hold()
    this.mending = this.mending.then(() => this.sendAgain(refused, calls, replies)).catch(() => undefined)
    await this.mending
  }

  private async sendAgain(refused: number[], calls: Call<Name>[], replies: unknown[]): Promise<void> {
    if (refused.some(i => isScriptMissing(replies[i]))) await this.loadScripts(this.servers.all())
    if (this.client instanceof Cluster) {
      // One by one: its client follows redirections, and learns from them.
      for (const i of refused) replies[i] = await this.redirect(this.client, calls[i])
    } else await this.sendLane({ server: this.client, positions: refused }, calls, replies)
  }

  private async redirect(cluster: Cluster, call: Call<Name> | undefined): Promise<unknown> {
    if (call === undefined) return undefined
    try {
      if (!('script' in call)) return await cluster.callBuffer(call.command, ...call.args)
      // By its text: the server that it ends up with may not know it.
      const { source } = this.scriptOf(call.script)
      return await cluster.callBuffer('eval', source, call.keys.length, ...call.keys, ...call.args)
    } catch (error) {
      return error
    }
  }

  private lanesOf(calls: Call<Name>[], positions: Iterable<number>, replies: unknown[]): Lane[] {
    const find = this.servers.finder()
    const lanes = new Map<Redis, Lane>()
    for (const i of positions) {
      const call = calls[i]
      if (call === undefined) continue
      const key = keyOf(call)
      const server = key === '' ? this.servers.all().find(one => one.status === 'ready') : find(key)
      if (server?.status !== 'ready') {
        replies[i] = new Error('the server of this slot is not connected')
        continue
      }
      const lane = lanes.get(server)
      if (lane === undefined) lanes.set(server, { server, positions: [i] })
      else lane.positions.push(i)
    }
    return [...lanes.values()]
  }

  private async sendLane({ server, positions }: Lane, calls: Call<Name>[], replies: unknown[]): Promise<void> {
    const pipeline = server.pipeline()
    for (const i of positions) this.append(pipeline, calls[i])
    try {
      const results = await pipeline.exec()
      positions.forEach((i, n) => {
        const [error, reply] = results?.[n] ?? [new Error('no reply'), undefined]
        replies[i] = error ?? reply
      })
    } catch (error) {
      for (const i of positions) replies[i] = error instanceof Error ? error : new Error(String(error))
    }
  }

  private append(pipeline: ChainableCommander, call: Call<Name> | undefined): void {
    if (call === undefined) return
    if ('script' in call) {
      pipeline.callBuffer('evalsha', this.scriptOf(call.script).sha, call.keys.length, ...call.keys, ...call.args)
    } else pipeline.callBuffer(call.command, ...call.args)
  }

  private scriptOf(name: Name): Script {
    const script = this.scripts.get(name)
    if (script === undefined) throw new Error(`no script ${name}`)
    return script
  }

  private async loadScripts(servers: Redis[]): Promise<void> {
    await Promise.all(
      servers.map(async server => {
        if (server.status !== 'ready') return
        const pipeline = server.pipeline()
        for (const script of this.scripts.values()) pipeline.script('LOAD', script.source)
        for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error
      }),
    )
  }
}

function keyOf(call: Call): string {
  if ('script' in call) return call.keys[0] ?? ''
  return call.near ?? String(call.args[0] ?? '')
}

function hold(): { promise: Promise<void>; release(): void } {
  let release = (): void => undefined
  const promise = new Promise<void>(resolve => {
    release = resolve
  })
  return { promise, release }
}

function isScriptMissing(reply: unknown): boolean {
  return reply instanceof Error && reply.message.startsWith('NOSCRIPT')
}
