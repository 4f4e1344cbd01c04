import { z } from 'zod'
import type { ApiAccess, ApiCaller } from './caller.ts'

/** Verbs of the API. */
export type ApiMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** A request that has been read and checked. */
export interface ApiCall<P, Q, B> {
  params: P
  query: Q
  body: B
  caller: ApiCaller
}

/** One route: what is documented of it is what it is held to. */
export interface ApiRoute {
  method: ApiMethod
  /** Behind `/api/v1`; variable parts are `:name`, by the names in `model/path-names.ts`. */
  path: string
  access: ApiAccess
  tag: string
  summary: string
  query: z.ZodType
  body: z.ZodType | undefined
  /** Content type of the body when it is not JSON; then it comes as text. */
  bodyType: string
  bodyBytesMax: number
  status: number
  /** What is not in it is not sent. Without one the answer has no body, or is a stream. */
  answer: z.ZodType | undefined
  /** Content type of an answer that the handler gives piece by piece, as an `AsyncIterable` of texts. */
  streamType: string | undefined
  handle(call: ApiCall<Readonly<Record<string, string>>, unknown, unknown>, gone?: AbortSignal): unknown
}

type PathParam<P extends string> = P extends `${string}:${infer Name}/${infer Rest}`
  ? Name | PathParam<Rest>
  : P extends `${string}:${infer Name}`
    ? Name
    : never

const BODY_BYTES_MAX = 1024 * 1024

const nothing: z.ZodObject<Record<never, never>, z.core.$strict> = z.strictObject({})

/** How a route is written down. */
export interface RouteSpec<
  P extends string,
  Q extends z.ZodType = typeof nothing,
  B extends z.ZodType = z.ZodUndefined,
  A extends z.ZodType = z.ZodVoid,
> {
  method: ApiMethod
  path: P
  access: ApiAccess
  tag: string
  summary: string
  query?: Q
  body?: B
  bodyType?: string
  bodyBytesMax?: number
  status?: number
  answer?: A
  handle(
    call: ApiCall<Readonly<Record<PathParam<P>, string>>, z.output<Q>, z.output<B>>,
  ): z.input<A> | Promise<z.input<A>>
}

/** A route whose handler gets what its schemas have let through. */
export function route<
  P extends string,
  Q extends z.ZodType = typeof nothing,
  B extends z.ZodType = z.ZodUndefined,
  A extends z.ZodType = z.ZodVoid,
>(spec: RouteSpec<P, Q, B, A>): ApiRoute {
  const { method, path, access, tag, summary, query, body, answer } = spec
  return {
    ...{ method, path, access, tag, summary, body, answer },
    query: query ?? nothing,
    bodyType: spec.bodyType ?? 'application/json',
    bodyBytesMax: spec.bodyBytesMax ?? BODY_BYTES_MAX,
    status: spec.status ?? (answer === undefined ? 204 : 200),
    streamType: undefined,
    // Whoever answers the route parses by these very schemas before.
    handle: spec.handle as ApiRoute['handle'],
  }
}

/** How a route is written down that answers piece by piece. */
export interface StreamSpec<P extends string, Q extends z.ZodType = typeof nothing> {
  path: P
  access: ApiAccess
  tag: string
  summary: string
  query?: Q
  streamType: string
  /** Is asked for the next piece when the last one has been taken, and left when the caller has gone. */
  /** @param gone - is aborted when the caller is not there any more */
  handle(
    call: ApiCall<Readonly<Record<PathParam<P>, string>>, z.output<Q>, undefined>,
    gone: AbortSignal,
  ): AsyncIterable<string>
}

/** A `GET` whose answer is as long as there is something to tell. */
export function streamRoute<P extends string, Q extends z.ZodType = typeof nothing>(spec: StreamSpec<P, Q>): ApiRoute {
  const { path, access, tag, summary, query, streamType } = spec
  return {
    ...{ method: 'GET', path, access, tag, summary, streamType },
    query: query ?? nothing,
    ...{ body: undefined, bodyType: 'application/json', bodyBytesMax: BODY_BYTES_MAX },
    ...{ status: 200, answer: undefined },
    // Whoever answers the route parses by these very schemas before.
    handle: spec.handle as ApiRoute['handle'],
  }
}
