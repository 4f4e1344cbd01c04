import { type AclIdentity, type AclRule, expandAclPattern } from './acl.ts'
import type { Qos } from './packet.ts'
import { filtersOverlap, matches, parseShare } from './topic-filter.ts'

/** What one client may do with topics; asked on the hot path, so answers are synchronous and remembered. */
export interface Permissions {
  /** True when every question is answered with yes, so that none has to be asked. */
  readonly allowsAll: boolean
  /** Grows whenever an answer may have become another one: whoever remembers answers remembers it with them. */
  readonly version: number
  mayPublish(topicName: string, qos: Qos, retain: boolean): boolean
  /**
   * Granted when the filter could bring anything that the client may read. What it may not read is held back at
   * delivery by {@link Permissions.mayReceive}, so that a client with a fixed wide filter still gets its part.
   *
   * @param topicFilter - may be a shared one
   */
  maySubscribe(topicFilter: string): boolean
  mayReceive(topicName: string): boolean
}

/** Topics whose answer to {@link Permissions.mayReceive} is remembered; beyond it all are forgotten. */
const REMEMBERED_TOPICS_MAX = 256
const NO_FILTERS: readonly string[] = []

/** Decisions by a list of rules, of which one that grants is enough; without a list everything is allowed. */
export class AclPermissions implements Permissions {
  allowsAll = true
  version = 0
  private readonly identity: AclIdentity
  private rules: readonly AclRule[] | undefined = undefined
  private readable: readonly string[] = NO_FILTERS
  private writable: readonly string[] = NO_FILTERS
  private remembered: Map<string, boolean> | undefined = undefined

  constructor(identity: AclIdentity, rules: readonly AclRule[] | undefined) {
    this.identity = identity
    this.setRules(rules)
    this.version = 0
  }

  /** In force from the next question on. */
  setRules(rules: readonly AclRule[] | undefined): void {
    if (rules === this.rules) return
    this.rules = rules
    this.version++
    this.allowsAll = rules === undefined
    this.readable = this.expand(rules?.filter(rule => rule.read))
    this.writable = this.expand(rules?.filter(rule => rule.write))
    this.remembered = undefined
  }

  mayPublish(topicName: string): boolean {
    return this.allowsAll || isMatched(topicName, this.writable)
  }

  maySubscribe(topicFilter: string): boolean {
    if (this.allowsAll) return true
    const wanted = parseShare(topicFilter)?.topicFilter ?? topicFilter
    return this.readable.some(readable => filtersOverlap(readable, wanted))
  }

  mayReceive(topicName: string): boolean {
    if (this.allowsAll) return true
    const known = this.remembered?.get(topicName)
    if (known !== undefined) return known
    const answer = isMatched(topicName, this.readable)
    if (this.remembered === undefined || this.remembered.size >= REMEMBERED_TOPICS_MAX) this.remembered = new Map()
    this.remembered.set(topicName, answer)
    return answer
  }

  private expand(rules: readonly AclRule[] | undefined): readonly string[] {
    return rules === undefined ? NO_FILTERS : rules.flatMap(rule => expandAclPattern(rule.pattern, this.identity) ?? [])
  }
}

/** Of everybody to whom no rules apply. */
export const ALL_PERMITTED: Permissions = new AclPermissions({ username: undefined, clientId: '' }, undefined)

function isMatched(topicName: string, topicFilters: readonly string[]): boolean {
  for (const topicFilter of topicFilters) if (matches(topicName, topicFilter)) return true
  return false
}
