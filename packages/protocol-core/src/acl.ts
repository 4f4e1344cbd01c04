import { checkTopicFilter } from './topic-filter.ts'

/**
 * One permission. `pattern` is a Topic Filter in which `%u` stands for the username and `%c` for the client id, as a
 * whole level or a part of one; whoever takes rules in has it checked by {@link checkAclPattern}.
 */
export interface AclRule {
  pattern: string
  read: boolean
  write: boolean
}

/** Who asks; `username` is `undefined` for an anonymous client. */
export interface AclIdentity {
  username: string | undefined
  clientId: string
}

const PLACEHOLDER = /%[uc]/g
/** Characters that would turn an inserted name into more than literal text of one level. */
const WIDENING = ['+', '#', '/', '\u0000']

/** @returns 0, or 0x8F when the pattern could not be a Topic Filter whatever its placeholders stand for */
export function checkAclPattern(pattern: string, levelsMax?: number): number {
  return checkTopicFilter(pattern.replace(PLACEHOLDER, 'x'), levelsMax)
}

/**
 * Puts an identity into a pattern, literally.
 *
 * @returns the Topic Filter, or `undefined` when the rule grants nothing to this identity: a name that it needs is
 * missing, empty, or would widen the rule, because it contains '+', '#' or '/', or starts the filter with '$'
 */
export function expandAclPattern(pattern: string, identity: AclIdentity): string | undefined {
  if (!pattern.includes('%')) return pattern
  let isRefused = false
  // One pass, so that a client called `%u` stays literal text.
  const topicFilter = pattern.replace(PLACEHOLDER, (placeholder, offset: number) => {
    const name = placeholder === '%u' ? identity.username : identity.clientId
    if (name === undefined || name === '' || WIDENING.some(text => name.includes(text))) isRefused = true
    else if (offset === 0 && name.startsWith('$')) isRefused = true
    return name ?? ''
  })
  return isRefused ? undefined : topicFilter
}
