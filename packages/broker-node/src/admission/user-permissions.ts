import { AclPermissions, type AclRule, type InstanceName, type Permissions } from '@midge/protocol-core'
import type { UserDirectory } from './user-directory.ts'

/** Of a user whose record has gone. */
const NO_RULES: readonly AclRule[] = []

/**
 * The rights of one user as the directory has them now: a changed record counts from the next question on, without
 * anybody being told. A user that had no record (a certificate's, a hook's) may do everything until it gets one.
 */
export class UserPermissions implements Permissions {
  private readonly users: UserDirectory
  private readonly instance: InstanceName
  private readonly username: string
  private readonly acl: AclPermissions
  private seenVersion: number
  private isListed: boolean

  constructor(users: UserDirectory, instance: InstanceName, identity: { username: string; clientId: string }) {
    const record = users.find(instance, identity.username)
    this.users = users
    this.instance = instance
    this.username = identity.username
    this.acl = new AclPermissions(identity, record?.rules)
    this.seenVersion = users.version
    this.isListed = record !== undefined
  }

  get allowsAll(): boolean {
    return this.current().allowsAll
  }

  get version(): number {
    return this.current().version
  }

  mayPublish(topicName: string): boolean {
    return this.current().mayPublish(topicName)
  }

  maySubscribe(topicFilter: string): boolean {
    return this.current().maySubscribe(topicFilter)
  }

  mayReceive(topicName: string): boolean {
    return this.current().mayReceive(topicName)
  }

  private current(): AclPermissions {
    if (this.seenVersion !== this.users.version) this.refresh()
    return this.acl
  }

  private refresh(): void {
    const record = this.users.find(this.instance, this.username)
    this.seenVersion = this.users.version
    this.acl.setRules(record === undefined && this.isListed ? NO_RULES : record?.rules)
    this.isListed ||= record !== undefined
  }
}
