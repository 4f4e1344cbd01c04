import type { DueWill, InstanceName, Message, RuleSource, WillOwner } from '@midge/protocol-core'
import type { ClientName, WillRights } from '../ports.ts'
import { UserPermissions } from './user-permissions.ts'

/** Wills by the rules of their instance, as they are when the will fires. */
export class RuleWillRights implements WillRights {
  private readonly source: RuleSource

  constructor(source: RuleSource) {
    this.source = source
  }

  ownerOf(instance: InstanceName, { username, clientId }: ClientName, message: Message): WillOwner | undefined {
    const isKnown = username !== undefined && this.source.of(instance).knows(username)
    const owner = { username, isKnown }
    // What a token allows is not known any more when its will fires.
    return this.allows(instance, { ...owner, clientId }, message) ? owner : undefined
  }

  mayFire({ instance, clientId, will: { owner, message } }: DueWill): boolean {
    return owner === undefined || this.allows(instance, { ...owner, clientId }, message)
  }

  private allows(instance: InstanceName, who: WillOwner & ClientName, message: Message): boolean {
    const rules = this.source.of(instance)
    if (who.isKnown && (who.username === undefined || !rules.knows(who.username))) return false
    return new UserPermissions(rules, who).mayPublish(message.topicName, message.qos, message.retain)
  }
}
