import { apiKeyHash, freshApiKey, freshRecordId } from './fresh-names.ts'
import { type ApiKey, apiKey } from './model/api-key.ts'
import type { Actor } from './model/audit-entry.ts'
import { created, notFound } from './record-drafts.ts'
import { recordKey } from './record-key.ts'
import { checkInput } from './record-reading.ts'
import type { ServiceParts } from './service-parts.ts'
import type { Page, PageRequest, Tenancy } from './tenancy.ts'

/** Anything longer is no key and is not worth a hash. */
const KEY_LENGTH_MAX = 256

type ApiKeyPlane = Tenancy['apiKeys']

/** The keys of the HTTP API, of operators and of instances. */
export class ApiKeyService implements ApiKeyPlane {
  private readonly parts: ServiceParts

  constructor(parts: ServiceParts) {
    this.parts = parts
  }

  list(page: PageRequest, instance?: string): Page<ApiKey> {
    const filter = instance === undefined ? {} : { isWanted: (row: ApiKey) => row.instance === instance }
    return this.parts.tables.keys.page(page, filter)
  }

  async create(
    input: Pick<ApiKey, 'label' | 'scope' | 'instance' | 'expiresAtMs'>,
    actor: Actor,
  ): Promise<{ apiKey: ApiKey; key: string }> {
    const { writer, conditions, now } = this.parts
    const createdAtMs = now()
    const key = freshApiKey(input.scope)
    const row = checkInput(apiKey, { ...input, id: freshRecordId(createdAtMs), sha256: apiKeyHash(key), createdAtMs })
    const { id, instance } = row
    return writer.commit(actor, () => ({
      changes: [
        ...(instance === undefined ? [] : [conditions.instanceStays(instance)]),
        created(recordKey('key', '', id), row),
      ],
      audit: { action: 'key.created', subject: `${id} ${row.label}`, ...(instance === undefined ? {} : { instance }) },
      result: { apiKey: row, key },
    }))
  }

  /**
   * A key that was made elsewhere, of which only the hash is needed.
   *
   * @returns what is in force: without `isReplacing` that may be another key of this id
   */
  async ensure(
    input: Pick<ApiKey, 'id' | 'label' | 'scope' | 'sha256'>,
    { isReplacing, actor }: { isReplacing: boolean; actor: Actor },
  ): Promise<ApiKey> {
    const { tables, writer, conditions, now } = this.parts
    const { id } = input
    const key = recordKey('key', '', id)
    const isRight = (row: ApiKey | undefined): row is ApiKey =>
      row !== undefined && (!isReplacing || row.sha256 === input.sha256)
    const known = tables.keys.get(id)
    if (isRight(known)) return known
    return writer.commit(actor, () => {
      const before = tables.keys.get(id)
      const audit = { action: 'key.created', subject: `${id} ${input.label}` }
      if (isRight(before)) return { changes: [], audit, result: before }
      const row = checkInput(apiKey, { ...input, createdAtMs: now() })
      const change = before === undefined ? created(key, row) : conditions.replaced(key, before, row)
      return { changes: [change], audit, result: row }
    })
  }

  async remove(id: string, actor: Actor): Promise<void> {
    const { tables, writer, conditions } = this.parts
    await writer.commit(actor, () => {
      const row = tables.keys.get(id)
      if (row === undefined) throw notFound('key')
      const { label, instance } = row
      return {
        changes: [conditions.replaced(recordKey('key', '', id), row, undefined)],
        audit: { action: 'key.removed', subject: `${id} ${label}`, ...(instance === undefined ? {} : { instance }) },
        result: undefined,
      }
    })
  }

  verify(key: string, nowMs: number): ApiKey | undefined {
    if (key.length > KEY_LENGTH_MAX) return undefined
    const row = this.parts.tables.findKeyByHash(apiKeyHash(key))
    return row?.expiresAtMs !== undefined && row.expiresAtMs <= nowMs ? undefined : row
  }
}
