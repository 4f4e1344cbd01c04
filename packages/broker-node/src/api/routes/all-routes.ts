import type { ApiParts } from '../api-parts.ts'
import type { ApiRoute } from '../api-route.ts'
import { auditRoutes } from './audit-routes.ts'
import { banRoutes } from './ban-routes.ts'
import { clientRoutes } from './client-routes.ts'
import { instanceRoutes } from './instance-routes.ts'
import { keyRoutes } from './key-routes.ts'
import { messageRoutes } from './message-routes.ts'
import { planRoutes } from './plan-routes.ts'
import { ruleRoutes } from './rule-routes.ts'
import { userRoutes } from './user-routes.ts'
import { watchRoutes } from './watch-routes.ts'
import { webhookRoutes } from './webhook-routes.ts'

/** The table of `/api/v1`: whatever is not in it is not served. */
export function allRoutes(parts: ApiParts): ApiRoute[] {
  const rooms = [
    ...[instanceRoutes, planRoutes, userRoutes, ruleRoutes, banRoutes, clientRoutes, messageRoutes, watchRoutes],
    ...[webhookRoutes, keyRoutes, auditRoutes],
  ]
  return rooms.flatMap(routesOf => routesOf(parts))
}
