import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import type { RouteServer } from '../answer-route.ts'
import type { ApiMethod } from '../api-route.ts'
import { parseOrThrow, RequestProblem } from '../problems.ts'
import { found } from '../shown.ts'
import { type CloudCaller, cloudLogin } from './cloud-login.ts'
import type { FreshSecretsShelf } from './fresh-secrets.ts'

/** A request of a CloudMQTT client. */
export interface CloudCall {
  caller: CloudCaller
  request: FastifyRequest
  /** A variable part of the path. */
  param(name: string): string
  /** The body, whatever it came as, or the query where a proxy has dropped the body. */
  body<T extends z.ZodType>(schema: T): z.output<T>
  query<T extends z.ZodType>(schema: T): z.output<T>
}

/** One route of CloudMQTT's API. */
export interface CloudRoute {
  method: ApiMethod
  path: string
  /** Of an operator, or of an instance. */
  who: 'customer' | 'instance'
  /** @returns what is sent as JSON with 200; nothing for 204 */
  handle(call: CloudCall): unknown
}

/** What CloudMQTT's routes stand on. */
export interface CloudServer extends RouteServer {
  secrets: FreshSecretsShelf
}

/** Puts a route where requests find it. */
export function serveCloudRoute(app: FastifyInstance, { parts, rates }: CloudServer, route: CloudRoute): void {
  const callers = new WeakMap<FastifyRequest, CloudCaller>()
  app.route({
    method: route.method,
    url: route.path,
    onRequest: async request => {
      if (!parts.isStarted()) throw new RequestProblem('starting', 'the node is starting')
      const { headers, ip } = request
      const caller = await cloudLogin(parts, rates, { authorization: headers.authorization, address: ip })
      if (route.who === 'customer' && !caller.isOperator) {
        throw new RequestProblem('forbidden', "this takes an operator's key")
      }
      if (route.method !== 'GET' && !caller.canWrite) throw new RequestProblem('forbidden', 'this key may only read')
      callers.set(request, caller)
    },
    handler: async (request, reply) => {
      const answer = await route.handle(callOf(found(callers.get(request), 'caller'), request))
      if (answer === undefined) return reply.code(204).send()
      return reply.type('application/json').send(JSON.stringify(answer))
    },
  })
}

function callOf(caller: CloudCaller, request: FastifyRequest): CloudCall {
  // What the router found in the path; each name is read as text.
  const params = request.params as Readonly<Record<string, string>>
  return {
    ...{ caller, request },
    param: name => params[name] ?? '',
    body: schema => parseOrThrow(schema, request.body ?? request.query, { code: 'bad_request', what: 'body' }),
    query: schema => parseOrThrow(schema, request.query, { code: 'bad_request', what: 'query' }),
  }
}
