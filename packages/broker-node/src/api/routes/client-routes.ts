import { BrokerError } from '@midge/protocol-core'
import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route, streamRoute } from '../api-route.ts'
import { IMPORT_BYTES_MAX, NDJSON } from '../line-bodies.ts'
import {
  exportedLines,
  importedSession,
  shownConnection,
  shownQueued,
  shownSession,
  shownSubscription,
  subscriptionQuery,
} from '../model/cluster-shapes.ts'
import { pageOf, pageQuery } from '../model/paging.ts'
import { payloadText } from '../payload-text.ts'
import { found, shownPage, viewRequest } from '../shown.ts'

/** Who is connected, what is kept for whom, and who subscribes to what. */
export function clientRoutes(parts: ApiParts): ApiRoute[] {
  return [...connectionRoutes(parts), ...sessionRoutes(parts), ...sessionMoveRoutes(parts), subscriptionRoute(parts)]
}

function connectionRoutes({ views }: ApiParts): ApiRoute[] {
  const tag = 'Connections'
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/connections', access: 'instance:read', tag },
      summary: 'List open connections',
      query: pageQuery,
      answer: pageOf(shownConnection),
      handle: async ({ params, query }) =>
        shownPage(await views.connections(params.instance, viewRequest(query)), row => row),
    }),
    route({
      ...{ method: 'GET', path: '/instances/:instance/connections/:clientId', access: 'instance:read', tag },
      summary: 'Get the connection of a client',
      answer: shownConnection,
      handle: async ({ params }) => found(await views.connection(params.instance, params.clientId), 'connection'),
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/connections/:clientId', access: 'instance:write', tag },
      summary: 'Close the connection of a client; it may come back at once',
      async handle({ params }) {
        const wasThere = await views.kick(params.instance, params.clientId)
        if (!wasThere) throw new BrokerError('MIDGE_NOT_FOUND', 'no such connection')
      },
    }),
  ]
}

function sessionRoutes({ views }: ApiParts): ApiRoute[] {
  const tag = 'Sessions'
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/sessions', access: 'instance:read', tag },
      summary: 'List stored sessions',
      query: pageQuery,
      answer: pageOf(shownSession),
      handle: async ({ params, query }) =>
        shownPage(await views.sessions(params.instance, viewRequest(query)), row => row),
    }),
    route({
      ...{ method: 'GET', path: '/instances/:instance/sessions/:clientId', access: 'instance:read', tag },
      summary: 'Get a stored session',
      answer: shownSession,
      handle: async ({ params }) => found(await views.session(params.instance, params.clientId), 'session'),
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/sessions/:clientId', access: 'instance:write', tag },
      summary: 'End a session with its queue and subscriptions, and its connection first',
      handle: ({ params }) => views.deleteSession(params.instance, params.clientId),
    }),
    route({
      ...{ method: 'GET', path: '/instances/:instance/sessions/:clientId/queue', access: 'instance:read', tag },
      summary: 'List the messages that are kept for a client',
      query: pageQuery,
      answer: pageOf(shownQueued),
      async handle({ params, query }) {
        const page = await views.queue(params.instance, params.clientId, viewRequest(query))
        return shownPage(page, ({ payload, ...row }) => ({ ...row, ...payloadText(payload) }))
      },
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/sessions/:clientId/queue', access: 'instance:write', tag },
      summary: 'Empty the queue of a client that is not connected',
      handle: ({ params }) => views.purgeQueue(params.instance, params.clientId),
    }),
  ]
}

function sessionMoveRoutes({ views }: ApiParts): ApiRoute[] {
  const tag = 'Sessions'
  return [
    streamRoute({
      ...{ path: '/instances/:instance/sessions/:clientId/export', access: 'instance:read', tag },
      summary: 'Take out a session with its subscriptions and its queue, as lines of JSON',
      streamType: NDJSON,
      handle: ({ params }) => views.exportSession(params.instance, params.clientId),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/sessions/import', access: 'instance:write', tag },
      summary: 'Put in a session that was taken out, for a client that has none',
      ...{ body: exportedLines, bodyType: NDJSON, bodyBytesMax: IMPORT_BYTES_MAX },
      answer: importedSession,
      handle: async ({ params, body }) => ({ clientId: await views.importSession(params.instance, body) }),
    }),
  ]
}

function subscriptionRoute({ views }: ApiParts): ApiRoute {
  return route({
    ...{ method: 'GET', path: '/instances/:instance/subscriptions', access: 'instance:read', tag: 'Subscriptions' },
    summary: 'List subscriptions, of all clients or of one',
    query: subscriptionQuery,
    answer: pageOf(shownSubscription),
    async handle({ params, query }) {
      const of = query.clientId === undefined ? undefined : { clientId: query.clientId }
      return shownPage(await views.subscriptions(params.instance, viewRequest(query), of), row => row)
    },
  })
}
