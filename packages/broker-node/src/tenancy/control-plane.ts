import type { InstanceName, RecordStore } from '@midge/protocol-core'
import { ApiKeyService } from './api-key-service.ts'
import { BanService } from './ban-service.ts'
import { ControlTables } from './control-tables.ts'
import type { PortBases } from './instance-claims.ts'
import { InstanceService } from './instance-service.ts'
import type { AuditEntry } from './model/audit-entry.ts'
import { type Bridge, bridge } from './model/bridge.ts'
import { type Webhook, webhook } from './model/webhook.ts'
import { NamedRowService } from './named-row-service.ts'
import { PlanService } from './plan-service.ts'
import { RecordConditions } from './record-drafts.ts'
import { RecordWriter } from './record-writer.ts'
import { RuleService } from './rule-service.ts'
import type { PasswordProver, ServiceParts } from './service-parts.ts'
import type { Page, PageRequest, Tenancy, TenancyObserver } from './tenancy.ts'
import { UserService } from './user-service.ts'

/** What the control plane of a node is made of. */
export interface ControlPlaneOptions {
  records: RecordStore
  prove: PasswordProver
  portBases: PortBases
  /** Unix time in milliseconds. */
  now: () => number
  /** Is told the key of a record that this version cannot read, and that is therefore left out. */
  onUnreadable: (key: string) => void
  /** The store has lost all records; `write` writes them again, and may be repeated. */
  onLost: (write: () => Promise<void>) => void
}

/** {@link Tenancy} over a {@link RecordStore}: a service for each noun over tables in memory. */
export class ControlPlane implements Tenancy {
  readonly tables: ControlTables
  readonly instances: InstanceService
  readonly plans: PlanService
  readonly users: UserService
  readonly rules: RuleService
  readonly apiKeys: ApiKeyService
  readonly bans: BanService
  readonly bridges: NamedRowService<Bridge>
  readonly webhooks: NamedRowService<Webhook>
  private readonly records: RecordStore

  constructor({ records, prove, portBases, now, onUnreadable, onLost }: ControlPlaneOptions) {
    const tables = new ControlTables(onUnreadable)
    const writer = new RecordWriter(records, tables, now)
    const parts: ServiceParts = { tables, writer, conditions: new RecordConditions(tables), now, prove }
    // Every node does so, with the same records: whoever is last changes nothing.
    tables.onLost = () => onLost(() => writer.restore())
    this.records = records
    this.tables = tables
    this.instances = new InstanceService(parts, portBases)
    this.plans = new PlanService(parts)
    this.users = new UserService(parts)
    this.rules = new RuleService(parts)
    this.apiKeys = new ApiKeyService(parts)
    this.bans = new BanService(parts)
    this.bridges = new NamedRowService(parts, {
      kind: 'bridge',
      limit: 'bridges',
      schema: bridge,
      tableOf: rows => rows.bridges,
    })
    this.webhooks = new NamedRowService(parts, {
      kind: 'webhook',
      limit: 'webhooks',
      schema: webhook,
      tableOf: rows => rows.webhooks,
    })
  }

  /** Reads everything back; until then there is no instance. */
  start(): Promise<void> {
    return this.records.start(this.tables)
  }

  audit(page: PageRequest, instance?: InstanceName): Page<AuditEntry> {
    return this.tables.audit.pageBack(page, entry => instance === undefined || entry.instance === instance)
  }

  observe(observer: TenancyObserver): void {
    this.tables.observe(observer)
  }
}
