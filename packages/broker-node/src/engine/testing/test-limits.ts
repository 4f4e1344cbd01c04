import type { InstanceLimits, InstancePlan, UsageLimits } from '../../ports.ts'

/** Nothing is limited but what is given. */
export function usageLimits(limits: Partial<UsageLimits> = {}): UsageLimits {
  return {
    connections: null,
    connectsPerSecond: null,
    sessions: null,
    subscriptionsPerSession: null,
    sessionExpirySeconds: null,
    retainedMessages: null,
    retainedBytes: null,
    queueMessages: null,
    queueBytes: null,
    packetBytes: null,
    messagesInPerSecond: null,
    messagesOutPerSecond: null,
    bytesInPerSecond: null,
    bytesOutPerSecond: null,
    burstSeconds: 10,
    ...limits,
  }
}

/** Plans that a test changes; an instance without one has no limits. */
export class TestInstanceLimits implements InstanceLimits {
  version = 0
  private readonly plans = new Map<string, InstancePlan>()

  planOf(instance: string): InstancePlan | undefined {
    return this.plans.get(instance)
  }

  set(instance: string, limits: Partial<UsageLimits>): void {
    this.version++
    this.plans.set(instance, { name: 'cat', limits: usageLimits(limits) })
  }
}
