import type { Qos } from './packet.ts'
import { checkTopicFilter } from './topic-filter.ts'

/**
 * One permission. Rules are asked by `priority`, lowest first, at one priority those that deny first; the first that
 * fits decides. What no rule fits is denied.
 */
export interface AclRule {
  /**
   * Topic Filter in which `%u` stands for the username and `%c` for the client id, as a whole level or a part of one;
   * whoever takes rules in has it checked by {@link checkAclPattern}.
   */
  readonly pattern: string
  /** SUBSCRIBE, and messages on their way to the client. */
  readonly read: boolean
  /** PUBLISH and wills. */
  readonly write: boolean
  /** Absent means `allow`. */
  readonly effect?: 'allow' | 'deny' | undefined
  /** Absent means 0. */
  readonly priority?: number | undefined
  /** Only for PUBLISH or SUBSCRIBE of these QoS. */
  readonly qos?: readonly Qos[] | undefined
  /** Only for PUBLISH with, or without, RETAIN. */
  readonly retain?: boolean | undefined
}

/** Who asks; `username` is `undefined` for an anonymous client. */
export interface AclIdentity {
  readonly username: string | undefined
  readonly clientId: string
}

const PLACEHOLDER = /%[uc]/g
/** Characters that would turn an inserted name into more than literal text of one level. */
const WIDENING = ['+', '#', '/', '\u0000']

/** @returns 0, or 0x8F when the pattern could not be a Topic Filter whatever its placeholders stand for */
export function checkAclPattern(pattern: string, levelsMax?: number): number {
  return checkTopicFilter(pattern.replace(PLACEHOLDER, 'x'), levelsMax)
}

/** True when names are put into this pattern, or this level of one. */
export function isTemplate(text: string): boolean {
  return text.includes('%u') || text.includes('%c')
}

/**
 * Puts an identity into a pattern, or into one level of it, literally.
 *
 * @param isStart - false for a level behind the first one
 * @returns `undefined` when the rule says nothing about this identity: a name that it needs is missing, empty, or would
 * widen the rule, because it contains '+', '#' or '/', or starts the filter with '$'
 */
export function expandAclPattern(pattern: string, identity: AclIdentity, isStart = true): string | undefined {
  if (!isTemplate(pattern)) return pattern
  let isRefused = false
  // One pass, so that a client called `%u` stays literal text.
  const topicFilter = pattern.replace(PLACEHOLDER, (placeholder, offset: number) => {
    const name = placeholder === '%u' ? identity.username : identity.clientId
    if (name === undefined || name === '' || WIDENING.some(text => name.includes(text))) isRefused = true
    else if (isStart && offset === 0 && name.startsWith('$')) isRefused = true
    return name ?? ''
  })
  return isRefused ? undefined : topicFilter
}

/** Where a rule stands in the order of asking: the lower comes first. */
export function rankOf({ priority = 0, effect }: AclRule): number {
  return 2 * priority + (effect === 'deny' ? 0 : 1)
}
