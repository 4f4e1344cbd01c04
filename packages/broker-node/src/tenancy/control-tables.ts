import type { InstanceName, RecordListener, RecordRow, RuleSource } from '@midge/protocol-core'
import type { z } from 'zod'
import { BUILT_IN_PLANS } from './built-in-plans.ts'
import { InstanceRows } from './instance-rows.ts'
import { type ApiKey, apiKey } from './model/api-key.ts'
import { type AuditEntry, auditEntry } from './model/audit-entry.ts'
import { ban } from './model/ban.ts'
import { bridge } from './model/bridge.ts'
import { type Instance, instance } from './model/instance.ts'
import { type PlanRecord, plan } from './model/plan.ts'
import { rule } from './model/rule.ts'
import { user } from './model/user.ts'
import { webhook } from './model/webhook.ts'
import { parseRecordKey, type RecordKind, type RecordName, recordKey } from './record-key.ts'
import { readRecord } from './record-reading.ts'
import { RecordTable } from './record-table.ts'
import type { TenancyObserver } from './tenancy.ts'

/** What became of one record. */
interface Told {
  key: string
  name: RecordName
  raw: string | undefined
}

/** Is there while a node writes again what the store has lost, and says that not all of it is there yet. */
export const RESTORING_KEY: string = recordKey('guard', '', 'restoring')
const NO_ROWS = new InstanceRows()
const BUILT_IN: ReadonlyMap<string, PlanRecord> = new Map(BUILT_IN_PLANS.map(record => [record.id, record]))

/** What the records say, in memory: fed by the record store, read by the services and by the door. */
export class ControlTables implements RecordListener, RuleSource {
  readonly instances: RecordTable<Instance> = new RecordTable()
  /** Built-in ones as well. */
  readonly plans: RecordTable<PlanRecord> = new RecordTable()
  readonly keys: RecordTable<ApiKey> = new RecordTable()
  readonly audit: RecordTable<AuditEntry> = new RecordTable()
  private readonly rows: Map<InstanceName, InstanceRows> = new Map()
  private readonly byNumber: Map<number, Instance> = new Map()
  private readonly byKeyHash: Map<string, ApiKey> = new Map()
  /** Of kinds that are only a text. */
  private readonly texts: Map<string, string> = new Map()
  /** How a record is written, where it is not as this version would write it. */
  private readonly oddly: Map<string, string> = new Map()
  private readonly observers: TenancyObserver[] = []
  private readonly onUnreadable: (key: string) => void
  /** Known before the reset that is under way, and not told since. */
  private untold: Set<string> | undefined = undefined
  private toldCount = 0
  /** Is called when the store has lost everything; what is here stays. */
  onLost: (() => void) | undefined = undefined

  constructor(onUnreadable: (key: string) => void) {
    this.onUnreadable = onUnreadable
    for (const record of BUILT_IN_PLANS) this.plans.set(record.id, record)
  }

  observe(observer: TenancyObserver): void {
    this.observers.push(observer)
  }

  /** What belongs to an instance; empty for one that is not there. The same object as long as there is one. */
  of(name: InstanceName): InstanceRows {
    return this.rows.get(name) ?? NO_ROWS
  }

  findByNumber(number: number): Instance | undefined {
    return this.byNumber.get(number)
  }

  findKeyByHash(sha256: string): ApiKey | undefined {
    return this.byKeyHash.get(sha256)
  }

  /** Text of a `host`, `port`, `retired`, `counter` or `guard`. */
  text(kind: RecordKind, instanceName: InstanceName | '', id: string): string | undefined {
    return this.texts.get(recordKey(kind, instanceName, id))
  }

  /** Instance that a TLS server name or the host of a WebSocket stands for. */
  findByHost(host: string): InstanceName | undefined {
    const raw = this.text('host', '', host)
    return raw === undefined ? undefined : JSON.parse(raw)
  }

  /** How `row`, which is in one of the tables, is written in the store. */
  rawOf(key: string, row: unknown): string {
    return this.oddly.get(key) ?? JSON.stringify(row)
  }

  /** Instances that have been removed, and of which records are left. */
  *retiredWithRows(): Generator<InstanceName> {
    for (const [name, rows] of this.rows) if (!rows.isEmpty && this.text('retired', '', name) !== undefined) yield name
  }

  onRecord(key: string, raw: string | undefined): void {
    this.untold?.delete(key)
    this.toldCount++
    const name = parseRecordKey(key)
    if (name === undefined) {
      this.onUnreadable(key)
      return
    }
    this.take({ key, name, raw })
  }

  onRecordsReset(): void {
    this.untold = new Set(this.allKeys())
    this.toldCount = 0
  }

  onRecordsTold(): void {
    const gone = this.untold
    this.untold = undefined
    if (gone === undefined || gone.size === 0) return
    // A store that has nothing at all has lost it: nobody removes everything. Or another node has begun to write it again.
    if (this.toldCount === 0 || this.texts.has(RESTORING_KEY)) this.onLost?.()
    else for (const key of gone) this.onRecord(key, undefined)
  }

