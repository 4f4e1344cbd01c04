import type { z } from 'zod'
import type { PublishWish } from '../../views/cluster-views.ts'
import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route, streamRoute } from '../api-route.ts'
import { IMPORT_BYTES_MAX, NDJSON } from '../line-bodies.ts'
import {
  bulkPublishBody,
  countAnswer,
  exportedLines,
  publishBody,
  retainedDeleteQuery,
  retainedExportQuery,
  retainedQuery,
  shownRetained,
  topicQuery,
} from '../model/cluster-shapes.ts'
import { pageOf } from '../model/paging.ts'
import { payloadBytes, payloadText } from '../payload-text.ts'
import { found, shownPage, viewRequest } from '../shown.ts'

const BULK_BYTES_MAX = 4 * 1024 * 1024

/** Messages that are kept for topics, and messages from here. */
export function messageRoutes(parts: ApiParts): ApiRoute[] {
  return [...retainedRoutes(parts), ...retainedMoveRoutes(parts), ...publishRoutes(parts)]
}

function retainedRoutes({ views }: ApiParts): ApiRoute[] {
  const tag = 'Retained messages'
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/retained', access: 'instance:read', tag },
      summary: 'List retained messages by Topic Filter',
      query: retainedQuery,
      answer: pageOf(shownRetained),
      async handle({ params, query }) {
        const page = await views.retained(params.instance, query.filter, viewRequest(query))
        return shownPage(page, ({ payload, ...row }) => ({ ...row, ...payloadText(payload) }))
      },
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/retained', access: 'instance:write', tag },
      summary: 'Delete retained messages by Topic Filter',
      query: retainedDeleteQuery,
      answer: countAnswer,
      handle: async ({ params, query }) => ({ count: await views.deleteRetained(params.instance, query.filter) }),
    }),
    route({
      ...{ method: 'GET', path: '/instances/:instance/retained/message', access: 'instance:read', tag },
      summary: 'Get the retained message of a topic',
      query: topicQuery,
      answer: shownRetained,
      async handle({ params, query }) {
        const { payload, ...row } = found(await views.retainedMessage(params.instance, query.topic), 'retained message')
        return { ...row, ...payloadText(payload) }
      },
    }),
  ]
}

function retainedMoveRoutes({ views }: ApiParts): ApiRoute[] {
  const tag = 'Retained messages'
  return [
    streamRoute({
      ...{ path: '/instances/:instance/retained/export', access: 'instance:read', tag },
      summary: 'Take out retained messages as lines of JSON',
      query: retainedExportQuery,
      streamType: NDJSON,
      handle: ({ params, query }) => views.exportRetained(params.instance, query.filter),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/retained/import', access: 'instance:write', tag },
      summary: 'Put in retained messages that were taken out; those of the same topics are replaced',
      ...{ body: exportedLines, bodyType: NDJSON, bodyBytesMax: IMPORT_BYTES_MAX },
      answer: countAnswer,
      handle: async ({ params, body }) => ({ count: await views.importRetained(params.instance, body) }),
    }),
  ]
}

function publishRoutes({ views }: ApiParts): ApiRoute[] {
  const tag = 'Publish'
  return [
    route({
      ...{ method: 'POST', path: '/instances/:instance/publish', access: 'instance:write', tag },
      summary: 'Publish a message; at QoS 1 and 2 it is stored when this is answered',
      body: publishBody,
      handle: ({ params, body }) => views.publish(params.instance, [wishOf(body)]),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/publish/bulk', access: 'instance:write', tag },
      summary: 'Publish many messages, in this order',
      body: bulkPublishBody,
      bodyBytesMax: BULK_BYTES_MAX,
      handle: ({ params, body }) => views.publish(params.instance, body.messages.map(wishOf)),
    }),
  ]
}

function wishOf({ payload, encoding, correlationData, ...message }: z.output<typeof publishBody>): PublishWish {
  const data = correlationData === undefined ? {} : { correlationData: payloadBytes(correlationData, 'base64') }
  return { ...message, ...data, payload: payloadBytes(payload, encoding) }
}
