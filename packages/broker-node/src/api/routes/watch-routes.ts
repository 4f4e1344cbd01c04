import type { LogView } from '../../views/cluster-views.ts'
import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route, streamRoute } from '../api-route.ts'
import { logList, logQuery, nodeList, shownLog, shownStatistics } from '../model/cluster-shapes.ts'

/** A silent stream says at least this often that it is there, in ms: proxies close what says nothing. */
const HEARTBEAT_MS = 15_000

/** What happens: to clients of an instance, and to the nodes. */
export function watchRoutes(parts: ApiParts): ApiRoute[] {
  return [...logRoutes(parts), statisticsRoute(parts), ...nodeRoutes(parts)]
}

function logRoutes({ views }: ApiParts): ApiRoute[] {
  const tag = 'Log'
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/log', access: 'instance:read', tag },
      summary: 'What happened to clients, oldest first',
      query: logQuery,
      answer: logList,
      handle: async ({ params, query }) => ({ items: await views.log(params.instance, query.since, query.limit) }),
    }),
    streamRoute({
      ...{ path: '/instances/:instance/log/live', access: 'instance:read', tag },
      summary: 'What happens to clients from now on, as server-sent events',
      streamType: 'text/event-stream',
      handle: ({ params }, gone) => eventsOf(views.followLog(params.instance, gone)),
    }),
  ]
}

function statisticsRoute({ views, tenancy: { users, rules, instances } }: ApiParts): ApiRoute {
  return route({
    ...{ method: 'GET', path: '/instances/:instance/statistics', access: 'instance:read', tag: 'Statistics' },
    summary: 'What an instance has now, and what its plan allows',
    answer: shownStatistics,
    handle: async ({ params: { instance } }) => ({
      ...(await views.statistics(instance)),
      ...{ users: users.count(instance), rules: rules.count(instance), limits: instances.limits(instance) },
    }),
  })
}

function nodeRoutes({ views }: ApiParts): ApiRoute[] {
  const tag = 'Nodes'
  return [
    route({
      ...{ method: 'GET', path: '/nodes', access: 'operator', tag, summary: 'List the nodes of the cluster' },
      answer: nodeList,
      handle: async () => ({ items: await views.nodes() }),
    }),
    route({
      ...{ method: 'POST', path: '/nodes/:node/drain', access: 'operator', tag },
      summary: 'Ask a node to go out of service; its clients connect elsewhere',
      status: 202,
      handle: ({ params }) => views.drain(params.node),
    }),
  ]
}

/** Entries as server-sent events, with a comment whenever nothing has happened for a while. */
async function* eventsOf(entries: AsyncIterable<LogView>): AsyncGenerator<string> {
  const iterator = entries[Symbol.asyncIterator]()
  yield ': here it begins\n\n'
  let next = iterator.next()
  for (;;) {
    const heartbeat = delay(HEARTBEAT_MS)
    const result = await Promise.race([next, heartbeat.done])
    heartbeat.stop()
    if (result === undefined) {
      yield ': nothing new\n\n'
      continue
    }
    if (result.done) return
    const entry = shownLog.parse(result.value)
    yield `id: ${entry.id}\nevent: ${entry.event}\ndata: ${JSON.stringify(entry)}\n\n`
    next = iterator.next()
  }
}

function delay(ms: number): { done: Promise<undefined>; stop(): void } {
  let stop = (): void => undefined
  const done = new Promise<undefined>(resolve => {
    const timer = setTimeout(() => resolve(undefined), ms)
    stop = () => clearTimeout(timer)
  })
  return { done, stop }
}
