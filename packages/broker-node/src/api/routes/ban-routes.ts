import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import { newBan, shownBan } from '../model/control-shapes.ts'
import { pageOf, pageQuery } from '../model/paging.ts'
import { pageRequest, shownPage, withoutAbsent } from '../shown.ts'

const tag = 'Bans'

/** Who may not come in. */
export function banRoutes({ tenancy: { bans } }: ApiParts): ApiRoute[] {
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/bans', access: 'instance:read', tag, summary: 'List bans' },
      query: pageQuery,
      answer: pageOf(shownBan),
      handle: ({ params, query }) => shownPage(bans.list(params.instance, pageRequest(query)), ban => ban),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/bans', access: 'instance:write', tag },
      summary: 'Ban an address, a range, a user or a client id; its connections end',
      body: newBan,
      status: 201,
      answer: shownBan,
      handle: ({ params, body, caller }) => bans.create(params.instance, withoutAbsent(body), caller.actor),
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/bans/:ban', access: 'instance:write', tag },
      summary: 'Lift a ban',
      handle: ({ params, caller }) => bans.remove(params.instance, params.ban, caller.actor),
    }),
  ]
}
