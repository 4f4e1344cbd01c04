import type { ProtocolVersion } from './packet.ts'
import { ReasonCode } from './reason-code.ts'
import { TOPIC_BYTES_MAX, TOPIC_LEVELS_MAX_DEFAULT, topicBytesCount } from './topic-name.ts'

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23
const DOLLAR = 0x24
const SHARE_PREFIX = '$share/'

/** The two parts of a Shared Subscription's filter. */
export interface SharedFilter {
  group: string
  topicFilter: string
}

/**
 * Checks whether a Topic Filter of SUBSCRIBE or UNSUBSCRIBE is one at all: an ill-formed one makes its packet malformed
 * and ends the connection (v5 [MQTT-4.13.1-1], v3.1.1 [MQTT-4.8.0-1]), a well-formed one that is not accepted is
 * answered (0x8F, "correctly formed, but not accepted"; see {@link checkTopicFilter}).
 *
 * MQTT 3.1 and 3.1.1 have no Shared Subscriptions, so that there `$share//a` is well formed.
 *
 * @param topicFilter - text that has passed the checks of a UTF-8 Encoded String
 * @returns 0, or 0x81
 *
 * Spec: v5 [MQTT-4.7.1-1], v3.1.1 [MQTT-4.7.1-2] for '#'; v5 [MQTT-4.7.1-2], v3.1.1 [MQTT-4.7.1-3] for '+';
 * [MQTT-4.7.3-1] not empty; v5 [MQTT-4.8.2-1], [MQTT-4.8.2-2] for `$share`.
 */
export function checkFilterForm(topicFilter: string, version: ProtocolVersion): number {
  const start = version === 5 ? filterStart(topicFilter) : 0
  return start >= 0 && levelsOf(topicFilter, start) > 0 ? ReasonCode.success : ReasonCode.malformedPacket
}

/**
 * Checks whether this server accepts a Topic Filter, with or without `$share/<group>/` in front: its form, and the
 * bounds that are this server's own.
 *
 * @param levelsMax - counts the levels after the share prefix
 * @returns 0, or 0x8F
 *
 * Spec: as {@link checkFilterForm}; [MQTT-4.7.3-2], [MQTT-4.7.3-3].
 */
export function checkTopicFilter(topicFilter: string, levelsMax: number = TOPIC_LEVELS_MAX_DEFAULT): number {
  if (topicFilter.length > TOPIC_BYTES_MAX) return ReasonCode.topicFilterInvalid
  const start = filterStart(topicFilter)
  if (start < 0) return ReasonCode.topicFilterInvalid
  const levels = levelsOf(topicFilter, start)
  if (levels === 0 || levels > levelsMax) return ReasonCode.topicFilterInvalid
  const bytes = topicBytesCount(topicFilter)
  return bytes < 0 || bytes > TOPIC_BYTES_MAX ? ReasonCode.topicFilterInvalid : ReasonCode.success
}

/** @returns where the filter begins behind `$share/<group>/`, 0 without that; -1 for an ill-formed share name */
function filterStart(topicFilter: string): number {
  if (!topicFilter.startsWith(SHARE_PREFIX)) return 0
  const groupEnd = topicFilter.indexOf('/', SHARE_PREFIX.length)
  if (groupEnd <= SHARE_PREFIX.length) return -1
  for (let i = SHARE_PREFIX.length; i < groupEnd; i++) if (isWildcard(topicFilter.charCodeAt(i))) return -1
  return groupEnd + 1
}

function isWildcard(unit: number): boolean {
  return unit === PLUS || unit === HASH
}

/** @returns the number of levels from `start`; 0 when there is nothing, or a wildcard is out of place */
function levelsOf(topicFilter: string, start: number): number {
  const end = topicFilter.length
  if (start >= end) return 0
  let levels = 1
  for (let i = start; i < end; i++) {
    const unit = topicFilter.charCodeAt(i)
    if (unit === SLASH) levels++
    else if (isWildcard(unit)) {
      if (i > start && topicFilter.charCodeAt(i - 1) !== SLASH) return 0
      if (unit === HASH ? i + 1 !== end : i + 1 < end && topicFilter.charCodeAt(i + 1) !== SLASH) return 0
    }
  }
  return levels
}

/** @returns whether a valid Topic Filter, without share prefix, can match more than the one equal Topic Name. */
export function hasWildcard(topicFilter: string): boolean {
  for (let i = 0; i < topicFilter.length; i++) if (isWildcard(topicFilter.charCodeAt(i))) return true
  return false
}

/**
 * Takes `$share/<group>/<filter>` apart.
 *
 * @param topicFilter - accepted by {@link checkTopicFilter}
 * @returns `undefined` for a filter that is not shared
 */
