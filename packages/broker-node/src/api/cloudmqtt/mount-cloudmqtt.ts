import type { FastifyInstance } from 'fastify'
import type { RouteServer } from '../answer-route.ts'
import { problemOf, RequestProblem } from '../problems.ts'
import { type CloudServer, serveCloudRoute } from './cloud-route.ts'
import { customerRoutes } from './customer-routes.ts'
import { FreshSecretsShelf } from './fresh-secrets.ts'
import { tenantRoutes } from './tenant-routes.ts'

/** Puts CloudMQTT's HTTP API on a scope of its own, on both of its paths. */
export function mountCloudMqtt(scope: FastifyInstance, { parts, rates }: RouteServer): void {
  const server: CloudServer = { parts, rates, secrets: new FreshSecretsShelf() }
  readAnyBody(scope)
  scope.setErrorHandler(async (error, request, reply) => {
    const { document, headers, isOurs } = problemOf(error)
    if (isOurs) parts.logger.error({ event: 'api.failed', err: error, method: request.method }, 'the API has failed')
    // CloudMQTT knew no 422.
    const status = document.status === 422 ? 400 : document.status
    reply.code(status).headers(headers).type('application/json')
    return reply.send(JSON.stringify({ error: document.detail, code: document.code }))
  })
  for (const route of [...customerRoutes(server), ...tenantRoutes(server, '/api'), ...tenantRoutes(server, '')]) {
    serveCloudRoute(scope, server, route)
  }
}

/** Bodies come as JSON or as a form, with the right type, another one, or none; some are empty. */
function readAnyBody(scope: FastifyInstance): void {
  const parseJson = scope.getDefaultJsonParser('error', 'error')
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    const text = body.toString()
    if (text.trim() === '') return done(null, undefined)
    if (/^\s*[{"[]/.test(text)) return parseJson(request, text, done)
    const type = request.headers['content-type'] ?? ''
    if (type.includes('form') || (!type.includes('json') && /^[\w%.+-]+=/.test(text))) {
      return done(null, Object.fromEntries(new URLSearchParams(text)))
    }
    // One client library sends a password and nothing around it.
    if (request.method === 'PUT') return done(null, text)
    done(new RequestProblem('bad_request', 'the body is neither JSON nor a form'))
  })
}
