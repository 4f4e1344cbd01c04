import type { InstanceName, QuotaStore, StoreLimits } from '@midge/protocol-core'
import type { InstanceLimits } from '../../ports.ts'
import { reportBackgroundFailure } from '../ground/background-failure.ts'
import { LOOK_MS } from './allowance.ts'
import { InstanceUsage, type UsageParts } from './instance-usage.ts'
import { Tarpit } from './tarpit.ts'

/** How often the cluster is told again which connections are here. */
const KEEP_MS = 30_000

/** Where limits come from, and what counts them. */
export interface LimitSources {
  quotas: QuotaStore
  instanceLimits: InstanceLimits
}

/** What the instances use on this node. A node of instances without limits has nothing to do here. */
export class Usages {
  /** Set by whoever has the connections: these limits have changed. */
  onChanged: (usage: InstanceUsage) => void = () => undefined
  readonly tarpit: Tarpit
  private readonly parts: UsageParts
  private readonly limits: InstanceLimits
  private readonly usages = new Map<InstanceName, InstanceUsage>()
  private version: number
  private timer: NodeJS.Timeout | undefined = undefined
  private keptAtMs = performance.now()

  constructor(services: UsageParts['services'], { quotas, instanceLimits }: LimitSources) {
    this.tarpit = new Tarpit(services.limits.connectionsMax)
    this.parts = { services, quotas }
    this.limits = instanceLimits
    this.version = instanceLimits.version
  }

  start(): void {
    this.timer = setInterval(() => this.look(), LOOK_MS)
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
    for (const usage of this.usages.values()) usage.stop()
  }

  of(instance: InstanceName): InstanceUsage {
    let usage = this.usages.get(instance)
    if (usage === undefined) {
      usage = new InstanceUsage(this.parts, instance)
      usage.usePlan(this.limits.planOf(instance))
      this.usages.set(instance, usage)
    }
    return usage
  }

  /** What the store has to keep to, for messages of the instance. */
  storeLimitsOf(instance: InstanceName): StoreLimits | undefined {
    return this.of(instance).storeLimits
  }

  /** Tells the cluster what is held here; after its counts may have been lost. */
  keepSlots(): void {
    this.keptAtMs = performance.now()
    for (const usage of this.usages.values()) this.keep(usage)
  }

  private look(): void {
    const nowMs = performance.now()
    if (this.version !== this.limits.version) this.onVersion()
    for (const usage of this.usages.values()) usage.look(nowMs)
    if (nowMs - this.keptAtMs >= KEEP_MS) this.keepSlots()
  }

  private onVersion(): void {
    this.version = this.limits.version
    for (const usage of this.usages.values()) {
      if (!usage.usePlan(this.limits.planOf(usage.instance))) continue
      this.onChanged(usage)
      this.keep(usage)
    }
  }

  private keep(usage: InstanceUsage): void {
    usage
      .keepSlots()
      .catch((error: unknown) => reportBackgroundFailure(this.parts.services, 'count of connections', error))
  }
}
