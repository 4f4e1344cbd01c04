import { BrokerError } from '@midge/protocol-core'
import type { z } from 'zod'
import type { ApiKey } from '../tenancy/model/api-key.ts'
import type { Instance } from '../tenancy/model/instance.ts'
import type { User } from '../tenancy/model/user.ts'
import type { Page, PageRequest, Tenancy, UserInput } from '../tenancy/tenancy.ts'
import type { ViewRequest } from '../views/cluster-views.ts'
import type { newUser, shownApiKey, shownInstance, shownUser, userChange } from './model/control-shapes.ts'
import type { PageQuery } from './model/paging.ts'
import { RequestProblem } from './problems.ts'

/** The query of a list as the control plane takes it. */
export function pageRequest({ cursor, limit }: PageQuery): PageRequest {
  return cursor === undefined ? { countMax: limit } : { after: cursor, countMax: limit }
}

/** The query of a list as the running cluster takes it. */
export function viewRequest({ cursor, limit }: PageQuery): ViewRequest {
  return cursor === undefined ? { countMax: limit } : { cursor, countMax: limit }
}

/** A page as it is sent, each entry made into what may be seen of it. */
export function shownPage<T, U>({ items, cursor }: Page<T>, show: (item: T) => U): { items: U[]; cursor?: string } {
  return { items: items.map(show), ...(cursor === undefined ? {} : { cursor }) }
}

/** Nothing of the secrets of its logins. */
export function showInstance(tenancy: Tenancy, row: Instance): z.input<typeof shownInstance> {
  const logins = row.settings.logins.map(({ kind, ...rest }) => {
    const shown: Record<string, unknown> = { ...rest }
    for (const name of ['secret', 'authorization']) delete shown[name]
    return { kind, ...shown }
  })
  return { ...row, settings: { ...row.settings, logins }, limits: tenancy.instances.limits(row.id) }
}

/** Nothing of its password but whether there is one. */
export function showUser(row: User): z.input<typeof shownUser> {
  return { ...row, hasPassword: row.proof !== undefined }
}

/** Neither key nor hash. */
export function showApiKey(row: ApiKey): z.input<typeof shownApiKey> {
  const { sha256: _, ...shown } = row
  return shown
}

/** @throws RequestProblem when there is both a password and a proof of one */
export function userInputOf(body: z.output<typeof newUser> | z.output<typeof userChange>): UserInput {
  const { password, proof, isUnrestricted, isEnabled, connectionsMax, note } = body
  if (password !== undefined && proof !== undefined) {
    throw new RequestProblem('fields_invalid', 'proof: is given in place of a password, not beside one')
  }
  return {
    ...(password === undefined ? {} : { secret: { password } }),
    ...(proof === undefined ? {} : { secret: { proof } }),
    ...(isUnrestricted === undefined ? {} : { isUnrestricted }),
    ...(isEnabled === undefined ? {} : { isEnabled }),
    ...(connectionsMax === undefined ? {} : { connectionsMax }),
    ...(note === undefined ? {} : { note }),
  }
}

/** @throws BrokerError `MIDGE_NOT_FOUND` */
export function found<T>(row: T | undefined, what: string): T {
  if (row === undefined) throw new BrokerError('MIDGE_NOT_FOUND', `no such ${what}`)
  return row
}

/** A field that is `undefined` counts as absent. */
export function withoutAbsent<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  // A field whose value is `undefined` is left out, so what is there is not.
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
