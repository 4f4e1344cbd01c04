import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import { shownWebhook, webhookBody, webhookList } from '../model/control-shapes.ts'
import { RequestProblem } from '../problems.ts'

/** Addresses that are told about events of an instance. */
export function webhookRoutes({ tenancy: { webhooks }, now }: ApiParts): ApiRoute[] {
  const tag = 'Webhooks'
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/webhooks', access: 'instance:read', tag },
      summary: 'List webhooks',
      answer: webhookList,
      handle: ({ params }) => ({ items: webhooks.list(params.instance) }),
    }),
    route({
      ...{ method: 'PUT', path: '/instances/:instance/webhooks/:webhook', access: 'instance:write', tag },
      summary: 'Create or replace a webhook; an absent secret stays as it is',
      body: webhookBody,
      answer: shownWebhook,
      handle({ params, body, caller }) {
        const before = webhooks.list(params.instance).find(({ id }) => id === params.webhook)
        const secret = body.secret ?? before?.secret
        if (secret === undefined) throw new RequestProblem('fields_invalid', 'secret: is needed for a new webhook')
        const row = { ...body, secret, id: params.webhook, createdAtMs: before?.createdAtMs ?? now() }
        return webhooks.put(params.instance, row, caller.actor)
      },
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/webhooks/:webhook', access: 'instance:write', tag },
      summary: 'Delete a webhook',
      handle: ({ params, caller }) => webhooks.remove(params.instance, params.webhook, caller.actor),
    }),
  ]
}
