import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { serveRoute } from './answer-route.ts'
import type { ApiParts } from './api-parts.ts'
import { mountCloudMqtt } from './cloudmqtt/mount-cloudmqtt.ts'
import { DOCS_POLICY, DOCS_STYLE, DOCS_STYLE_PATH, docsPage } from './docs-page.ts'
import { openApiOf } from './open-api.ts'
import { problemOf, RequestProblem } from './problems.ts'
import { RequestRates } from './request-rates.ts'
import { allRoutes } from './routes/all-routes.ts'

/** Answers are data: nothing in them is to be run, shown in a frame, or read by pages of other origins. */
const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
}

/** Puts `/api/v1`, its documentation and CloudMQTT's API on an HTTP server that does not listen yet. */
export function mountApi(app: FastifyInstance, parts: ApiParts): void {
  const server = { parts, rates: new RequestRates() }
  const routes = allRoutes(parts)
  app.register(
    async scope => {
      prepareScope(scope, parts)
      for (const route of routes) serveRoute(scope, server, route)
      const document = once(() => JSON.stringify(openApiOf(routes, parts)))
      scope.get('/openapi.json', async (_request, reply) => reply.type('application/json').send(document()))
      scope.setNotFoundHandler(async (request, reply) => {
        const text = `${request.method} ${request.url.split('?')[0]} is nothing that /api/docs knows`
        return sendProblem(parts, reply, new RequestProblem('route_unknown', text))
      })
    },
    { prefix: '/api/v1' },
  )
  app.register(async scope => {
    scope.addHook('onSend', async (_request, reply) => {
      reply.headers(SECURITY_HEADERS)
    })
    mountCloudMqtt(scope, server)
  })
  app.register(async scope => {
    const page = once(() => docsPage(openApiOf(routes, parts)))
    scope.addHook('onSend', async (_request, reply) => {
      reply.headers({ ...SECURITY_HEADERS, 'content-security-policy': DOCS_POLICY })
    })
    scope.get('/api/docs', async (_request, reply) => reply.type('text/html; charset=utf-8').send(page()))
    scope.get(DOCS_STYLE_PATH, async (_request, reply) => reply.type('text/css; charset=utf-8').send(DOCS_STYLE))
  })
}

/** Bodies, errors and headers as every part of the API has them. */
function prepareScope(scope: FastifyInstance, parts: ApiParts): void {
  scope.addHook('onSend', async (_request, reply) => {
    reply.headers(SECURITY_HEADERS)
  })
  scope.setErrorHandler(async (error, _request, reply) => sendProblem(parts, reply, error))
  scope.removeAllContentTypeParsers()
  // A name that would reach into JavaScript's own objects is refused.
  const parseJson = scope.getDefaultJsonParser('error', 'error')
  scope.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) done(null, undefined)
    else void parseJson(request, body.toString(), done)
  })
  scope.addContentTypeParser('application/x-ndjson', { parseAs: 'buffer' }, (_request, body, done) => {
    const bytes = Buffer.from(body)
    if (isUtf8(bytes)) done(null, bytes.toString('utf8'))
    else done(new RequestProblem('bad_request', 'the body is not UTF-8'))
  })
}

function sendProblem({ logger }: ApiParts, reply: FastifyReply, error: unknown): FastifyReply {
  const { document, headers, isOurs } = problemOf(error)
  if (isOurs) logger.error({ event: 'api.failed', err: error, method: reply.request.method }, 'the API has failed')
  reply.code(document.status).headers(headers).type('application/problem+json')
  return reply.send(JSON.stringify(document))
}

function once(make: () => string): () => string {
  let made: string | undefined
  return () => {
    made ??= make()
    return made
  }
}
