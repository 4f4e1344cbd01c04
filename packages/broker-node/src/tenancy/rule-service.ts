import { BrokerError, type InstanceName } from '@midge/protocol-core'
import { freshRecordId } from './fresh-names.ts'
import type { Actor } from './model/audit-entry.ts'
import { type Rule, rule } from './model/rule.ts'
import { created, notFound } from './record-drafts.ts'
import { recordKey } from './record-key.ts'
import { checkInput } from './record-reading.ts'
import { CHANGES_MAX } from './record-writer.ts'
import type { ServiceParts } from './service-parts.ts'
import type { NewRule, Page, PageRequest, Tenancy } from './tenancy.ts'

/** Rules of one call; the rest of a write is for its conditions. */
export const RULES_PER_CALL_MAX = 900

type RulePlane = Tenancy['rules']

/** The rules of all instances. */
export class RuleService implements RulePlane {
  private readonly parts: ServiceParts

  constructor(parts: ServiceParts) {
    this.parts = parts
  }

  list(instance: InstanceName, page: PageRequest, username?: string): Page<Rule> {
    const rows = this.parts.tables.of(instance)
    return username === undefined ? rows.rules.page(page) : pageOf(rows.rulesOfUser(username), page)
  }

  count(instance: InstanceName): number {
    return this.parts.tables.of(instance).rules.size
  }

  find(instance: InstanceName, id: string): Rule | undefined {
    return this.parts.tables.of(instance).rules.get(id)
  }

  async create(instance: InstanceName, rules: readonly NewRule[], actor: Actor): Promise<Rule[]> {
    const { writer, conditions, now } = this.parts
    if (rules.length > RULES_PER_CALL_MAX) throw tooMany(rules.length)
    const createdAtMs = now()
    return writer.commit(actor, () => {
      const rows = rules.map(input => checkInput(rule, { ...input, id: freshRecordId(createdAtMs), createdAtMs }))
      return {
        changes: [
          conditions.instanceStays(instance),
          ...conditions.room(instance, 'rules', this.count(instance), rows.length),
          ...rows.map(row => created(recordKey('rule', instance, row.id), row)),
        ],
        audit: { action: 'rule.created', instance, subject: subjectOf(rows) },
        result: rows,
      }
    })
  }

  async change(instance: InstanceName, id: string, input: NewRule, actor: Actor): Promise<Rule> {
    const { writer, conditions } = this.parts
    return writer.commit(actor, () => {
      const before = this.existing(instance, id)
      const after = checkInput(rule, { ...input, id, createdAtMs: before.createdAtMs })
      return {
        changes: [conditions.replaced(recordKey('rule', instance, id), before, after)],
        audit: { action: 'rule.changed', instance, subject: subjectOf([after]) },
        result: after,
      }
    })
  }

  async remove(instance: InstanceName, ids: readonly string[], actor: Actor): Promise<void> {
    const { writer, conditions } = this.parts
    if (ids.length > CHANGES_MAX) throw tooMany(ids.length)
    await writer.commit(actor, () => {
      const rows = [...new Set(ids)].map(id => this.existing(instance, id))
      return {
        changes: rows.map(row => conditions.replaced(recordKey('rule', instance, row.id), row, undefined)),
        audit: { action: 'rule.removed', instance, subject: subjectOf(rows) },
        result: undefined,
      }
    })
  }

  private existing(instance: InstanceName, id: string): Rule {
    this.parts.conditions.existing(instance)
    const row = this.find(instance, id)
    if (row === undefined) throw notFound('rule')
    return row
  }
}

function tooMany(count: number): BrokerError {
  return new BrokerError('MIDGE_INVALID', `rules: ${count} at once, ${RULES_PER_CALL_MAX} may be`)
}

function subjectOf(rows: readonly Rule[]): string {
  const [first] = rows
  if (first === undefined) return 'nothing'
  const { id, type, username, pattern, read, write, effect } = first
  const access = `${read ? 'r' : ''}${write ? 'w' : ''}`
  const text = [id, effect, type, username, pattern, access].filter(part => part !== undefined).join(' ')
  return rows.length === 1 ? text : `${text} and ${rows.length - 1} more`
}

/** A user has few rules, so they are put in order when asked for. */
function pageOf(rules: readonly Rule[], { after = '', countMax }: PageRequest): Page<Rule> {
  const rest = rules.filter(({ id }) => id > after).sort((a, b) => (a.id < b.id ? -1 : 1))
  const items = rest.slice(0, countMax)
  return { items, cursor: rest.length > countMax ? items.at(-1)?.id : undefined }
}
