import { randomUUID } from 'node:crypto'
import { BrokerError, type InstanceName, type RecordChange } from '@midge/protocol-core'
import type { ControlTables } from './control-tables.ts'
import type { Instance } from './model/instance.ts'
import type { PlanLimits } from './model/plan.ts'
import { recordKey } from './record-key.ts'

/** Limits of a plan that count what the services write. */
export type CountedLimit = 'users' | 'rules' | 'bridges' | 'webhooks'

/** A record that is to be there, and was not. */
export function created(key: string, row: unknown): RecordChange {
  return { key, value: JSON.stringify(row), expected: { value: undefined } }
}

export function notFound(what: string): BrokerError {
  return new BrokerError('MIDGE_NOT_FOUND', `no such ${what}`)
}

export function alreadyExists(what: string): BrokerError {
  return new BrokerError('MIDGE_ALREADY_EXISTS', `${what} exists already`)
}

/** Parts of drafts that say under which conditions a change may happen. */
export class RecordConditions {
  private readonly tables: ControlTables

  constructor(tables: ControlTables) {
    this.tables = tables
  }

  /** A record takes the place of what the tables have. */
  replaced(key: string, before: unknown, after: unknown): RecordChange {
    return {
      key,
      value: after === undefined ? undefined : JSON.stringify(after),
      expected: { value: this.tables.rawOf(key, before) },
    }
  }

  /** The instance is still there: nobody puts a user into one that is being removed. */
  instanceStays(id: InstanceName): RecordChange {
    const key = recordKey('instance', '', id)
    const value = this.tables.rawOf(key, this.existing(id))
    return { key, value, expected: { value } }
  }

  /** @throws BrokerError `MIDGE_NOT_FOUND` */
  existing(id: InstanceName): Instance {
    const instance = this.tables.instances.get(id)
    if (instance === undefined) throw notFound('instance')
    return instance
  }

  /**
   * Room in the plan for some more, which no other node can take at the same time: all who add where there is a limit
   * pass the same guard.
   *
   * @throws BrokerError `MIDGE_PLAN_LIMIT`
   */
  room(id: InstanceName, limit: CountedLimit, used: number, more = 1): RecordChange[] {
    const { plan: planId } = this.existing(id)
    const max = this.limits(id)[limit]
    if (max === null) return []
    if (used + more > max) throw new BrokerError('MIDGE_PLAN_LIMIT', `plan ${planId}: ${used} of ${max} ${limit}`)
    const guard = this.tables.text('guard', id, limit)
    return [
      {
        key: recordKey('guard', id, limit),
        value: JSON.stringify(randomUUID()),
        expected: { value: guard },
      },
    ]
  }

  /** Of the plan of an instance; of a plan that is gone, and of no instance, nothing but what is built in. */
  limits(id: InstanceName): PlanLimits {
    const { plans, instances } = this.tables
    const plan = plans.get(instances.get(id)?.plan ?? '') ?? plans.get('unlimited')
    if (plan === undefined) throw new Error('the built-in plans are always there')
    return plan.limits
  }
}
