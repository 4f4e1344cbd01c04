import { ReasonCode } from './reason-code.ts'

/** Levels that a Topic Name or Topic Filter may have unless the configuration says otherwise. */
export const TOPIC_LEVELS_MAX_DEFAULT = 128

/** Longest UTF-8 string that the two-byte length in front of it can announce. [MQTT-4.7.3-3]. */
export const TOPIC_BYTES_MAX = 65_535

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23
const SYS_PREFIX = '$SYS/'
const BRIDGE_PREFIX = '$SYS/broker/connection/'
const BRIDGE_SUFFIX = '/state'

/**
 * Counts the UTF-8 bytes of a string that is going to be a Topic Name or Topic Filter.
 *
 * @returns the count, or -1 for text that MQTT forbids: U+0000 or half of a surrogate pair.
 * Spec: [MQTT-4.7.3-2]; v5 [MQTT-1.5.4-1], v3.1.1 [MQTT-1.5.3-1].
 */
export function topicBytesCount(text: string): number {
  let count = 0
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit === 0) return -1
    if (unit < 0x80) count += 1
    else if (unit < 0x800) count += 2
    else if (unit < 0xd800 || unit > 0xdfff) count += 3
    else {
      const low = text.charCodeAt(i + 1)
      // A comparison with NaN (the text ends here) is false, so a lone high half fails it too.
      if (unit > 0xdbff || !(low >= 0xdc00 && low <= 0xdfff)) return -1
      count += 4
      i++
    }
  }
  return count
}

/**
 * Checks a Topic Name of a PUBLISH, a will or an API call.
 *
 * @param levelsMax - the bound of the set-up; every matcher of this package recurses at most this deep
 * @returns 0, or 0x90 for an empty name, a wildcard, forbidden text, over 65,535 bytes, or too many levels
 *
 * Spec: v5 [MQTT-4.7.0-1], v3.1.1 [MQTT-4.7.1-1], [MQTT-3.3.2-2] no wildcards; [MQTT-4.7.3-1] not empty;
 * [MQTT-4.7.3-2] no U+0000; [MQTT-4.7.3-3] length.
 */
export function checkTopicName(topicName: string, levelsMax: number = TOPIC_LEVELS_MAX_DEFAULT): number {
  if (topicName.length === 0 || topicName.length > TOPIC_BYTES_MAX) return ReasonCode.topicNameInvalid
  let levels = 1
  let isAscii = true
  for (let i = 0; i < topicName.length; i++) {
    const unit = topicName.charCodeAt(i)
    if (unit === SLASH) levels++
    else if (unit === PLUS || unit === HASH || unit === 0) return ReasonCode.topicNameInvalid
    else if (unit >= 0x80) isAscii = false
  }
  if (levels > levelsMax) return ReasonCode.topicNameInvalid
  if (isAscii) return ReasonCode.success
  const bytes = topicBytesCount(topicName)
  return bytes < 0 || bytes > TOPIC_BYTES_MAX ? ReasonCode.topicNameInvalid : ReasonCode.success
}

/**
 * Decides whether clients may not publish to a Topic Name because it is the server's own: everything below `$SYS/`
 * except `$SYS/broker/connection/<name>/state`, where a bridge says that it is there (its will says that it is gone),
 * which Mosquitto allows too. Spec: section 4.7.2 leaves topics that begin with '$' to the server.
 */
export function isReservedForServer(topicName: string): boolean {
  return topicName.startsWith(SYS_PREFIX) && !isBridgeState(topicName)
}

/** The name is one level and not empty. */
function isBridgeState(topicName: string): boolean {
  const nameEnd = topicName.length - BRIDGE_SUFFIX.length
  if (nameEnd <= BRIDGE_PREFIX.length || !topicName.startsWith(BRIDGE_PREFIX)) return false
  return topicName.endsWith(BRIDGE_SUFFIX) && topicName.indexOf('/', BRIDGE_PREFIX.length) === nameEnd
}
