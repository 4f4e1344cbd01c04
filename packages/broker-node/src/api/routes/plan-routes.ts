import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import { planBody, planList, shownPlan } from '../model/control-shapes.ts'
import { found } from '../shown.ts'

const tag = 'Plans'

/** What may be bought. */
export function planRoutes({ tenancy: { plans } }: ApiParts): ApiRoute[] {
  return [
    route({
      ...{ method: 'GET', path: '/plans', access: 'any', tag, summary: 'List plans' },
      answer: planList,
      handle: () => ({ items: plans.list() }),
    }),
    route({
      ...{ method: 'GET', path: '/plans/:plan', access: 'any', tag, summary: 'Get a plan' },
      answer: shownPlan,
      handle: ({ params }) => found(plans.find(params.plan), 'plan'),
    }),
    route({
      ...{ method: 'PUT', path: '/plans/:plan', access: 'operator', tag },
      summary: 'Create or replace a plan; new limits count at once for all instances that have it',
      body: planBody,
      answer: shownPlan,
      handle: ({ params, body, caller }) => plans.put({ id: params.plan, ...body }, caller.actor),
    }),
    route({
      ...{ method: 'DELETE', path: '/plans/:plan', access: 'operator', tag },
      summary: 'Delete a plan that no instance has; a replaced built-in one comes back',
      handle: ({ params, caller }) => plans.remove(params.plan, caller.actor),
    }),
  ]
}
