import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import { shownAudit } from '../model/control-shapes.ts'
import { pageOf, pageQuery } from '../model/paging.ts'
import { pageRequest, shownPage } from '../shown.ts'

const tag = 'Audit trail'

/** Who has changed what. */
export function auditRoutes({ tenancy }: ApiParts): ApiRoute[] {
  return [
    route({
      ...{ method: 'GET', path: '/audit', access: 'operator', tag, summary: 'Who has changed what, newest first' },
      query: pageQuery,
      answer: pageOf(shownAudit),
      handle: ({ query }) => shownPage(tenancy.audit(pageRequest(query)), entry => entry),
    }),
    route({
      ...{ method: 'GET', path: '/instances/:instance/audit', access: 'instance:read', tag },
      summary: 'Who has changed what of an instance, newest first',
      query: pageQuery,
      answer: pageOf(shownAudit),
      handle: ({ params, query }) => shownPage(tenancy.audit(pageRequest(query), params.instance), entry => entry),
    }),
  ]
}
