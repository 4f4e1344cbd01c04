import type { Ban } from './model/ban.ts'
import type { Bridge } from './model/bridge.ts'
import type { Rule } from './model/rule.ts'
import type { User } from './model/user.ts'
import type { Webhook } from './model/webhook.ts'
import { RecordTable } from './record-table.ts'

const NO_RULES: readonly Rule[] = []

const ROW_KINDS = ['user', 'rule', 'ban', 'bridge', 'webhook'] as const

/** Kinds of records that belong to one instance. */
export type RowKind = (typeof ROW_KINDS)[number]

/** What belongs to one instance. */
export class InstanceRows {
  readonly users: RecordTable<User> = new RecordTable()
  readonly rules: RecordTable<Rule> = new RecordTable()
  readonly bans: RecordTable<Ban> = new RecordTable()
  readonly bridges: RecordTable<Bridge> = new RecordTable()
  readonly webhooks: RecordTable<Webhook> = new RecordTable()
  /** Rules of type `topic`, in no order. */
  private readonly rulesByUser: Map<string, Set<Rule>> = new Map()

  get isEmpty(): boolean {
    return ROW_KINDS.every(kind => this.tableOf(kind).size === 0)
  }

  tableOf(
    kind: RowKind,
  ): RecordTable<User> | RecordTable<Rule> | RecordTable<Ban> | RecordTable<Bridge> | RecordTable<Webhook> {
    switch (kind) {
      case 'user':
        return this.users
      case 'rule':
        return this.rules
      case 'ban':
        return this.bans
      case 'bridge':
        return this.bridges
      case 'webhook':
        return this.webhooks
    }
  }

  rulesOfUser(username: string): Iterable<Rule> {
    return this.rulesByUser.get(username) ?? NO_RULES
  }

  /** Keeps the way from users to their rules. */
  setRule(id: string, after: Rule | undefined): void {
    const before = this.rules.get(id)
    this.rules.set(id, after)
    if (before?.username !== undefined) this.forget(before.username, before)
    if (after?.username === undefined) return
    const rules = this.rulesByUser.get(after.username)
    if (rules === undefined) this.rulesByUser.set(after.username, new Set([after]))
    else rules.add(after)
  }

  /** Names of what is there. */
  *names(): Generator<{ kind: RowKind; id: string }> {
    for (const kind of ROW_KINDS) for (const id of this.tableOf(kind).keys()) yield { kind, id }
  }

  private forget(username: string, rule: Rule): void {
    const rules = this.rulesByUser.get(username)
    rules?.delete(rule)
    if (rules?.size === 0) this.rulesByUser.delete(username)
  }
}
