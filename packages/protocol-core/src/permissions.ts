import type { AclTree } from './acl-tree.ts'
import type { Qos } from './packet.ts'
import type { InstanceName } from './ports/instance-name.ts'

/** What one client may do with topics; asked on the hot path, so answers are synchronous and remembered. */
export interface Permissions {
  /** True when every question is answered with yes, so that none has to be asked. */
  readonly allowsAll: boolean
  /** Grows whenever an answer may have become another one: whoever remembers answers remembers it with them. */
  readonly version: number
  mayPublish(topicName: string, qos: Qos, retain: boolean): boolean
  /** False while QoS and RETAIN make a difference to {@link Permissions.mayPublish} for this topic. */
  publishesAlike(topicName: string): boolean
  /**
   * Granted when the filter could bring anything that the client may read. What it may not read is held back at
   * delivery by {@link Permissions.mayReceive}, so that a client with a fixed wide filter still gets its part.
   *
   * @param topicFilter - may be a shared one
   */
  maySubscribe(topicFilter: string, qos: Qos): boolean
  mayReceive(topicName: string): boolean
}

/** Of everybody to whom no rules apply. */
export const ALL_PERMITTED: Permissions = {
  allowsAll: true,
  version: 0,
  mayPublish: () => true,
  publishesAlike: () => true,
  maySubscribe: () => true,
  mayReceive: () => true,
}

/** What is laid down for one name: everything is allowed, or what the rules say. */
export type Grant = 'everything' | readonly AclTree[]

/** What is laid down in one instance; shared by its connections. */
export interface InstanceRules {
  /** Grows with every change after which `knows`, `grantOf`, or a tree of it, may say something else. */
  readonly version: number
  /** True for a user that is kept here and enabled. */
  knows(username: string): boolean
  /** @param username - `undefined` for an anonymous client; may be one that is not known here */
  grantOf(username: string | undefined): Grant
}

/** What is laid down in every instance, so that a change of one does not make clients of another ask again. */
export interface RuleSource {
  /** Always the same object for an instance that goes on. */
  of(instance: InstanceName): InstanceRules
}
