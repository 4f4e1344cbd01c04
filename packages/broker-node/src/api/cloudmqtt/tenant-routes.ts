import type { Rule } from '../../tenancy/model/rule.ts'
import type { Tenancy } from '../../tenancy/tenancy.ts'
import {
  type CloudRuleIdentity,
  cloudListQuery,
  cloudPassword,
  cloudRule,
  cloudRuleName,
  cloudUser,
} from '../model/cloudmqtt-shapes.ts'
import { found } from '../shown.ts'
import type { CloudCall, CloudRoute, CloudServer } from './cloud-route.ts'
import { cloudRulesOf, ruleById, ruleNumber, rulesNamed } from './cloud-rules.ts'

/** Connections that one answer lists. */
const CONNECTIONS_MAX = 1000

/** Where routes are: since 2018, and before. */
export type CloudBase = '/api' | ''

/** What `api.cloudmqtt.com` offered for one instance. */
export function tenantRoutes(server: CloudServer, base: CloudBase): CloudRoute[] {
  const { views } = server.parts
  const who = 'instance'
  return [
    ...userRoutesOf(server, base),
    { ...{ method: 'GET', path: `${base}/info/connections`, who }, handle: call => listConnections(server, call) },
    ...ruleRoutesOf(server, base),
    {
      ...{ method: 'POST', path: `${base}/instance/restart`, who },
      handle: ({ caller }) => views.restart(caller.instance),
    },
    { ...{ method: 'POST', path: `${base}/instance/reset`, who }, handle: ({ caller }) => views.wipe(caller.instance) },
  ]
}

/** CloudMQTT has not documented its fields, so they are those of the panel. */
async function listConnections({ parts }: CloudServer, { caller: { instance } }: CloudCall): Promise<object[]> {
  const { items } = await parts.views.connections(instance, { countMax: CONNECTIONS_MAX })
  return items.map(row => ({
    client_id: row.clientId,
    username: row.username ?? null,
    ip: row.address,
    protocol: row.protocol,
    tls: row.transport === 'tls' || row.transport === 'wss',
    keepalive: row.keepAliveSeconds,
    clean: row.sessionExpirySeconds === 0,
    connected_at: new Date(row.connectedAtMs).toISOString(),
  }))
}

function userRoutesOf({ parts: { tenancy } }: CloudServer, base: CloudBase): CloudRoute[] {
  const { users, instances } = tenancy
  const who = 'instance'
  const list = ({ caller: { instance }, query }: CloudCall): object[] => {
    const { limit, page, query: prefix } = query(cloudListQuery)
    // The user that came with the instance is its owner, and none of the users that it manages.
    const owner = instances.find(instance)?.defaultUser
    const { items } = users.list(instance, { countMax: page * limit + 1 }, prefix)
    const managed = items.filter(({ username }) => username !== owner)
    return managed.slice((page - 1) * limit, page * limit).map(({ username }) => ({ username }))
  }
  const setPassword = async ({ caller }: CloudCall, username: string, password: string): Promise<void> => {
    await users.change(caller.instance, username, { secret: { password } }, caller.actor)
  }
  return [
    { ...{ method: 'GET', path: `${base}/user`, who }, handle: list },
    { ...{ method: 'GET', path: `${base}/user/`, who }, handle: list },
    {
      ...{ method: 'GET', path: `${base}/user/:name`, who },
      handle({ caller: { instance }, param }) {
        const { username } = found(users.find(instance, param('name')), 'user')
        const acls = cloudRulesOf(tenancy, instance, username)
        return { username, acls: acls.map(({ pattern, read, write }) => ({ topic: pattern, read, write })) }
      },
    },
    {
      ...{ method: 'POST', path: `${base}/user`, who },
      async handle({ caller, body }) {
        const { username, password } = body(cloudUser)
        await users.create(caller.instance, username, { secret: { password } }, caller.actor)
      },
    },
    {
      ...{ method: 'PUT', path: `${base}/user`, who },
      handle(call) {
        const { username, password } = call.body(cloudUser)
        return setPassword(call, username, password)
      },
    },
    {
      ...{ method: 'PUT', path: `${base}/user/:name`, who },
      handle: call => setPassword(call, call.param('name'), call.body(cloudPassword).password),
    },
    {
      ...{ method: 'DELETE', path: `${base}/user/:name`, who },
      handle: ({ caller, param }) => users.remove(caller.instance, param('name'), caller.actor),
    },
  ]
}

function ruleRoutesOf({ parts: { tenancy } }: CloudServer, base: CloudBase): CloudRoute[] {
  const { rules } = tenancy
  const who = 'instance'
  return [
    {
      ...{ method: 'GET', path: `${base}/acl`, who },
      handle({ caller, query }) {
        const { limit, page, query: prefix } = query(cloudListQuery)
        const all = cloudRulesOf(tenancy, caller.instance).filter(({ username = '' }) => username.startsWith(prefix))
        const wanted = all.slice((page - 1) * limit, page * limit)
        return base === '' ? wanted.map(olderForm) : { items: wanted.map(newerForm) }
      },
    },
    { ...{ method: 'POST', path: `${base}/acl`, who }, handle: call => putRule(tenancy, call) },
    {
      ...{ method: 'PUT', path: `${base}/acl/:id`, who },
      async handle({ caller, param, body }) {
        const { id } = found(ruleById(tenancy, caller.instance, param('id')), 'rule')
        await rules.change(caller.instance, id, newRuleOf(body(cloudRule)), caller.actor)
      },
    },
    {
      ...{ method: 'DELETE', path: `${base}/acl`, who },
      handle({ caller, body }) {
        const named = rulesNamed(tenancy, caller.instance, body(cloudRuleName))
        found(named[0], 'rule')
        return rules.remove(
          caller.instance,
          named.map(({ id }) => id),
          caller.actor,
        )
      },
    },
    {
      ...{ method: 'DELETE', path: `${base}/acl/:id`, who },
      handle({ caller, param }) {
        const { id } = found(ruleById(tenancy, caller.instance, param('id')), 'rule')
        return rules.remove(caller.instance, [id], caller.actor)
      },
    },
  ]
}

type SentRule = CloudRuleIdentity & { read: boolean; write: boolean }
type NewRuleFields = Omit<SentRule, 'username'> & { username?: string }

function newRuleOf({ username, ...rule }: SentRule): NewRuleFields {
  return username === undefined ? rule : { ...rule, username }
}

/** Asked for twice, a rule is there once, with the rights that were asked for last. */
async function putRule(tenancy: Tenancy, { caller: { instance, actor }, body }: CloudCall): Promise<void> {
  const sent = body(cloudRule)
  const [same] = rulesNamed(tenancy, instance, sent)
  if (same === undefined) await tenancy.rules.create(instance, [newRuleOf(sent)], actor)
  else await tenancy.rules.change(instance, same.id, newRuleOf(sent), actor)
}

function newerForm({ id, type, pattern, read, write, username }: Rule): object {
  return { id: ruleNumber(id), type, pattern, read, write, user: username ?? null }
}

function olderForm({ pattern, read, write, username = '' }: Rule): object {
  return { topic: pattern, read, write, username }
}
