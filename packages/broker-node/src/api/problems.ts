import { BrokerError, type ErrorCode } from '@midge/protocol-core'
import type { z } from 'zod'
import type { ProblemDocument } from './model/problem.ts'

/** Codes of what is wrong with a request itself; what a request asked for fails with a code of `docs/errors.md`. */
export type RequestProblemCode =
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'route_unknown'
  | 'body_too_large'
  | 'media_type_unknown'
  | 'fields_invalid'
  | 'rate_limited'
  | 'internal'
  | 'starting'

const REQUEST_PROBLEMS: Readonly<Record<RequestProblemCode, readonly [status: number, title: string]>> = {
  bad_request: [400, 'The request cannot be read'],
  unauthorized: [401, 'A key is needed'],
  forbidden: [403, 'The key does not open this'],
  route_unknown: [404, 'There is no such path'],
  body_too_large: [413, 'The body is too large'],
  media_type_unknown: [415, 'The body is of a type that is not read here'],
  fields_invalid: [422, 'Fields of the body are wrong'],
  rate_limited: [429, 'Too many requests'],
  internal: [500, 'The node has failed'],
  starting: [503, 'The node is starting'],
}

const BROKER_PROBLEMS: Partial<Record<ErrorCode, readonly [status: number, title: string]>> = {
  MIDGE_NOT_FOUND: [404, 'Not found'],
  MIDGE_ALREADY_EXISTS: [409, 'It is there already'],
  MIDGE_RECORD_CONFLICT: [409, 'Somebody else has changed it meanwhile'],
  MIDGE_INVALID: [422, 'A field is wrong'],
  MIDGE_PLAN_LIMIT: [403, 'The plan holds no more'],
  MIDGE_STORE_UNAVAILABLE: [503, 'The store does not answer'],
}

/** Wrong fields that one answer names. */
const FIELDS_NAMED_MAX = 16

/** What a handler throws to answer with a problem; headers go with it. */
export class RequestProblem extends Error {
  readonly code: RequestProblemCode
  readonly fields: ProblemDocument['errors']
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: RequestProblemCode,
    detail: string,
    more: { fields?: ProblemDocument['errors']; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail)
    this.code = code
    this.fields = more.fields
    this.headers = more.headers ?? {}
  }
}

/** An answer that says what went wrong. */
export interface ProblemAnswer {
  document: ProblemDocument
  headers: Readonly<Record<string, string>>
  /** Nobody but us can mend it: it belongs in the log. */
  isOurs: boolean
}

/** @param error - whatever was thrown while a request was answered */
export function problemOf(error: unknown): ProblemAnswer {
  if (error instanceof RequestProblem) {
    const document = documentOf(error.code, REQUEST_PROBLEMS[error.code], error.message)
    if (error.fields !== undefined) document.errors = error.fields
    return { document, headers: error.headers, isOurs: error.code === 'internal' }
  }
  if (error instanceof BrokerError) {
    const known = BROKER_PROBLEMS[error.code]
    if (known !== undefined) {
      const headers = error.retryable || known[0] === 503 ? { 'retry-after': '1' } : {}
      return { document: documentOf(error.code, known, error.message), headers, isOurs: false }
    }
  }
  const code = requestCodeOf(error)
  if (code !== undefined) return problemOf(new RequestProblem(code, textOf(error)))
  const document = documentOf('internal', REQUEST_PROBLEMS.internal, 'the log of the node has the cause')
  return { document, headers: {}, isOurs: true }
}

/** @throws RequestProblem when `value` is not what `schema` says; `code` tells body from the rest */
export function parseOrThrow<T extends z.ZodType>(
  schema: T,
  value: unknown,
  { code, what }: { code: RequestProblemCode; what: string },
): z.output<T> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const fields = result.error.issues
    .slice(0, FIELDS_NAMED_MAX)
    .map(({ path, message }) => ({ field: path.join('.'), message }))
  const [first] = fields
  const detail = first === undefined || first.field === '' ? first?.message : `${first.field}: ${first.message}`
  throw new RequestProblem(code, `${what}: ${detail ?? 'is wrong'}`, { fields })
}

function documentOf(
  code: string,
  [status, title]: readonly [status: number, title: string],
  detail: string,
): ProblemDocument {
  return { type: `urn:midge:error:${code}`, title, status, code, detail }
}

/** What the HTTP server itself refuses, by the status that it would give. */
function requestCodeOf(error: unknown): RequestProblemCode | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined
  if (error.statusCode === 413) return 'body_too_large'
  if (error.statusCode === 415) return 'media_type_unknown'
  return typeof error.statusCode === 'number' && error.statusCode < 500 ? 'bad_request' : undefined
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : 'the request cannot be read'
}
