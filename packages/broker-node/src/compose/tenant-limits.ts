import type { InstanceName } from '@midge/protocol-core'
import type { InstanceLimits, InstancePlan } from '../ports.ts'
import { type PlanLimits, type PlanRecord, planLimits } from '../tenancy/model/plan.ts'
import type { Tenancy } from '../tenancy/tenancy.ts'

const UNLIMITED: PlanLimits = planLimits.parse({})

/** The limits of instances as their plans have them now. An instance of a plan without any costs nothing. */
export class TenantLimits implements InstanceLimits {
  version = 0
  private readonly tenancy: Tenancy
  private readonly plans: Map<string, InstancePlan | undefined> = new Map()

  constructor(tenancy: Tenancy) {
    this.tenancy = tenancy
    tenancy.observe({
      onInstance: (before, after) => {
        if (before?.plan !== after?.plan) this.version++
      },
      onPlan: ({ id }) => {
        this.plans.delete(id)
        this.version++
      },
    })
  }

  planOf(instance: InstanceName): InstancePlan | undefined {
    const id = this.tenancy.instances.find(instance)?.plan
    if (id === undefined) return undefined
    if (!this.plans.has(id)) this.plans.set(id, asInstancePlan(this.tenancy.plans.find(id)))
    return this.plans.get(id)
  }
}

function asInstancePlan(plan: PlanRecord | undefined): InstancePlan | undefined {
  if (plan === undefined) return undefined
  const { id, limits } = plan
  const names = Object.keys(UNLIMITED) as (keyof PlanLimits)[]
  const isUnlimited = names.every(name => name === 'burstSeconds' || limits[name] === UNLIMITED[name])
  return isUnlimited ? undefined : { name: id, limits }
}
