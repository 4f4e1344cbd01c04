import { type Grant, type InstanceRules, RuleBook } from '@midge/protocol-core'
import type { Ban } from './model/ban.ts'
import type { Bridge } from './model/bridge.ts'
import type { Instance } from './model/instance.ts'
import type { Rule } from './model/rule.ts'
import type { User } from './model/user.ts'
import type { Webhook } from './model/webhook.ts'
import { RecordTable } from './record-table.ts'

const ROW_KINDS = ['user', 'rule', 'ban', 'bridge', 'webhook'] as const

/** Kinds of records that belong to one instance. */
type RowKind = (typeof ROW_KINDS)[number]

/** What belongs to one instance, and what its clients may do by it. */
export class InstanceRows implements InstanceRules {
  version = 0
  readonly users: RecordTable<User> = new RecordTable()
  readonly rules: RecordTable<Rule> = new RecordTable()
  readonly bans: RecordTable<Ban> = new RecordTable()
  readonly bridges: RecordTable<Bridge> = new RecordTable()
  readonly webhooks: RecordTable<Webhook> = new RecordTable()
  private readonly book = new RuleBook()
  private readonly rulesByUser: Map<string, Set<Rule>> = new Map()
  private isThere = false
  private isOpenToUnlisted = false

  get isEmpty(): boolean {
    return ROW_KINDS.every(kind => this.tableOf(kind).size === 0)
  }

  knows(username: string): boolean {
    return this.isThere && this.users.get(username)?.isEnabled === true
  }

  grantOf(username: string | undefined): Grant {
    const user = username === undefined ? undefined : this.users.get(username)
    const isFree = user === undefined ? this.isOpenToUnlisted : user.isUnrestricted
    return this.isThere && isFree ? 'everything' : this.book.of(username)
  }

  /** @param instance - `undefined` when it has gone: then nobody is known, and nobody is free */
  setInstance(instance: Instance | undefined): void {
    this.isThere = instance !== undefined
    this.isOpenToUnlisted = instance?.settings.unlistedUsers === 'everything'
    this.version++
  }

  setUser(username: string, after: User | undefined): void {
    const before = this.users.get(username)
    this.users.set(username, after)
    // A password, or a note, is nothing that clients have to ask again for.
    const isAlike = before?.isUnrestricted === after?.isUnrestricted && before?.isEnabled === after?.isEnabled
    if (!isAlike) this.version++
  }

  setRule(id: string, after: Rule | undefined): void {
    const before = this.rules.get(id)
    this.rules.set(id, after)
    if (before?.username !== undefined) this.forgetOf(before.username, before)
    if (after?.username !== undefined) this.noteOf(after.username, after)
    if (after === undefined) this.book.remove(id)
    else this.book.put(after)
    this.version++
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

  /** Rules of type `topic` of a user, in no order. */
  rulesOfUser(username: string): Rule[] {
    return [...(this.rulesByUser.get(username) ?? [])]
  }

  /** Names of what is there. */
  *names(): Generator<{ kind: RowKind; id: string }> {
    for (const kind of ROW_KINDS) for (const id of this.tableOf(kind).keys()) yield { kind, id }
  }

  private noteOf(username: string, rule: Rule): void {
    const rules = this.rulesByUser.get(username)
    if (rules === undefined) this.rulesByUser.set(username, new Set([rule]))
    else rules.add(rule)
  }

  private forgetOf(username: string, rule: Rule): void {
    const rules = this.rulesByUser.get(username)
    rules?.delete(rule)
    if (rules?.size === 0) this.rulesByUser.delete(username)
  }
}
