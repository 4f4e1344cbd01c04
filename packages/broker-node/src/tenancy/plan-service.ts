import { BrokerError } from '@midge/protocol-core'
import { BUILT_IN_PLANS } from './built-in-plans.ts'
import type { Actor } from './model/audit-entry.ts'
import { type PlanRecord, plan } from './model/plan.ts'
import { notFound } from './record-drafts.ts'
import { recordKey } from './record-key.ts'
import { checkInput } from './record-reading.ts'
import type { ServiceParts } from './service-parts.ts'
import type { Tenancy } from './tenancy.ts'

type PlanPlane = Tenancy['plans']

/** What may be bought. Built-in plans can be replaced, and come back when the replacement is removed. */
export class PlanService implements PlanPlane {
  private readonly parts: ServiceParts

  constructor(parts: ServiceParts) {
    this.parts = parts
  }

  list(): PlanRecord[] {
    return this.parts.tables.plans.page({ countMax: Number.MAX_SAFE_INTEGER }).items
  }

  find(id: string): PlanRecord | undefined {
    return this.parts.tables.plans.get(id)
  }

  async put(input: PlanRecord, actor: Actor): Promise<PlanRecord> {
    const row = checkInput(plan, input)
    return this.parts.writer.commit(actor, () => ({
      changes: [{ key: recordKey('plan', '', row.id), value: JSON.stringify(row) }],
      audit: { action: 'plan.changed', subject: row.id },
      result: row,
    }))
  }

  async remove(id: string, actor: Actor): Promise<void> {
    const { tables, writer, conditions } = this.parts
    await writer.commit(actor, () => {
      const row = tables.plans.get(id)
      if (row === undefined) throw notFound('plan')
      if (BUILT_IN_PLANS.includes(row)) throw new BrokerError('MIDGE_INVALID', 'id: a built-in plan')
      if (!BUILT_IN_PLANS.some(builtIn => builtIn.id === id)) this.checkUnused(id)
      return {
        changes: [conditions.replaced(recordKey('plan', '', id), row, undefined)],
        audit: { action: 'plan.removed', subject: id },
        result: undefined,
      }
    })
  }

  private checkUnused(id: string): void {
    for (const instance of this.parts.tables.instances.values()) {
      if (instance.plan !== id) continue
      throw new BrokerError('MIDGE_INVALID', `id: instance ${instance.id} has this plan`)
    }
  }
}
