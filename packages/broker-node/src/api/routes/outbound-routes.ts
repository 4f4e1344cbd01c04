import type { z } from 'zod'
import type { Bridge } from '../../tenancy/model/bridge.ts'
import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import { bridgeBody, bridgeList, shownBridge, shownWebhook, webhookBody, webhookList } from '../model/control-shapes.ts'
import { RequestProblem } from '../problems.ts'
import { showBridge } from '../shown.ts'

/** What an instance has the cluster call: other brokers, and addresses that are told about events. */
export function outboundRoutes(parts: ApiParts): ApiRoute[] {
  return [...bridgeRoutes(parts), ...webhookRoutes(parts)]
}

function bridgeRoutes({ tenancy: { bridges }, now }: ApiParts): ApiRoute[] {
  const tag = 'Bridges'
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/bridges', access: 'instance:read', tag, summary: 'List bridges' },
      answer: bridgeList,
      handle: ({ params }) => ({ items: bridges.list(params.instance).map(showBridge) }),
    }),
    route({
      ...{ method: 'PUT', path: '/instances/:instance/bridges/:bridge', access: 'instance:write', tag },
      summary: 'Create or replace a bridge; an absent password or private key stays as it is',
      body: bridgeBody,
      answer: shownBridge,
      async handle({ params, body, caller }) {
        const before = bridges.list(params.instance).find(({ id }) => id === params.bridge)
        const row = bridgeOf(body, before, { id: params.bridge, createdAtMs: now() })
        return showBridge(await bridges.put(params.instance, row, caller.actor))
      },
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/bridges/:bridge', access: 'instance:write', tag },
      summary: 'Delete a bridge',
      handle: ({ params, caller }) => bridges.remove(params.instance, params.bridge, caller.actor),
    }),
  ]
}

function bridgeOf(
  { password, tls, ...body }: z.output<typeof bridgeBody>,
  before: Bridge | undefined,
  fresh: Pick<Bridge, 'id' | 'createdAtMs'>,
): Bridge {
  // A secret goes to the host that it was given for, and to no other.
  const isSameHost = before?.host === body.host && before.port === body.port
  const kept = isSameHost ? before : undefined
  const secret = password ?? kept?.password
  const key = tls?.key ?? kept?.tls?.key
  return {
    ...body,
    id: fresh.id,
    createdAtMs: before?.createdAtMs ?? fresh.createdAtMs,
    ...(secret === undefined ? {} : { password: secret }),
    ...(tls === undefined ? {} : { tls: { ...tls, ...(key === undefined ? {} : { key }) } }),
  }
}

function webhookRoutes({ tenancy: { webhooks }, now }: ApiParts): ApiRoute[] {
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
