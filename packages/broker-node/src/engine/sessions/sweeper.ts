import type { DueWill, InstanceName } from '@midge/protocol-core'
import { reportBackgroundFailure } from '../ground/background-failure.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Routers } from '../routing/routers.ts'
import { type GroupEnds, withdraw } from './session-ends.ts'

const SWEEP_INTERVAL_MS = 1000
const LATE_MS = 5 * SWEEP_INTERVAL_MS
/** Hints about group queues may be lost with a node; every this many sweeps they are looked at. */
const GROUP_SWEEPS = 5
const SWEEP_COUNT_MAX = 500
const REAP_COUNT_MAX = 500

/** What the sweeper works with. */
export interface SweeperParts {
  readonly services: Pick<EngineServices, 'counters' | 'directory' | 'link' | 'logger' | 'nodeId' | 'nowMs' | 'store'>
  readonly routers: Routers
  readonly wills: {
    /** Publishes a claimed will and confirms it. */
    publish(due: DueWill): Promise<unknown>
  }
  readonly groups: GroupEnds & {
    /** Looks after hints that were lost. */
    sweep(): void
    /** Messages of the group were given back: somebody else has to take them. */
    announce(instance: InstanceName, group: string): void
  }
  readonly connections: {
    /** Ends silent and stuck ones; `isLate` when the time since the last look says nothing about them. */
    checkTimeouts(nowMs: number, isLate: boolean): void
  }
}

/**
 * What happens by the clock: connections that are silent or stuck, wills and session expiries that are due, and what a
 * dead node has left behind.
 */
export class Sweeper {
  private readonly parts: SweeperParts
  private timer: NodeJS.Timeout | undefined = undefined
  private sweeps = 0
  private checkedAtMs = 0
  private running: Promise<void> | undefined = undefined
  private isPoked = false
  private isStopped = false

  constructor(parts: SweeperParts) {
    this.parts = parts
  }

  start(): void {
    this.timer = setInterval(() => this.onInterval(), SWEEP_INTERVAL_MS)
    this.timer.unref()
  }

  /**
   * Nothing more is claimed from here on.
   * @returns resolves when what was claimed is published: otherwise clients would wait for the end of the claims
   */
  async stop(): Promise<void> {
    this.isStopped = true
    clearInterval(this.timer)
    await this.running
  }

  /** Resolves when everything that was due when it was called is done. */
  async settled(): Promise<void> {
    while (this.running !== undefined) await this.running
  }

  /** Something is due now: do not wait for the interval. */
  poke(): void {
    this.isPoked = true
    if (this.running === undefined) this.run()
  }

  /** Ends the connections of a dead node, then publishes the wills that became due with it. */
  reap(nodeId: string): void {
    this.reapAll(nodeId).catch((error: unknown) =>
      reportBackgroundFailure(this.parts.services, 'clean-up after a dead node', error),
    )
  }

  private async reapAll(nodeId: string): Promise<void> {
    const { services, routers, groups } = this.parts
    let count = 0
    for (;;) {
      const found = await services.store.reapNode(nodeId, services.nowMs(), REAP_COUNT_MAX)
      if (found === 0) break
      count += found
      this.poke()
    }
    services.logger.warn({ event: 'node.reaped', node: nodeId, connections: count }, 'cleaned up after a dead node')
    this.poke()
    for (const [instance, router] of routers.entries()) {
      for (const group of router.allGroups()) groups.announce(instance, group.name)
    }
  }

  private onInterval(): void {
    this.checkConnections()
    this.sweeps++
    if (this.sweeps % GROUP_SWEEPS === 0) this.parts.groups.sweep()
    this.poke()
  }

  private run(): void {
    if (this.isStopped) return
    this.running = this.sweep()
      .catch((error: unknown) => reportBackgroundFailure(this.parts.services, 'sweep', error))
      .then(() => {
        this.running = undefined
        if (this.isPoked) this.run()
      })
  }

  private async sweep(): Promise<void> {
    const { services } = this.parts
    this.isPoked = false
    if (!services.link.hasLease()) return
    const { wills, expired } = await services.store.sweep(services.nodeId, services.nowMs(), SWEEP_COUNT_MAX)
    for (const session of expired) {
      services.counters.sessionsExpired++
      await withdraw(this.parts, session, session.subscriptions)
    }
    await Promise.all(wills.map(due => this.parts.wills.publish(due)))
    if (wills.length + expired.length >= SWEEP_COUNT_MAX) this.isPoked = true
  }

  private checkConnections(): void {
    const now = this.parts.services.nowMs()
    // This process stood still, or the clock was set: packets may wait to be read, and no client is to blame.
    const isLate = Math.abs(now - this.checkedAtMs) > LATE_MS
    this.checkedAtMs = now
    this.parts.connections.checkTimeouts(now, isLate)
  }
}
