import type { Instance } from '../../tenancy/model/instance.ts'
import { connectionOf } from '../connection-snippets.ts'
import { removeInstance } from '../instance-removal.ts'
import { cloudInstanceChange, cloudNewInstance, cloudNumber } from '../model/cloudmqtt-shapes.ts'
import { parseOrThrow } from '../problems.ts'
import { found } from '../shown.ts'
import type { CloudCall, CloudRoute, CloudServer } from './cloud-route.ts'

/** Instances that one answer lists. */
const INSTANCES_MAX = 10_000

/** What `customer.cloudmqtt.com/api` offered. */
export function customerRoutes(server: CloudServer): CloudRoute[] {
  const { instances } = server.parts.tenancy
  const who = 'customer'
  const named = (call: CloudCall): Instance => {
    const number = parseOrThrow(cloudNumber, call.param('id'), { code: 'bad_request', what: 'id' })
    return found(instances.findByNumber(number), 'instance')
  }
  return [
    {
      ...{ method: 'GET', path: '/api/instances', who },
      handle: () => instances.list({ countMax: INSTANCES_MAX }).items.map(shortOf),
    },
    { ...{ method: 'POST', path: '/api/instances', who }, handle: call => createInstance(server, call) },
    {
      ...{ method: 'GET', path: '/api/instances/:id', who },
      handle(call) {
        const row = named(call)
        const nowMs = server.parts.now()
        const secrets = server.secrets.find(row.id, { madeBy: call.caller.id, nowMs })
        return { ...shortOf(row), tags: row.tags, ready: true, ...secrets }
      },
    },
    {
      ...{ method: 'PUT', path: '/api/instances/:id', who },
      async handle(call) {
        const row = await instances.change(named(call).id, call.body(cloudInstanceChange), call.caller.actor)
        return shortOf(row)
      },
    },
    {
      ...{ method: 'DELETE', path: '/api/instances/:id', who },
      handle: call => removeInstance(server.parts, named(call).id, call.caller.actor),
    },
    {
      ...{ method: 'GET', path: '/api/regions', who },
      handle() {
        const { items } = instances.list({ countMax: INSTANCES_MAX })
        return [...new Set(['local', ...items.map(({ region }) => region)])].map(regionOf)
      },
    },
  ]
}

async function createInstance({ parts, secrets }: CloudServer, call: CloudCall): Promise<object> {
  const { instances } = parts.tenancy
  const wish = { ...call.body(cloudNewInstance), withPorts: true }
  const { instance, password, apiKey } = await instances.create(wish, call.caller.actor)
  const fresh = { url: urlOf(parts.listeners(), instance, { password, host: hostOf(call) }), apikey: apiKey }
  secrets.put(instance.id, fresh, { madeBy: call.caller.id, nowMs: parts.now() })
  return { id: instance.number, ...fresh }
}

function shortOf({ number, name, plan, region }: Instance): object {
  return { id: number, name, plan, region }
}

function regionOf(region: string): object {
  const [provider = '', name] = region.split('::')
  return { provider: name === undefined ? 'midge' : provider, region: name ?? provider, name: name ?? provider }
}

/** The name by which the caller has found this cluster will do for clients too. */
function hostOf({ request }: CloudCall): string {
  return /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/.exec(request.hostname.toLowerCase())?.[0] ?? 'localhost'
}

function urlOf(
  listeners: Parameters<typeof connectionOf>[1],
  instance: Instance,
  { password, host }: { password: string; host: string },
): string {
  const { host: name, username, ports } = connectionOf(instance, listeners, host)
  const { transport, port } = ports.find(offered => offered.transport === 'tcp') ??
    ports[0] ?? { transport: 'tcp', port: 1883 }
  const scheme = transport === 'tcp' ? 'mqtt' : transport === 'tls' ? 'mqtts' : transport
  return `${scheme}://${encodeURIComponent(username)}:${encodeURIComponent(password)}@${name}:${port}`
}
