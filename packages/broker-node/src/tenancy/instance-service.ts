import { BrokerError, DEFAULT_INSTANCE, type InstanceName, type RecordChange } from '@midge/protocol-core'
import { apiKeyHash, freshApiKey, freshInstanceId, freshPassword, freshRecordId, freshUsername } from './fresh-names.ts'
import { hostClaims, type PortBases, planStays, portClaim } from './instance-claims.ts'
import { type ApiKey, apiKey } from './model/api-key.ts'
import type { Actor } from './model/audit-entry.ts'
import { type Instance, instance } from './model/instance.ts'
import type { PlanLimits } from './model/plan.ts'
import { type User, user } from './model/user.ts'
import { instanceId } from './model/words.ts'
import { alreadyExists, created } from './record-drafts.ts'
import { recordKey } from './record-key.ts'
import { checkInput } from './record-reading.ts'
import type { Draft } from './record-writer.ts'
import type { ServiceParts } from './service-parts.ts'
import type { CreatedInstance, InstanceChange, NewInstance, Page, PageRequest, Tenancy } from './tenancy.ts'

/** What {@link InstanceService.createWith} is told beside the instance itself. */
export interface FirstOfInstance {
  username: string
  password: string
  apiKey: string | undefined
}

type InstancePlane = Tenancy['instances']

/** The tenants. */
export class InstanceService implements InstancePlane {
  private readonly parts: ServiceParts
  private readonly portBases: PortBases

  constructor(parts: ServiceParts, portBases: PortBases) {
    this.parts = parts
    this.portBases = portBases
  }

  list(page: PageRequest): Page<Instance> {
    return this.parts.tables.instances.page(page)
  }

  find(id: string): Instance | undefined {
    return this.parts.tables.instances.get(id)
  }

  findByNumber(number: number): Instance | undefined {
    return this.parts.tables.findByNumber(number)
  }

  limits(id: string): PlanLimits {
    return this.parts.conditions.limits(id)
  }

  async create(input: NewInstance, actor: Actor): Promise<CreatedInstance> {
    const first = { username: freshUsername(), password: freshPassword(), apiKey: freshApiKey('instance:write') }
    const created = await this.createWith(input, first, actor)
    return { instance: created, password: first.password, apiKey: first.apiKey }
  }

  /** With a user and a key that are given. */
  async createWith(input: NewInstance, first: FirstOfInstance, actor: Actor): Promise<Instance> {
    const id = input.id === undefined ? this.freeId() : checkInput(instanceId, input.id)
    this.checkFree(id)
    // Before the slow hash, so that a wrong field is told at once.
    this.rowOf(id, input, first)
    const proof = await this.parts.prove(id, first.username, first.password)
    const createdAtMs = this.parts.now()
    const owner = checkInput(user, {
      username: first.username,
      proof,
      isUnrestricted: true,
      createdAtMs,
      epoch: createdAtMs,
    })
    const key = first.apiKey === undefined ? undefined : keyRow(id, first.apiKey, createdAtMs)
    return this.parts.writer.commit(actor, () => this.draftOf(this.rowOf(id, input, first), owner, key))
  }

  async change(id: string, change: InstanceChange, actor: Actor): Promise<Instance> {
    const { writer, conditions, tables } = this.parts
    return writer.commit(actor, () => {
      const before = conditions.existing(id)
      const { settings, ...fields } = change
      const after = checkInput(instance, {
        ...before,
        ...withoutAbsent(fields),
        settings: { ...before.settings, ...withoutAbsent(settings ?? {}) },
      })
      return {
        changes: [
          conditions.replaced(recordKey('instance', '', id), before, after),
          ...(before.plan === after.plan ? [] : planStays(tables, after.plan)),
          ...hostClaims(tables, id, { before: before.hosts, after: after.hosts }),
        ],
        audit: { action: 'instance.changed', instance: id, subject: Object.keys(change).join(', ') },
        result: after,
      }
    })
  }

