import { randomUUID } from 'node:crypto'
import { BrokerError } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import type { CommandLink } from '../redis/command-link.ts'
import { pause } from '../redis/retry.ts'
import type { RetryGate } from '../redis/retry-gate.ts'
import type { ClusterKeys } from './cluster-keys.ts'
import type { ClusterScript } from './cluster-scripts.ts'
import type { ControlBus } from './control-bus.ts'
import { type ClusterTimings, DOUBT_FACTOR, INBOX_TTL_MS } from './timings.ts'

/** Another node as this one last saw it. */
export interface Peer {
  nodeId: string
  /** Silence at the time of this node's last heartbeat. */
  ageMs: number
  /** What the peer wrote with its heartbeat, by name; see {@link NodeRegistry.describe}. */
  info: Record<string, string>
}

/** Told about life and death; every method is called on the tick that learns of it. */
export interface RegistryObserver {
  onPeers?(peers: Peer[]): void
  onJoined?(nodeId: string): void
  onGone?(nodeId: string): void
  onDead?(nodeId: string): void
  onLeaseLost?(): void
  /** The inbox had to be created again under this first id: whatever was in it is gone. */
  onInboxCreated?(entryId: string): void
}

/** What a {@link NodeRegistry} needs. */
export interface RegistryOptions {
  redis: CommandLink<ClusterScript>
  gate: RetryGate
  bus: ControlBus
  keys: ClusterKeys
  nodeId: string
  host: string
  timings: ClusterTimings
  logger: Logger
}

/**
 * Who is alive: this node's lease, the list of the others, and the election of the one that cleans up after the dead.
 *
 * Only Redis' clock compares nodes; a node judges its own lease by its monotonic clock, from the moment it *sent* the
 * last confirmed heartbeat, so it lets go before anybody may take over.
 */
export class NodeRegistry {
  readonly nodeId: string
  private readonly options: RegistryOptions
  private readonly processToken = randomUUID()
  private readonly startedAt = new Date().toISOString()
  private readonly observers: RegistryObserver[] = []
  private readonly stopped = new AbortController()
  private describers: (() => Record<string, string>)[] = []
  private starting: Promise<void> | undefined
  private peers = new Map<string, Peer>()
  private processEpoch = 0
  private confirmedAtMs = Number.NEGATIVE_INFINITY
  private leaseHeld = false
  private reportedAtMs = Number.NEGATIVE_INFINITY
  private healthyBeats = 0
  private healthySinceMs = Number.POSITIVE_INFINITY
  private beating: Promise<void> | undefined
  private beatAgain = false
  private timers: NodeJS.Timeout[] = []

  constructor(options: RegistryOptions) {
    this.options = options
    this.nodeId = options.nodeId
  }

  /** Grows with every registration of this node id; ms of Redis' clock, so that it does so even after a reset. */
  get epoch(): number {
    return this.processEpoch
  }

  /** Names this process among all that ever had the node id. */
  get token(): string {
    return this.processToken
  }

  observe(observer: RegistryObserver): void {
    this.observers.push(observer)
  }

  /** Adds fields to what peers read of this node with every heartbeat. */
  describe(fields: () => Record<string, string>): void {
    this.describers.push(fields)
  }

  /**
   * Claims the node id and starts the heartbeat; the first call counts, later ones wait for it. Waits for Redis as
   * long as it takes.
   *
   * @throws {@link BrokerError} `MIDGE_NODE_ID_IN_USE` when another process renews the lease of this id
   */
  start(): Promise<void> {
    this.starting ??= this.register().then(() => this.run())
    return this.starting
  }

  livePeers(): Peer[] {
    return [...this.peers.values()]
  }

  peerIds(): string[] {
    return [...this.peers.keys()]
  }

  /** True for a node whose own lease still runs, as far as this one knows; a node not met yet counts as live. */
  mayServe(nodeId: string): boolean {
    const peer = this.peers.get(nodeId)
    return peer === undefined || peer.ageMs < this.options.timings.leaseMs
  }

  isKnown(nodeId: string): boolean {
    return nodeId === this.nodeId || this.peers.has(nodeId)
  }

  /** Looks at the registry again for a node that is not known. */
  async isFound(nodeId: string): Promise<boolean> {
    this.refresh()
    await this.beating
    return this.isKnown(nodeId)
  }

  hasLease(): boolean {
    return this.leaseHeld && performance.now() - this.confirmedAtMs < this.options.timings.leaseMs
  }

  /** A peer that is listed has no inbox, so Redis has lost it: makes every node look after its own now. */
  reportMissingInbox(): void {
    const nowMs = performance.now()
    if (nowMs - this.reportedAtMs < this.options.timings.heartbeatMs) return
    this.reportedAtMs = nowMs
    this.options.bus.broadcast({ kind: 'nodes' })
  }

