import type { InstanceName } from '@midge/protocol-core'
import type { z } from 'zod'
import type { InstanceRows } from './instance-rows.ts'
import type { Actor } from './model/audit-entry.ts'
import { created, notFound } from './record-drafts.ts'
import { recordKey } from './record-key.ts'
import { checkInput } from './record-reading.ts'
import type { RecordTable } from './record-table.ts'
import type { ServiceParts } from './service-parts.ts'

/** What bridges and webhooks differ in. */
export interface NamedRowKind<T> {
  kind: 'bridge' | 'webhook'
  limit: 'bridges' | 'webhooks'
  schema: z.ZodType<T>
  tableOf: (rows: InstanceRows) => RecordTable<T>
}

/** Records of an instance that are few and are put whole: bridges and webhooks. */
export class NamedRowService<T extends { id: string }> {
  private readonly parts: ServiceParts
  private readonly type: NamedRowKind<T>

  constructor(parts: ServiceParts, type: NamedRowKind<T>) {
    this.parts = parts
    this.type = type
  }

  list(instance: InstanceName): T[] {
    return this.table(instance).page({ countMax: Number.MAX_SAFE_INTEGER }).items
  }

  async put(instance: InstanceName, input: T, actor: Actor): Promise<T> {
    const { writer, conditions } = this.parts
    const { kind, limit, schema } = this.type
    const row = checkInput(schema, input)
    const key = recordKey(kind, instance, row.id)
    return writer.commit(actor, () => {
      const before = this.table(instance).get(row.id)
      const change = before === undefined ? created(key, row) : conditions.replaced(key, before, row)
      const room = before === undefined ? conditions.room(instance, limit, this.table(instance).size) : []
      return {
        changes: [conditions.instanceStays(instance), ...room, change],
        audit: { action: `${kind}.${before === undefined ? 'created' : 'changed'}`, instance, subject: row.id },
        result: row,
      }
    })
  }

  async remove(instance: InstanceName, id: string, actor: Actor): Promise<void> {
    const { writer, conditions } = this.parts
    const { kind } = this.type
    await writer.commit(actor, () => {
      const before = this.table(instance).get(id)
      if (before === undefined) throw notFound(kind)
      return {
        changes: [conditions.replaced(recordKey(kind, instance, id), before, undefined)],
        audit: { action: `${kind}.removed`, instance, subject: id },
        result: undefined,
      }
    })
  }

  private table(instance: InstanceName): RecordTable<T> {
    return this.type.tableOf(this.parts.tables.of(instance))
  }
}
