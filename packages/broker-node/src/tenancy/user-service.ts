import { BrokerError, type InstanceName } from '@midge/protocol-core'
import type { Actor } from './model/audit-entry.ts'
import { type PasswordProof, type User, user } from './model/user.ts'
import { password } from './model/words.ts'
import { alreadyExists, created, notFound } from './record-drafts.ts'
import { recordKey } from './record-key.ts'
import { checkInput } from './record-reading.ts'
import { CHANGES_MAX } from './record-writer.ts'
import type { ServiceParts } from './service-parts.ts'
import type { Page, PageRequest, Secret, Tenancy, UserInput } from './tenancy.ts'

type UserPlane = Tenancy['users']

/** The users of all instances. */
export class UserService implements UserPlane {
  private readonly parts: ServiceParts

  constructor(parts: ServiceParts) {
    this.parts = parts
  }

  list(instance: InstanceName, page: PageRequest, prefix = ''): Page<User> {
    return this.parts.tables.of(instance).users.page(page, { prefix })
  }

  count(instance: InstanceName): number {
    return this.parts.tables.of(instance).users.size
  }

  find(instance: InstanceName, username: string): User | undefined {
    return this.parts.tables.of(instance).users.get(username)
  }

  async create(instance: InstanceName, username: string, input: UserInput, actor: Actor): Promise<User> {
    const { tables, writer, conditions, now } = this.parts
    const createdAtMs = now()
    // A user that is removed and made again is another one, although nobody may have been told of the moment between.
    const draft = { username, createdAtMs, epoch: createdAtMs, ...fieldsOf(input) }
    checkInput(user, draft)
    this.checkFree(instance, username)
    const row = checkInput(user, { ...draft, ...(await this.proofOf(instance, username, input.secret)) })
    return writer.commit(actor, () => {
      this.checkFree(instance, username)
      return {
        changes: [
          conditions.instanceStays(instance),
          ...conditions.room(instance, 'users', tables.of(instance).users.size),
          created(recordKey('user', instance, username), row),
        ],
        audit: { action: 'user.created', instance, subject: username },
        result: row,
      }
    })
  }

  async change(instance: InstanceName, username: string, input: UserInput, actor: Actor): Promise<User> {
    const { writer, conditions } = this.parts
    checkInput(user, { ...this.existing(instance, username), ...fieldsOf(input) })
    const proof = await this.proofOf(instance, username, input.secret)
    return writer.commit(actor, () => {
      const before = this.existing(instance, username)
      const isCutOff = input.secret !== undefined || (before.isEnabled && input.isEnabled === false)
      const epoch = before.epoch + (isCutOff ? 1 : 0)
      const after = checkInput(user, { ...before, ...fieldsOf(input), ...proof, epoch })
      return {
        changes: [conditions.replaced(recordKey('user', instance, username), before, after)],
        audit: { action: 'user.changed', instance, subject: username },
        result: after,
      }
    })
  }

  async remove(instance: InstanceName, username: string, actor: Actor): Promise<void> {
    const { tables, writer, conditions } = this.parts
    const ruleKeys = (): string[] =>
      tables
        .of(instance)
        .rulesOfUser(username)
        .map(rule => recordKey('rule', instance, rule.id))
    this.checkRemovable(instance, username)
    if (ruleKeys().length > CHANGES_MAX / 2) await writer.removeAll(ruleKeys())
    await writer.commit(actor, () => {
      this.checkRemovable(instance, username)
      const before = this.existing(instance, username)
      return {
        changes: [
          conditions.replaced(recordKey('user', instance, username), before, undefined),
          ...ruleKeys()
            .slice(0, CHANGES_MAX - 1)
            .map(key => ({ key, value: undefined })),
        ],
        audit: { action: 'user.removed', instance, subject: username },
        result: undefined,
      }
    })
  }

  private existing(instance: InstanceName, username: string): User {
    this.parts.conditions.existing(instance)
    const row = this.find(instance, username)
    if (row === undefined) throw notFound('user')
    return row
  }

  private checkFree(instance: InstanceName, username: string): void {
    this.parts.conditions.existing(instance)
    if (this.find(instance, username) !== undefined) throw alreadyExists(`user ${username}`)
  }

  private checkRemovable(instance: InstanceName, username: string): void {
    this.existing(instance, username)
    if (this.parts.conditions.existing(instance).defaultUser !== username) return
    throw new BrokerError('MIDGE_INVALID', 'username: the user that came with the instance can be disabled only')
  }

  private async proofOf(
    instance: InstanceName,
    username: string,
    secret: Secret | undefined,
  ): Promise<{ proof?: PasswordProof }> {
    if (secret === undefined) return {}
    if ('proof' in secret) return { proof: secret.proof }
    return { proof: await this.parts.prove(instance, username, checkInput(password, secret.password)) }
  }
}

/** What was given; an absent field leaves the record's own. */
function fieldsOf({ isUnrestricted, isEnabled, connectionsMax, note }: UserInput): Partial<User> {
  return {
    ...(isUnrestricted === undefined ? {} : { isUnrestricted }),
    ...(isEnabled === undefined ? {} : { isEnabled }),
    ...(connectionsMax === undefined ? {} : { connectionsMax }),
    ...(note === undefined ? {} : { note }),
  }
}