  async remove(id: string, actor: Actor): Promise<void> {
    if (id === DEFAULT_INSTANCE) throw new BrokerError('MIDGE_INVALID', 'id: the instance "default" always is there')
    const { writer, conditions, tables } = this.parts
    await writer.commit(actor, () => {
      const row = conditions.existing(id)
      const gone = [...this.keysOf(id), ...this.guardsOf(id)]
      if (row.portBase !== null) gone.push(recordKey('port', '', String(row.portBase)))
      return {
        changes: [
          conditions.replaced(recordKey('instance', '', id), row, undefined),
          // The id is not given away again: something of this one may still be on its way through the cluster.
          created(recordKey('retired', '', id), row.number),
          ...hostClaims(tables, id, { before: row.hosts, after: [] }),
          ...gone.map(key => ({ key, value: undefined })),
        ],
        audit: { action: 'instance.removed', instance: id, subject: row.name },
        result: undefined,
      }
    })
    await this.removeRows(id)
  }

  /** Ends removals that a node began and could not end. */
  async sweep(): Promise<void> {
    for (const id of [...this.parts.tables.retiredWithRows()]) await this.removeRows(id)
  }

  private async removeRows(id: InstanceName): Promise<void> {
    const { writer, tables } = this.parts
    await writer.removeAll(Array.from(tables.of(id).names(), name => recordKey(name.kind, id, name.id)))
    await writer.removeAll(this.keysOf(id))
  }

  private draftOf(row: Instance, owner: User, key: ApiKey | undefined): Draft<Instance> {
    const { id } = row
    const { tables } = this.parts
    this.checkFree(id)
    const changes: RecordChange[] = [
      created(recordKey('instance', '', id), row),
      { key: recordKey('retired', '', id), value: undefined, expected: { value: undefined } },
      numberTaken(row.number),
      created(recordKey('user', id, owner.username), owner),
      ...planStays(tables, row.plan),
      ...hostClaims(tables, id, { before: [], after: row.hosts }),
    ]
    if (row.portBase !== null) changes.push(created(recordKey('port', '', String(row.portBase)), id))
    if (key !== undefined) changes.push(created(recordKey('key', '', key.id), key))
    return { changes, audit: { action: 'instance.created', instance: id, subject: row.name }, result: row }
  }

  private rowOf(id: InstanceName, input: NewInstance, { username }: FirstOfInstance): Instance {
    const { tables, now } = this.parts
    const { withPorts = false, ...fields } = input
    return checkInput(instance, {
      ...withoutAbsent(fields),
      id,
      number: lastNumber(tables.text('counter', '', COUNTER)) + 1,
      createdAtMs: now(),
      portBase: withPorts ? portClaim(tables, this.portBases) : null,
      defaultUser: username,
      settings: input.settings ?? {},
    })
  }

  private checkFree(id: InstanceName): void {
    const { tables } = this.parts
    if (tables.instances.get(id) !== undefined) throw alreadyExists(`instance ${id}`)
    if (tables.text('retired', '', id) !== undefined) {
      throw new BrokerError(
        'MIDGE_ALREADY_EXISTS',
        `id: ${id} was an instance that has been removed; ids are used once`,
      )
    }
  }

  private freeId(): InstanceName {
    const { tables } = this.parts
    let id = freshInstanceId()
    while (tables.instances.get(id) !== undefined || tables.text('retired', '', id) !== undefined)
      id = freshInstanceId()
    return id
  }

  private keysOf(id: InstanceName): string[] {
    const keys: string[] = []
    for (const row of this.parts.tables.keys.values()) if (row.instance === id) keys.push(recordKey('key', '', row.id))
    return keys
  }

  private guardsOf(id: InstanceName): string[] {
    return (['users', 'rules', 'bridges', 'webhooks'] as const)
      .filter(limit => this.parts.tables.text('guard', id, limit) !== undefined)
      .map(limit => recordKey('guard', id, limit))
  }
}

const COUNTER = 'instances'

function lastNumber(raw: string | undefined): number {
  return raw === undefined ? 0 : Number(raw)
}

function numberTaken(number: number): RecordChange {
  const expected = { value: number === 1 ? undefined : String(number - 1) }
  return { key: recordKey('counter', '', COUNTER), value: String(number), expected }
}

function keyRow(id: InstanceName, key: string, createdAtMs: number): ApiKey {
  return checkInput(apiKey, {
    id: freshRecordId(createdAtMs),
    label: 'made with the instance',
    scope: 'instance:write',
    instance: id,
    sha256: apiKeyHash(key),
    createdAtMs,
  })
}

/** A field that is `undefined` would take the place of what is there. */
function withoutAbsent<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>
}
