import { freshPassword } from '../../tenancy/fresh-names.ts'
import type { Instance } from '../../tenancy/model/instance.ts'
import type { Actor } from '../../tenancy/tenancy.ts'
import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import { checkAccess } from '../caller.ts'
import { connectionOf } from '../connection-snippets.ts'
import { removeInstance } from '../instance-removal.ts'
import { rotateInstanceKey } from '../key-rotation.ts'
import {
  connectionDetails,
  createdInstance,
  freshKey,
  freshLogin,
  hostQuery,
  instanceChange,
  newInstance,
  shownInstance,
} from '../model/control-shapes.ts'
import { pageOf, pageQuery } from '../model/paging.ts'
import { found, pageRequest, showApiKey, showInstance, shownPage, withoutAbsent } from '../shown.ts'

const tag = 'Instances'
/** What an instance's own key may not change: it is what the instance was sold as. */
const OPERATORS_FIELDS = ['plan', 'state', 'region', 'hosts'] as const

/** Tenants: made, changed, stopped and removed. */
export function instanceRoutes(parts: ApiParts): ApiRoute[] {
  return [...lifeRoutes(parts), ...stateRoutes(parts), ...secretRoutes(parts)]
}

function lifeRoutes(parts: ApiParts): ApiRoute[] {
  const { tenancy } = parts
  const { instances } = tenancy
  return [
    route({
      ...{ method: 'GET', path: '/instances', access: 'operator', tag, summary: 'List instances' },
      query: pageQuery,
      answer: pageOf(shownInstance),
      handle: ({ query }) => shownPage(instances.list(pageRequest(query)), row => showInstance(tenancy, row)),
    }),
    route({
      ...{ method: 'POST', path: '/instances', access: 'operator', tag, summary: 'Create an instance' },
      body: newInstance,
      status: 201,
      answer: createdInstance,
      async handle({ body, caller }) {
        const { instance, password, apiKey } = await instances.create(withoutAbsent(body), caller.actor)
        return { instance: showInstance(tenancy, instance), username: instance.defaultUser, password, apiKey }
      },
    }),
    route({
      ...{ method: 'GET', path: '/instances/:instance', access: 'instance:read', tag, summary: 'Get an instance' },
      answer: shownInstance,
      handle: ({ params }) => showInstance(tenancy, found(instances.find(params.instance), 'instance')),
    }),
    route({
      ...{ method: 'PATCH', path: '/instances/:instance', access: 'instance:write', tag },
      summary: 'Change an instance; absent fields stay',
      body: instanceChange,
      answer: shownInstance,
      async handle({ params, body, caller }) {
        if (OPERATORS_FIELDS.some(name => body[name] !== undefined)) checkAccess(caller, 'operator')
        return showInstance(tenancy, await instances.change(params.instance, withoutAbsent(body), caller.actor))
      },
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance', access: 'operator', tag },
      summary: 'Delete an instance with all that belongs to it',
      handle: ({ params, caller }) => removeInstance(parts, params.instance, caller.actor),
    }),
  ]
}

function stateRoutes({ tenancy, views }: ApiParts): ApiRoute[] {
  const { instances } = tenancy
  const setState = async (instance: string, state: Instance['state'], actor: Actor) =>
    showInstance(tenancy, await instances.change(instance, { state }, actor))
  return [
    route({
      ...{ method: 'POST', path: '/instances/:instance/suspend', access: 'operator', tag },
      summary: 'Close its connections and let nobody in',
      answer: shownInstance,
      handle: ({ params, caller }) => setState(params.instance, 'suspended', caller.actor),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/resume', access: 'operator', tag },
      summary: 'Let clients in again',
      answer: shownInstance,
      handle: ({ params, caller }) => setState(params.instance, 'active', caller.actor),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/restart', access: 'instance:write', tag },
      summary: 'Close all its connections; clients may come back at once',
      handle: ({ params }) => views.restart(params.instance),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/reset', access: 'instance:write', tag },
      summary: 'Close its connections and remove sessions, queues and retained messages; users and rules stay',
      handle: ({ params }) => views.wipe(params.instance),
    }),
  ]
}

function secretRoutes(parts: ApiParts): ApiRoute[] {
  const { instances, users } = parts.tenancy
  return [
    route({
      ...{ method: 'POST', path: '/instances/:instance/password', access: 'instance:write', tag },
      summary: 'Make a new password for the user that came with the instance; its connections end',
      answer: freshLogin,
      async handle({ params, caller }) {
        const { id, defaultUser: username } = found(instances.find(params.instance), 'instance')
        const password = freshPassword()
        await users.change(id, username, { secret: { password } }, caller.actor)
        return { username, password }
      },
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/api-key', access: 'instance:write', tag },
      summary: 'Make a new key for the API of the instance; all others that may write end',
      status: 201,
      answer: freshKey,
      handle: async ({ params, caller }) => {
        const { apiKey, key } = await rotateInstanceKey(parts.tenancy, params.instance, caller.actor)
        return { apiKey: showApiKey(apiKey), key }
      },
    }),
    route({
      ...{ method: 'GET', path: '/instances/:instance/connection', access: 'instance:read', tag },
      summary: 'What clients need to connect, with snippets for well-known ones',
      query: hostQuery,
      answer: connectionDetails,
      handle: ({ params, query }) =>
        connectionOf(found(instances.find(params.instance), 'instance'), parts.listeners(), query.host),
    }),
  ]
}
