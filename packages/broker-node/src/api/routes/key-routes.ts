import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import { freshKey, keyListQuery, newApiKey, newInstanceKey, shownApiKey, whoAmI } from '../model/control-shapes.ts'
import { pageOf, pageQuery } from '../model/paging.ts'
import { found, pageRequest, showApiKey, shownPage, withoutAbsent } from '../shown.ts'

const tag = 'API keys'
/** Keys that are looked through for one id. */
const KEYS_MAX = 10_000

/** Keys of this API: all of them for operators, an instance's own for itself. */
export function keyRoutes(parts: ApiParts): ApiRoute[] {
  return [...operatorKeyRoutes(parts), ...instanceKeyRoutes(parts)]
}

function operatorKeyRoutes({ tenancy: { apiKeys }, nodeId, version }: ApiParts): ApiRoute[] {
  return [
    route({
      ...{ method: 'GET', path: '/whoami', access: 'any', tag, summary: 'What this key is, and which node answers' },
      answer: whoAmI,
      handle: ({ caller }) => ({ key: showApiKey(caller.key), node: nodeId, version }),
    }),
    route({
      ...{ method: 'GET', path: '/api-keys', access: 'operator', tag, summary: 'List keys' },
      query: keyListQuery,
      answer: pageOf(shownApiKey),
      handle: ({ query }) => shownPage(apiKeys.list(pageRequest(query), query.instance), showApiKey),
    }),
    route({
      ...{ method: 'POST', path: '/api-keys', access: 'operator', tag, summary: 'Create a key; it is shown once' },
      body: newApiKey,
      status: 201,
      answer: freshKey,
      async handle({ body, caller }) {
        const { apiKey, key } = await apiKeys.create(withoutAbsent(body), caller.actor)
        return { apiKey: showApiKey(apiKey), key }
      },
    }),
    route({
      ...{ method: 'DELETE', path: '/api-keys/:key', access: 'operator', tag, summary: 'Delete a key' },
      handle: ({ params, caller }) => apiKeys.remove(params.key, caller.actor),
    }),
  ]
}

function instanceKeyRoutes({ tenancy: { apiKeys } }: ApiParts): ApiRoute[] {
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/api-keys', access: 'instance:write', tag },
      summary: 'List keys of an instance',
      query: pageQuery,
      answer: pageOf(shownApiKey),
      handle: ({ params, query }) => shownPage(apiKeys.list(pageRequest(query), params.instance), showApiKey),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/api-keys', access: 'instance:write', tag },
      summary: 'Create a key of an instance; it is shown once',
      body: newInstanceKey,
      status: 201,
      answer: freshKey,
      async handle({ params: { instance }, body, caller }) {
        const { apiKey, key } = await apiKeys.create({ ...withoutAbsent(body), instance }, caller.actor)
        return { apiKey: showApiKey(apiKey), key }
      },
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/api-keys/:key', access: 'instance:write', tag },
      summary: 'Delete a key of an instance',
      handle({ params, caller }) {
        const own = apiKeys.list({ countMax: KEYS_MAX }, params.instance).items
        return apiKeys.remove(
          found(
            own.find(({ id }) => id === params.key),
            'key',
          ).id,
          caller.actor,
        )
      },
    }),
  ]
}
