import {
  type AclDecision,
  type AclIdentity,
  type AclQuestion,
  type AclRule,
  AclTree,
  decideAcl,
  type InstanceRules,
  type Permissions,
  publishesAlike,
  type Qos,
} from '@midge/protocol-core'

/** Topics whose answer to `mayReceive` is remembered; beyond it all are forgotten. */
const REMEMBERED_TOPICS_MAX = 256
const NO_TREES: readonly AclTree[] = []

/**
 * The rights of one client as they are laid down at this moment: a change counts from the next question on, without
 * anybody being told. A connection has only this object; the rules belong to all.
 */
export class UserPermissions implements Permissions, AclIdentity {
  readonly username: string | undefined
  readonly clientId: string
  private readonly rules: InstanceRules
  /** Of the login itself, beside those of the instance. */
  private readonly extra: AclTree | undefined
  private trees: readonly AclTree[] = NO_TREES
  private seenVersion = -1
  private isUnbound = false
  private wasKnown = false
  private remembered: Map<string, boolean> | undefined = undefined

  /** @param extraRules - that the login has brought, their patterns accepted by `checkAclPattern` */
  constructor(rules: InstanceRules, { username, clientId }: AclIdentity, extraRules?: readonly AclRule[]) {
    this.rules = rules
    this.username = username
    this.clientId = clientId
    this.extra = extraRules === undefined ? undefined : treeOf(extraRules)
    this.refresh()
  }

  get allowsAll(): boolean {
    if (this.seenVersion !== this.rules.version) this.refresh()
    return this.isUnbound
  }

  get version(): number {
    return this.rules.version
  }

  mayPublish(topicName: string, qos: Qos, retain: boolean): boolean {
    return this.decide({ access: 'publish', topic: topicName, qos, retain }).allowed
  }

  publishesAlike(topicName: string): boolean {
    return this.allowsAll || publishesAlike({ trees: this.trees, identity: this }, topicName)
  }

  maySubscribe(topicFilter: string, qos: Qos): boolean {
    return this.decide({ access: 'subscribe', topic: topicFilter, qos }).allowed
  }

  mayReceive(topicName: string): boolean {
    if (this.allowsAll) return true
    const known = this.remembered?.get(topicName)
    if (known !== undefined) return known
    const { allowed } = this.decide({ access: 'receive', topic: topicName })
    if (this.remembered === undefined || this.remembered.size >= REMEMBERED_TOPICS_MAX) this.remembered = new Map()
    this.remembered.set(topicName, allowed)
    return allowed
  }

  /** The answer, with the rule that gave it; without one it is a yes because no rules apply, or a no because none fits. */
  decide(question: AclQuestion): AclDecision {
    if (this.allowsAll) return { allowed: true, rule: undefined }
    return decideAcl({ trees: this.trees, identity: this }, question)
  }

  private refresh(): void {
    const { extra, rules, username } = this
    const isKnown = username !== undefined && rules.knows(username)
    // Who was a user and is none any more is not as free as one that never was.
    const isGone = this.wasKnown && !isKnown
    const grant = isGone ? NO_TREES : rules.grantOf(username)
    this.seenVersion = rules.version
    this.remembered = undefined
    this.wasKnown ||= isKnown
    // What a login has brought narrows the freedom of those that are not kept here.
    this.isUnbound = grant === 'everything' && (isKnown || extra === undefined)
    const trees = typeof grant === 'string' ? NO_TREES : grant
    this.trees = extra === undefined || isGone ? trees : [...trees, extra]
  }
}

function treeOf(rules: readonly AclRule[]): AclTree {
  const tree = new AclTree()
  for (const rule of rules) tree.add(rule)
  return tree
}
