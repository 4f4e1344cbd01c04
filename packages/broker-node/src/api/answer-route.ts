import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ApiParts } from './api-parts.ts'
import type { ApiRoute } from './api-route.ts'
import { type ApiCaller, callerOf, checkAccess, readCredentials } from './caller.ts'
import { pathNames } from './model/path-names.ts'
import { parseOrThrow, RequestProblem } from './problems.ts'
import type { RequestRates } from './request-rates.ts'
import { found } from './shown.ts'

/** Who is asked for a key, and how. */
const CHALLENGE = { 'www-authenticate': 'Bearer realm="midge"' }

/** What answers routes of `/api/v1`. */
export interface RouteServer {
  parts: ApiParts
  rates: RequestRates
}

/** Puts a route where requests find it: credentials first, before a byte of the body is read. */
export function serveRoute(app: FastifyInstance, server: RouteServer, route: ApiRoute): void {
  const callers = new WeakMap<FastifyRequest, ApiCaller>()
  app.route({
    method: route.method,
    url: route.path,
    bodyLimit: route.bodyBytesMax,
    onRequest: async request => {
      callers.set(request, admit(server, route, request))
    },
    handler: async (request, reply) => answer(route, { caller: found(callers.get(request), 'caller'), request, reply }),
  })
}

/** @throws RequestProblem, or `MIDGE_NOT_FOUND` for an instance that is not there or not the caller's */
function admit({ parts, rates }: RouteServer, route: ApiRoute, request: FastifyRequest): ApiCaller {
  if (!parts.isStarted()) {
    throw new RequestProblem('starting', 'the node is starting', { headers: { 'retry-after': '1' } })
  }
  const caller = authenticate({ parts, rates }, request)
  const { instance } = paramsOf(request)
  if (instance !== undefined) {
    const isSeen = caller.instance === undefined || caller.instance === instance
    found(isSeen ? parts.tenancy.instances.find(instance) : undefined, 'instance')
  }
  checkAccess(caller, route.access)
  return caller
}

function authenticate({ parts, rates }: RouteServer, { headers, ip }: FastifyRequest): ApiCaller {
  const nowMs = parts.now()
  const credentials = readCredentials(headers.authorization)
  if (credentials === undefined || credentials.username !== '') {
    const text = 'send a key, as `Authorization: Bearer KEY`, or by Basic with an empty user name'
    throw new RequestProblem('unauthorized', text, { headers: CHALLENGE })
  }
  const key = parts.tenancy.apiKeys.verify(credentials.secret, nowMs)
  if (key === undefined) {
    // Keys cannot be guessed, so a right one passes also while somebody else at this address tries wrong ones.
    rates.checkFailures(ip, nowMs)
    rates.countFailure(ip, nowMs)
    throw new RequestProblem('unauthorized', 'the key is not known, or has run out', { headers: CHALLENGE })
  }
  rates.countRequest(key.id, nowMs)
  return callerOf(key, ip)
}

function paramsOf({ params }: FastifyRequest): Readonly<Record<string, string>> {
  const values: Record<string, string> = {}
  for (const [name, value] of Object.entries(params ?? {})) {
    const schema = found(pathNames[name], name)
    values[name] = parseOrThrow(schema, value, { code: 'bad_request', what: `path, ${name}` })
  }
  return values
}

async function answer(
  route: ApiRoute,
  { caller, request, reply }: { caller: ApiCaller; request: FastifyRequest; reply: FastifyReply },
): Promise<unknown> {
  const query = parseOrThrow(route.query, request.query, { code: 'bad_request', what: 'query' })
  const body = bodyOf(route, request.body)
  const call = { params: paramsOf(request), query, body, caller }
  reply.code(route.status)
  if (route.streamType !== undefined) {
    reply.type(route.streamType)
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    // Every route with this type has been made by `streamRoute`.
    return Readable.from(route.handle(call, gone.signal) as AsyncIterable<string>)
  }
  const result = await route.handle(call)
  if (route.answer === undefined) return reply.send()
  reply.type('application/json')
  // What the schema does not name stays here, so that no record gives away more than is documented.
  return JSON.stringify(route.answer.parse(result))
}

function bodyOf({ body: schema }: ApiRoute, body: unknown): unknown {
  if (schema !== undefined) return parseOrThrow(schema, body, { code: 'fields_invalid', what: 'body' })
  const isEmpty = body === undefined || body === null || (typeof body === 'object' && Object.keys(body).length === 0)
  if (!isEmpty) throw new RequestProblem('bad_request', 'this takes no body')
  return undefined
}
