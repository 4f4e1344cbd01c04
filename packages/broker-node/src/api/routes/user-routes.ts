import { BrokerError } from '@midge/protocol-core'
import type { z } from 'zod'
import type { Actor } from '../../tenancy/tenancy.ts'
import type { ApiParts } from '../api-parts.ts'
import { type ApiRoute, route } from '../api-route.ts'
import { newUser, shownUser, userChange, userImport, userImportResult, userListQuery } from '../model/control-shapes.ts'
import { pageOf } from '../model/paging.ts'
import { problemOf } from '../problems.ts'
import { found, pageRequest, shownPage, showUser, userInputOf } from '../shown.ts'

const tag = 'Users'
/** Passwords are hashed for an import; so many at a time keep logins going. */
const IMPORTED_AT_ONCE = 4

/** Users of an instance. */
export function userRoutes(parts: ApiParts): ApiRoute[] {
  const { users } = parts.tenancy
  return [
    route({
      ...{ method: 'GET', path: '/instances/:instance/users', access: 'instance:read', tag, summary: 'List users' },
      query: userListQuery,
      answer: pageOf(shownUser),
      handle: ({ params, query }) => shownPage(users.list(params.instance, pageRequest(query), query.prefix), showUser),
    }),
    route({
      ...{
        method: 'POST',
        path: '/instances/:instance/users',
        access: 'instance:write',
        tag,
        summary: 'Create a user',
      },
      body: newUser,
      status: 201,
      answer: shownUser,
      handle: async ({ params, body, caller }) =>
        showUser(await users.create(params.instance, body.username, userInputOf(body), caller.actor)),
    }),
    route({
      ...{ method: 'POST', path: '/instances/:instance/users/import', access: 'instance:write', tag },
      summary: 'Create many users, each on its own: what fails is listed and stops no other',
      body: userImport,
      bodyBytesMax: 4 * 1024 * 1024,
      answer: userImportResult,
      handle: ({ params, body, caller }) =>
        importUsers(parts, { instance: params.instance, ...body, actor: caller.actor }),
    }),
    route({
      ...{ method: 'GET', path: '/instances/:instance/users/:username', access: 'instance:read', tag },
      summary: 'Get a user',
      answer: shownUser,
      handle: ({ params }) => showUser(found(users.find(params.instance, params.username), 'user')),
    }),
    route({
      ...{ method: 'PATCH', path: '/instances/:instance/users/:username', access: 'instance:write', tag },
      summary: 'Change a user; absent fields stay, a new password ends its connections',
      body: userChange,
      answer: shownUser,
      handle: async ({ params, body, caller }) =>
        showUser(await users.change(params.instance, params.username, userInputOf(body), caller.actor)),
    }),
    route({
      ...{ method: 'DELETE', path: '/instances/:instance/users/:username', access: 'instance:write', tag },
      summary: 'Delete a user with its rules; its connections end',
      handle: ({ params, caller }) => users.remove(params.instance, params.username, caller.actor),
    }),
  ]
}

type UserImport = z.output<typeof userImport> & { instance: string; actor: Actor }
type UserImportResult = z.output<typeof userImportResult>

async function importUsers(parts: ApiParts, wish: UserImport): Promise<UserImportResult> {
  const result: UserImportResult = { created: 0, changed: 0, failed: [] }
  const waiting = wish.users.values()
  const work = async (): Promise<void> => {
    for (const user of waiting) {
      try {
        result[await importUser(parts, wish, user)]++
      } catch (error) {
        const { document } = problemOf(error)
        result.failed.push({ username: user.username, code: document.code, detail: document.detail })
      }
    }
  }
  await Promise.all(Array.from({ length: IMPORTED_AT_ONCE }, work))
  return result
}

async function importUser(
  { tenancy: { users } }: ApiParts,
  { instance, overwrite, actor }: UserImport,
  user: UserImport['users'][number],
): Promise<'created' | 'changed'> {
  const input = userInputOf(user)
  try {
    await users.create(instance, user.username, input, actor)
    return 'created'
  } catch (error) {
    if (!overwrite || !(error instanceof BrokerError) || error.code !== 'MIDGE_ALREADY_EXISTS') throw error
    await users.change(instance, user.username, input, actor)
    return 'changed'
  }
}