  /** Everything that is here, as it is written. */
  *records(): Generator<RecordRow> {
    for (const [id, row] of this.instances.entries()) yield this.rowOf(recordKey('instance', '', id), row)
    for (const record of this.plans.values()) {
      if (record !== BUILT_IN.get(record.id)) yield this.rowOf(recordKey('plan', '', record.id), record)
    }
    for (const [id, row] of this.keys.entries()) yield this.rowOf(recordKey('key', '', id), row)
    for (const [id, row] of this.audit.entries()) yield this.rowOf(recordKey('audit', '', id), row)
    for (const [name, rows] of this.rows) {
      for (const { kind, id } of rows.names()) yield this.rowOf(recordKey(kind, name, id), rows.tableOf(kind).get(id))
    }
    for (const [key, value] of this.texts) yield { key, value }
  }

  private take(told: Told): void {
    const { key, name, raw } = told
    switch (name.kind) {
      case 'instance':
        this.setInstance(told)
        return
      case 'plan':
        this.setPlan(told)
        return
      case 'key':
        this.setKey(told)
        return
      case 'audit':
        this.audit.set(name.id, this.read(auditEntry, told))
        return
      case 'user':
        this.setUser(told)
        return
      case 'rule':
        this.setRule(told)
        return
      case 'ban':
        this.setBan(told)
        return
      case 'bridge':
        this.setBridge(told)
        return
      case 'webhook':
        this.setWebhook(told)
        return
      default:
        if (raw === undefined) this.texts.delete(key)
        else this.texts.set(key, raw)
    }
  }

  private setInstance(told: Told): void {
    const { id } = told.name
    const change = this.changeOf(told, this.instances, instance)
    if (change === undefined) return
    const { before, after } = change
    this.instances.set(id, after)
    this.rowsFor(id).setInstance(after)
    if (before !== undefined) this.byNumber.delete(before.number)
    if (after !== undefined) this.byNumber.set(after.number, after)
    for (const each of this.observers) each.onInstance?.(before, after)
  }

  private setPlan(told: Told): void {
    const { id } = told.name
    const change = this.changeOf(told, this.plans, plan)
    if (change === undefined) return
    const after = change.after ?? BUILT_IN.get(id)
    this.plans.set(id, after)
    if (after !== undefined) for (const each of this.observers) each.onPlan?.(after)
  }

  private setKey(told: Told): void {
    const change = this.changeOf(told, this.keys, apiKey)
    if (change === undefined) return
    const { before, after } = change
    this.keys.set(told.name.id, after)
    if (before !== undefined) this.byKeyHash.delete(before.sha256)
    if (after !== undefined) this.byKeyHash.set(after.sha256, after)
  }

  private setUser(told: Told): void {
    const { instance: of, id } = told.name
    const rows = this.rowsFor(of)
    const change = this.changeOf(told, rows.users, user)
    if (change === undefined) return
    rows.setUser(id, change.after)
    for (const each of this.observers) each.onUser?.(of, change.before, change.after)
  }

  private setRule(told: Told): void {
    const { instance: of, id } = told.name
    const rows = this.rowsFor(of)
    const change = this.changeOf(told, rows.rules, rule)
    if (change === undefined) return
    rows.setRule(id, change.after)
    for (const each of this.observers) each.onRule?.(of, change.before, change.after)
  }

  private setBan(told: Told): void {
    const { instance: of, id } = told.name
    const { bans } = this.rowsFor(of)
    const change = this.changeOf(told, bans, ban)
    if (change === undefined) return
    bans.set(id, change.after)
    for (const each of this.observers) each.onBan?.(of, change.before, change.after)
  }

  private setBridge(told: Told): void {
    const { instance: of, id } = told.name
    const { bridges } = this.rowsFor(of)
    const change = this.changeOf(told, bridges, bridge)
    if (change === undefined) return
    bridges.set(id, change.after)
    for (const each of this.observers) each.onBridge?.(of, id, change.after)
  }

  private setWebhook(told: Told): void {
    const { instance: of, id } = told.name
    const { webhooks } = this.rowsFor(of)
    const change = this.changeOf(told, webhooks, webhook)
    if (change === undefined) return
    webhooks.set(id, change.after)
    for (const each of this.observers) each.onWebhook?.(of, id, change.after)
  }

  private rowsFor(name: InstanceName): InstanceRows {
    let rows = this.rows.get(name)
    if (rows === undefined) {
      rows = new InstanceRows()
      this.rows.set(name, rows)
    }
    return rows
  }

  private rowOf(key: string, row: unknown): RecordRow {
    return { key, value: this.rawOf(key, row) }
  }

  private *allKeys(): Generator<string> {
    for (const { key } of this.records()) yield key
  }

  /** @returns `undefined` when a record was told again, or written as it was to make sure that it stays */
  private changeOf<T>(
    told: Told,
    table: RecordTable<T>,
    schema: z.ZodType<T>,
  ): { before: T | undefined; after: T | undefined } | undefined {
    const { key, raw } = told
    const before = table.get(told.name.id)
    if (before === undefined ? raw === undefined : raw === this.rawOf(key, before)) return undefined
    return { before, after: this.read(schema, told) }
  }

  private read<T>(schema: z.ZodType<T>, { key, raw }: Told): T | undefined {
    if (this.oddly.size > 0) this.oddly.delete(key)
    if (raw === undefined) return undefined
    const row = readRecord(schema, raw)
    if (row === undefined) this.onUnreadable(key)
    else if (JSON.stringify(row) !== raw) this.oddly.set(key, raw)
    return row
  }
}