  /** Looks at the registry now, for example because a peer said that it joined or left. */
  refresh(): void {
    if (this.stopped.signal.aborted || this.processEpoch === 0) return
    this.beatAgain = true
    this.beating ??= this.beatUntilDone().finally(() => {
      this.beating = undefined
    })
  }

  async stop(): Promise<void> {
    this.stopped.abort()
    for (const timer of this.timers) clearInterval(timer)
    await this.beating
    this.leaseHeld = false
    if (this.processEpoch === 0) return
    const { redis, keys, bus } = this.options
    try {
      await this.script('leave-node-3', [this.nodeId, this.processToken])
      await redis.one({ command: 'unlink', args: [keys.inbox(this.nodeId)] })
      bus.broadcast({ kind: 'nodes' })
    } catch {
      // Redis is away: the lease runs out and others clean up as after a death.
    }
  }

  private async register(): Promise<void> {
    const { redis, gate } = this.options
    let ownerBeat: number | undefined
    while (!this.stopped.signal.aborted) {
      try {
        await redis.whenReady(this.stopped.signal)
        await this.createInbox()
        const seenBeat = await this.claim()
        if (seenBeat === undefined) return
        // The owner may have crashed a moment ago (a restarted container): only a lease that moves is in use.
        if (ownerBeat !== undefined && seenBeat > ownerBeat) throw this.inUse()
        ownerBeat = seenBeat
        await pause(this.options.timings.heartbeatMs / 4, this.stopped.signal)
      } catch (error) {
        if (!(error instanceof BrokerError && error.retryable)) throw error
        await gate.healthy()
      }
    }
    throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'the node was stopped before it could register')
  }

  /** @returns the last beat of the owner when the id is taken */
  private async claim(): Promise<number | undefined> {
    const { timings } = this.options
    const sentAtMs = performance.now()
    const args = [this.nodeId, this.processToken, this.info(), timings.leaseMs]
    const [won, time] = asArray(await this.script('register-node-3', args))
    if (Number(won) !== 1) return Number(time)
    this.processEpoch = Math.max(this.processEpoch + 1, Number(time))
    this.confirm(sentAtMs)
    return undefined
  }

  private async run(): Promise<void> {
    const { timings, bus, redis } = this.options
    bus.onMessage(message => {
      if (message.kind === 'nodes') this.refresh()
    })
    bus.onListening(() => this.refresh())
    // Redis may be another one, or empty: the sooner this node is listed there again, the less is lost.
    redis.onReady(() => this.refresh())
    this.refresh()
    await this.beating
    bus.broadcast({ kind: 'nodes' })
    if (this.stopped.signal.aborted) return
    this.timers = [
      setInterval(() => this.refresh(), timings.heartbeatMs),
      setInterval(() => this.checkLease(), Math.ceil(timings.heartbeatMs / 4)),
    ]
  }

  private async beatUntilDone(): Promise<void> {
    while (this.beatAgain && !this.stopped.signal.aborted) {
      this.beatAgain = false
      try {
        await this.beat()
      } catch {
        this.healthyBeats = 0
        // The gate replaces a connection that hangs; the next heartbeat waits for nobody.
        void this.options.gate.healthy().then(
          () => this.refresh(),
          () => undefined,
        )
        return
      }
    }
  }

  private async beat(): Promise<void> {
    const { redis, keys, timings } = this.options
    const sentAtMs = performance.now()
    const [reply, inboxLives] = await Promise.all([
      this.script('beat-node-3', [this.nodeId, this.processToken, this.info()]),
      redis.one({ command: 'pexpire', args: [keys.inbox(this.nodeId), INBOX_TTL_MS] }),
    ])
    if (this.stopped.signal.aborted) return
    const [held, now, beats, infos] = asArray(reply)
    if (Number(held) !== 1) return await this.rejoin()
    const nowMs = performance.now()
    const isPunctual = nowMs - sentAtMs < timings.heartbeatMs && sentAtMs - this.confirmedAtMs < 2 * timings.heartbeatMs
    if (!isPunctual) this.healthyBeats = 0
    if (this.healthyBeats === 0) this.healthySinceMs = nowMs
    if (isPunctual) this.healthyBeats++
    this.confirm(sentAtMs)
    if (inboxLives === 0) await this.createInbox()
    this.updatePeers(Number(now), asArray(beats).map(String), asArray(infos).map(String))
    await this.reapTheDead()
  }

  private confirm(sentAtMs: number): void {
    this.confirmedAtMs = sentAtMs
    this.leaseHeld = performance.now() - sentAtMs < this.options.timings.leaseMs
  }

  private checkLease(): void {
    if (!this.leaseHeld || this.hasLease()) return
    this.loseLease('no heartbeat was confirmed in time')
  }

  private loseLease(reason: string): void {
    this.leaseHeld = false
    this.healthyBeats = 0
    this.options.logger.error({ event: 'cluster.lease_lost', reason }, 'this node has lost its lease')
    for (const observer of this.observers) observer.onLeaseLost?.()
  }

  /** The others have buried this node: it lets go of everything, then comes back as a new one. */
  private async rejoin(): Promise<void> {
    if (this.leaseHeld) this.loseLease('declared dead by another node, or Redis was reset')
    await this.createInbox()
    if ((await this.claim()) !== undefined) {
      this.leaseHeld = false
      this.options.logger.error({ event: 'cluster.node_id_in_use' }, this.inUse().message)
      return
    }
    this.options.bus.broadcast({ kind: 'nodes' })
    this.beatAgain = true
  }

  private updatePeers(nowMs: number, beats: string[], infos: string[]): void {
    const infoOf = new Map<string, string>()
    for (let i = 0; i + 1 < infos.length; i += 2) infoOf.set(infos[i] ?? '', infos[i + 1] ?? '')
    const before = this.peers
    this.peers = new Map()
    for (let i = 0; i + 1 < beats.length; i += 2) {
      const nodeId = beats[i] ?? ''
      if (nodeId === this.nodeId) continue
      this.peers.set(nodeId, { nodeId, ageMs: nowMs - Number(beats[i + 1]), info: parseInfo(infoOf.get(nodeId)) })
    }
    const joined = [...this.peers.keys()].filter(nodeId => !before.has(nodeId))
    const gone = [...before.keys()].filter(nodeId => !this.peers.has(nodeId))
    for (const observer of this.observers) {
      for (const nodeId of gone) observer.onGone?.(nodeId)
      for (const nodeId of joined) observer.onJoined?.(nodeId)
      observer.onPeers?.(this.livePeers())
    }
  }

  private async reapTheDead(): Promise<void> {
    const { redis, keys, timings, logger, bus } = this.options
    const dead = this.livePeers().filter(peer => peer.ageMs >= timings.deadMs)
    if (dead.length === 0) return
    // After trouble of its own a node gives the others the time to come back too: an outage of Redis makes everybody
    // look dead to whoever reconnects first.
    const factor = dead.length > 1 && 2 * dead.length >= this.peers.size ? DOUBT_FACTOR : 1
    if (this.healthyBeats < timings.healthyBeatsMin * factor) return
    if (performance.now() - this.healthySinceMs < timings.leaseMs * factor) return
    for (const { nodeId } of dead) {
      const won = await this.script('reap-node-3', [nodeId, timings.deadMs])
      this.beatAgain = true
      if (Number(won) !== 1) continue
      logger.warn({ event: 'cluster.node_dead', deadNodeId: nodeId }, 'a node died; cleaning up after it')
      await redis.one({ command: 'unlink', args: [keys.inbox(nodeId)] })
      for (const observer of this.observers) observer.onDead?.(nodeId)
    }
    bus.broadcast({ kind: 'nodes' })
  }

  /** An inbox exists before its node is listed: senders do not create one, and take its absence for a death. */
  private async createInbox(): Promise<void> {
    const { redis, keys } = this.options
    const key = keys.inbox(this.nodeId)
    const entryId = await redis.one({ command: 'xadd', args: [key, '*', 'boot', this.processToken] })
    await redis.one({ command: 'pexpire', args: [key, INBOX_TTL_MS] })
    for (const observer of this.observers) observer.onInboxCreated?.(String(entryId))
  }

  private info(): string {
    const fields = { host: this.options.host, epoch: String(this.processEpoch), started: this.startedAt }
    return JSON.stringify(Object.assign(fields, ...this.describers.map(fields => fields())))
  }

  /** One of the scripts about nodes, which have their keys in common. */
  private script(script: ClusterScript, args: (string | number)[]): Promise<unknown> {
    const { redis, keys } = this.options
    return redis.one({ script, keys: [keys.nodes(), keys.nodeOwners(), keys.nodeInfo()], args })
  }

  private inUse(): BrokerError {
    return new BrokerError('MIDGE_NODE_ID_IN_USE', `another running process has the node id ${this.nodeId}`)
  }
}

function asArray(reply: unknown): unknown[] {
  return Array.isArray(reply) ? reply : []
}

function parseInfo(json: string | undefined): Record<string, string> {
  if (json === undefined) return {}
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? (value as Record<string, string>) : {}
  } catch {
    return {}
  }
}
