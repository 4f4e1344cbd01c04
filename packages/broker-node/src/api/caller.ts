import type { ApiKey } from '../tenancy/model/api-key.ts'
import type { Actor } from '../tenancy/tenancy.ts'
import { RequestProblem } from './problems.ts'

/** Who may use a route: `any` key, one that may look at or change the instance of the path, or an operator's. */
export type ApiAccess = 'any' | 'instance:read' | 'instance:write' | 'operator'

/** Whoever has sent a request and has been believed. */
export interface ApiCaller {
  /** The instance that it is bound to; `undefined` for an operator. */
  instance: string | undefined
  canWrite: boolean
  key: ApiKey
  actor: Actor
}

/** What the `authorization` header holds. */
export interface Credentials {
  username: string
  /** Key, or password of `username`. */
  secret: string
}

const HEADER = /^(Bearer|Basic) +([\w+/=.~-]+) *$/i

/** @returns `undefined` for a header that is not there, of another scheme, or damaged */
export function readCredentials(header: string | undefined): Credentials | undefined {
  const match = HEADER.exec(header ?? '')
  const [, scheme = '', value = ''] = match ?? []
  if (match === null) return undefined
  if (scheme.toLowerCase() === 'bearer') return { username: '', secret: value }
  const text = Buffer.from(value, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : { username: text.slice(0, colon), secret: text.slice(colon + 1) }
}

/** The caller that a key stands for. */
export function callerOf(key: ApiKey, address: string): ApiCaller {
  const { id, scope, instance } = key
  return { instance, canWrite: scope !== 'instance:read', key, actor: { kind: 'key', id, address } }
}

/**
 * Lets a caller through to a route, or throws.
 *
 * @param instance - of the path, if it has one; one that the caller may not see looks like one that is not there
 * @throws RequestProblem `forbidden`
 */
export function checkAccess(caller: ApiCaller, access: ApiAccess): void {
  if (caller.instance === undefined || access === 'any') return
  if (access === 'operator') throw new RequestProblem('forbidden', "this takes an operator's key")
  if (access === 'instance:write' && !caller.canWrite) {
    throw new RequestProblem('forbidden', 'this takes a key with the scope instance:write')
  }
}
