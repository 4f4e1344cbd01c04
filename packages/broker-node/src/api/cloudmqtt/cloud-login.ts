import { DEFAULT_INSTANCE } from '@midge/protocol-core'
import type { Instance } from '../../tenancy/model/instance.ts'
import type { Actor } from '../../tenancy/tenancy.ts'
import type { ApiParts } from '../api-parts.ts'
import { readCredentials } from '../caller.ts'
import { RequestProblem } from '../problems.ts'
import type { RequestRates } from '../request-rates.ts'

/** Libraries wait for this before they send what they have. */
const CHALLENGE = { 'www-authenticate': 'Basic realm="midge", charset="UTF-8"' }

/** Whoever uses CloudMQTT's API, and on which instance. */
export interface CloudCaller {
  /** An operator's key is about the default instance. */
  instance: string
  isOperator: boolean
  canWrite: boolean
  actor: Actor
  /** Names the credentials without being them. */
  id: string
}

/** A request as far as it says who sends it. */
interface SentBy {
  authorization: string | undefined
  address: string
}

/**
 * Believes a key (`:KEY`), or name and password of the user that came with an instance, as clients before 2018 send them.
 *
 * @throws RequestProblem `unauthorized`, `rate_limited`
 */
export async function cloudLogin(parts: ApiParts, rates: RequestRates, sent: SentBy): Promise<CloudCaller> {
  const { authorization, address } = sent
  const credentials = readCredentials(authorization)
  if (credentials === undefined) throw refused('credentials are missing')
  const { username, secret } = credentials
  const nowMs = parts.now()
  const key = parts.tenancy.apiKeys.verify(secret, nowMs)
  if (key !== undefined && username === '') {
    rates.countRequest(key.id, nowMs)
    const { id, scope, instance = DEFAULT_INSTANCE } = key
    const actor: Actor = { kind: 'key', id, address }
    return { instance, isOperator: scope === 'operator', canWrite: scope !== 'instance:read', actor, id }
  }
  rates.checkFailures(address, nowMs)
  const owned = username === '' ? undefined : ownedBy(parts, username)
  const proof = owned === undefined ? undefined : parts.tenancy.users.find(owned.id, owned.defaultUser)
  const hash = proof?.isEnabled === false ? undefined : proof?.proof?.hash
  const isRight = username !== '' && (await parts.passwordMatches(hash, secret, address))
  if (isRight === undefined) {
    throw new RequestProblem('rate_limited', 'too many passwords to check', { headers: { 'retry-after': '1' } })
  }
  if (!isRight || owned === undefined) {
    rates.countFailure(address, nowMs)
    throw refused('key or password is wrong')
  }
  const id = `user:${owned.defaultUser}`
  rates.countRequest(`${owned.id}:${id}`, nowMs)
  return { instance: owned.id, isOperator: false, canWrite: true, actor: { kind: 'key', id, address }, id }
}

/** The instance that came with this user: `instance:user`, or a name that only one instance has. */
function ownedBy({ tenancy: { instances } }: ApiParts, username: string): Instance | undefined {
  const colon = username.indexOf(':')
  const named = colon < 0 ? undefined : instances.find(username.slice(0, colon))
  if (named !== undefined) return named.defaultUser === username.slice(colon + 1) ? named : undefined
  const owners = instances.list({ countMax: Number.MAX_SAFE_INTEGER }).items.filter(row => row.defaultUser === username)
  return owners.length === 1 ? owners[0] : undefined
}

function refused(detail: string): RequestProblem {
  return new RequestProblem('unauthorized', detail, { headers: CHALLENGE })
}