export function parseShare(topicFilter: string): SharedFilter | undefined {
  if (!topicFilter.startsWith(SHARE_PREFIX)) return undefined
  const groupEnd = topicFilter.indexOf('/', SHARE_PREFIX.length)
  if (groupEnd < 0) return undefined
  return { group: topicFilter.slice(SHARE_PREFIX.length, groupEnd), topicFilter: topicFilter.slice(groupEnd + 1) }
}

/**
 * Decides whether a Topic Name matches a Topic Filter.
 *
 * Allocates nothing and does not validate: callers hold strings that `checkTopicName` and {@link checkTopicFilter}
 * have accepted.
 *
 * @param topicFilter - with any `$share/<group>/` removed
 *
 * Spec: section 4.7.1 for '#' and '+'; [MQTT-4.7.2-1] names that start with '$'; [MQTT-4.7.3-4] no normalisation,
 * so the comparison is code unit by code unit.
 */
export function matches(topicName: string, topicFilter: string): boolean {
  const nameEnd = topicName.length
  const filterEnd = topicFilter.length
  if (topicName.charCodeAt(0) === DOLLAR && isWildcard(topicFilter.charCodeAt(0))) return false
  let n = 0
  let f = 0
  for (;;) {
    const unit = topicFilter.charCodeAt(f)
    if (unit === HASH) return true
    if (unit === PLUS) {
      n = levelEnd(topicName, n)
      f++
    } else {
      while (f < filterEnd && topicFilter.charCodeAt(f) !== SLASH) {
        if (n >= nameEnd || topicName.charCodeAt(n) !== topicFilter.charCodeAt(f)) return false
        n++
        f++
      }
      if (n < nameEnd && topicName.charCodeAt(n) !== SLASH) return false
    }
    if (f === filterEnd) return n === nameEnd
    if (n === nameEnd) return isHashTail(topicFilter, f)
    n++
    f++
  }
}

function levelEnd(text: string, from: number): number {
  const end = text.indexOf('/', from)
  return end < 0 ? text.length : end
}

/** The parent of '#' matches too: `a/#` matches `a`. Spec: section 4.7.1.2. Only that of `/#` is not a name: it is empty. */
function isHashTail(topicFilter: string, slashAt: number): boolean {
  return slashAt > 0 && slashAt + 2 === topicFilter.length && topicFilter.charCodeAt(slashAt + 1) === HASH
}

/**
 * Decides whether some Topic Name exists that matches both filters. Symmetric; does not validate.
 *
 * @param a - without share prefix
 * @param b - without share prefix
 */
export function filtersOverlap(a: string, b: string): boolean {
  // No name starts with '$' for a filter that starts with a wildcard. [MQTT-4.7.2-1].
  if (a.charCodeAt(0) === DOLLAR && isWildcard(b.charCodeAt(0))) return false
  if (b.charCodeAt(0) === DOLLAR && isWildcard(a.charCodeAt(0))) return false
  let i = 0
  let j = 0
  for (;;) {
    const unitA = a.charCodeAt(i)
    const unitB = b.charCodeAt(j)
    if (unitA === HASH || unitB === HASH) return true
    const endA = levelEnd(a, i)
    const endB = levelEnd(b, j)
    if (unitA !== PLUS && unitB !== PLUS && a.slice(i, endA) !== b.slice(j, endB)) return false
    if (endA === a.length) return endB === b.length || isHashTail(b, endB)
    if (endB === b.length) return isHashTail(a, endA)
    i = endA + 1
    j = endB + 1
  }
}

/**
 * Decides whether every Topic Name that `b` matches is matched by `a` too. Does not validate. A `true` is certain; of
 * filters that differ in form only (`+/#` and `#`) it says `false`.
 *
 * @param a - without share prefix
 * @param b - without share prefix
 */
export function filterCovers(a: string, b: string): boolean {
  // [MQTT-4.7.2-1].
  if (b.charCodeAt(0) === DOLLAR && isWildcard(a.charCodeAt(0))) return false
  let i = 0
  let j = 0
  for (;;) {
    if (a.charCodeAt(i) === HASH) return true
    if (b.charCodeAt(j) === HASH) return false
    const endA = levelEnd(a, i)
    const endB = levelEnd(b, j)
    if (a.charCodeAt(i) !== PLUS && a.slice(i, endA) !== b.slice(j, endB)) return false
    if (endA === a.length) return endB === b.length
    if (endB === b.length) return isHashTail(a, endA)
    i = endA + 1
    j = endB + 1
  }
}
