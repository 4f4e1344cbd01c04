import type { ApiKey } from './model/api-key.ts'
import type { Actor, AuditEntry } from './model/audit-entry.ts'
import type { Ban } from './model/ban.ts'
import type { Bridge } from './model/bridge.ts'
import type { Instance, InstanceSettings } from './model/instance.ts'
import type { PlanLimits, PlanRecord } from './model/plan.ts'
import type { Rule } from './model/rule.ts'
import type { PasswordProof, User } from './model/user.ts'
import type { Webhook } from './model/webhook.ts'

export type { Actor, AuditEntry } from './model/audit-entry.ts'

/**
 * A page of a list: `after` is the `cursor` of the page before. Lists are in the order of their ids.
 */
export interface PageRequest {
  after?: string
  countMax: number
}

/** See {@link PageRequest}; without a `cursor` there is no further page. */
export interface Page<T> {
  items: T[]
  cursor: string | undefined
}

/** What creating an instance asks for. */
export interface NewInstance {
  /** Made up when absent. */
  id?: string
  name: string
  plan: string
  region?: string
  tags?: string[]
  hosts?: string[]
  /** True for a block of ports of its own from `instances.portBaseMin` on. */
  withPorts?: boolean
  settings?: Partial<InstanceSettings>
}

/** What is shown once. */
export interface CreatedInstance {
  instance: Instance
  password: string
  /** Opens the API of this instance: scope `instance:write`. */
  apiKey: string
}

/** What may be changed of an instance; absent stays. */
export type InstanceChange = Partial<Pick<Instance, 'name' | 'plan' | 'region' | 'tags' | 'hosts' | 'state'>> & {
  settings?: Partial<InstanceSettings>
}

/** A password, or what was made of one elsewhere. */
export type Secret = { password: string } | { proof: PasswordProof }

/** What may be set of a user beside its name. */
export interface UserInput {
  secret?: Secret
  isUnrestricted?: boolean
  isEnabled?: boolean
  connectionsMax?: number | null
  note?: string
}

/** A rule before it has an id. */
export type NewRule = Omit<Rule, 'id' | 'createdAtMs' | 'effect' | 'priority'> &
  Partial<Pick<Rule, 'effect' | 'priority'>>

/**
 * The control plane: what operators and tenants set up. Reading is from memory, on every node; each change resolves
 * when it is in force on all of them.
 *
 * Errors by code: `MIDGE_NOT_FOUND`, `MIDGE_ALREADY_EXISTS`, `MIDGE_INVALID` (the text names the field), `MIDGE_PLAN_LIMIT`
 * (the text names limit and plan), `MIDGE_STORE_UNAVAILABLE`.
 */
export interface Tenancy {
  instances: {
    list(page: PageRequest): Page<Instance>
    find(id: string): Instance | undefined
    findByNumber(number: number): Instance | undefined
    create(input: NewInstance, actor: Actor): Promise<CreatedInstance>
    change(id: string, change: InstanceChange, actor: Actor): Promise<Instance>
    /** Users, rules, keys and all else that belongs to it go as well; the caller has emptied its sessions. */
    remove(id: string, actor: Actor): Promise<void>
    limits(id: string): PlanLimits
  }
  plans: {
    list(): PlanRecord[]
    find(id: string): PlanRecord | undefined
    put(plan: PlanRecord, actor: Actor): Promise<PlanRecord>
    /** @throws BrokerError `MIDGE_INVALID` while an instance has it */
    remove(id: string, actor: Actor): Promise<void>
  }
  users: {
    /** `prefix`: of the username. */
    list(instance: string, page: PageRequest, prefix?: string): Page<User>
    count(instance: string): number
    find(instance: string, username: string): User | undefined
    create(instance: string, username: string, input: UserInput, actor: Actor): Promise<User>
    /** A new password ends connections of before. */
    change(instance: string, username: string, input: UserInput, actor: Actor): Promise<User>
    /** Its rules of type `topic` go as well, and its connections end. */
    remove(instance: string, username: string, actor: Actor): Promise<void>
  }
  rules: {
    list(instance: string, page: PageRequest, username?: string): Page<Rule>
    count(instance: string): number
    find(instance: string, id: string): Rule | undefined
    create(instance: string, rules: readonly NewRule[], actor: Actor): Promise<Rule[]>
    change(instance: string, id: string, rule: NewRule, actor: Actor): Promise<Rule>
    remove(instance: string, ids: readonly string[], actor: Actor): Promise<void>
  }
  apiKeys: {
    list(page: PageRequest, instance?: string): Page<ApiKey>
    create(
      input: Pick<ApiKey, 'label' | 'scope' | 'instance' | 'expiresAtMs'>,
      actor: Actor,
    ): Promise<{ apiKey: ApiKey; key: string }>
    remove(id: string, actor: Actor): Promise<void>
    /** @param key - as sent; found by its hash, so that nothing about the time tells how much of it is right */
    verify(key: string, nowMs: number): ApiKey | undefined
  }
  bans: {
    list(instance: string, page: PageRequest): Page<Ban>
    create(instance: string, input: Omit<Ban, 'id' | 'createdAtMs'>, actor: Actor): Promise<Ban>
    remove(instance: string, id: string, actor: Actor): Promise<void>
  }
  bridges: {
    list(instance: string): Bridge[]
    put(instance: string, bridge: Bridge, actor: Actor): Promise<Bridge>
    remove(instance: string, id: string, actor: Actor): Promise<void>
  }
  webhooks: {
    list(instance: string): Webhook[]
    put(instance: string, webhook: Webhook, actor: Actor): Promise<Webhook>
    remove(instance: string, id: string, actor: Actor): Promise<void>
  }
  /** Newest first; at most 10,000 are kept. */
  audit(page: PageRequest, instance?: string): Page<AuditEntry>
  /** Whoever has to act on a change: called after the change is in force here; not about what was there before. */
  observe(observer: TenancyObserver): void
}

/** See {@link Tenancy.observe}. `before` and `after` are `undefined` for what was not, or is no more. */
export interface TenancyObserver {
  onInstance?(before: Instance | undefined, after: Instance | undefined): void
  onPlan?(plan: PlanRecord): void
  onUser?(instance: string, before: User | undefined, after: User | undefined): void
  onRule?(instance: string, before: Rule | undefined, after: Rule | undefined): void
  onBan?(instance: string, before: Ban | undefined, after: Ban | undefined): void
  onBridge?(instance: string, id: string, after: Bridge | undefined): void
  onWebhook?(instance: string, id: string, after: Webhook | undefined): void
}
