import { Message } from '@midge/protocol-core'
import type { BrokerCore } from '../broker-core.ts'
import { withdraw } from './session-end.ts'

const SWEEP_INTERVAL_MS = 1000
const LATE_MS = 5 * SWEEP_INTERVAL_MS
/** Hints about group queues may be lost with a node; every this many sweeps they are looked at. */
const GROUP_SWEEPS = 5
const SWEEP_COUNT_MAX = 500
const REAP_COUNT_MAX = 500

/**
 * What happens by the clock: connections that are silent or stuck, wills and session expiries that are due, and what a
 * dead node has left behind.
 */
export class Sweeper {
  private readonly broker: BrokerCore
  private timer: NodeJS.Timeout | undefined = undefined
  private sweeps = 0
  private checkedAtMs = 0
  private isSweeping = false
  private isPoked = false

  constructor(broker: BrokerCore) {
    this.broker = broker
  }

  start(): void {
    this.timer = setInterval(() => this.onInterval(), SWEEP_INTERVAL_MS)
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Something is due now: do not wait for the interval. */
  poke(): void {
    this.isPoked = true
    if (!this.isSweeping) this.run()
  }

  /** Ends the connections of a dead node, then publishes the wills that became due with it. */
  reap(nodeId: string): void {
    this.reapAll(nodeId).catch((error: unknown) => this.broker.onBackgroundFailure('clean-up after a dead node', error))
  }

  private async reapAll(nodeId: string): Promise<void> {
    const { broker } = this
    let count = 0
    for (;;) {
      const found = await broker.store.reapNode(nodeId, broker.nowMs(), REAP_COUNT_MAX)
      if (found === 0) break
      count += found
      this.poke()
    }
    broker.logger.warn({ event: 'node.reaped', node: nodeId, connections: count }, 'cleaned up after a dead node')
    this.poke()
    for (const instance of broker.instances()) {
      for (const group of broker.routerOf(instance).allGroups()) broker.groups.announce(instance, group.name)
    }
  }

  private onInterval(): void {
    this.checkConnections()
    this.sweeps++
    if (this.sweeps % GROUP_SWEEPS === 0) this.broker.groups.sweep()
    this.poke()
  }

  private run(): void {
    this.isSweeping = true
    this.sweep()
      .catch((error: unknown) => this.broker.onBackgroundFailure('sweep', error))
      .finally(() => {
        this.isSweeping = false
        if (this.isPoked) this.run()
      })
  }

  private async sweep(): Promise<void> {
    const { broker } = this
    this.isPoked = false
    if (!broker.link.hasLease()) return
    const { wills, expired } = await broker.store.sweep(broker.nodeId, broker.nowMs(), SWEEP_COUNT_MAX)
    for (const session of expired) {
      broker.counters.sessionsExpired++
      await withdraw(broker, session.instance, session.clientId, session.subscriptions)
    }
    await Promise.all(wills.map(due => this.publishWill(due)))
    if (wills.length + expired.length >= SWEEP_COUNT_MAX) this.isPoked = true
  }

  private async publishWill(due: {
    id: string
    instance: string
    clientId: string
    will: { message: Message; messageExpirySeconds: number }
  }): Promise<void> {
    const { broker } = this
    const { message, messageExpirySeconds } = due.will
    const expiresAtMs = messageExpirySeconds < 0 ? 0 : broker.nowMs() + messageExpirySeconds * 1000
    const stored = await broker.publisher.publish(due.instance, new Message({ ...message, expiresAtMs }))
    // Unconfirmed, it becomes due again: better late than lost.
    if (!stored) return
    broker.counters.willsPublished++
    broker.hooks.published(undefined, message)
    await broker.store.confirmWill(due.instance, due.clientId, due.id)
  }

  private checkConnections(): void {
    const now = this.broker.nowMs()
    // This process stood still, or the clock was set: packets may wait to be read, and no client is to blame.
    const isLate = Math.abs(now - this.checkedAtMs) > LATE_MS
    this.checkedAtMs = now
    for (const connection of this.broker.connections) {
      if (isLate) connection.restartTimeouts(now)
      else connection.checkTimeouts(now)
    }
  }
}
