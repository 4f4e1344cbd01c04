import { checkTopicName, decodeForwardableProperties, encodeUtf8, Message, type Qos } from '@midge/protocol-core'

/** A message in the lines of an export; bytes are base64. */
export interface MessageLine {
  topic: string
  qos: Qos
  payload: string
  properties: string
  /** 0 for none. */
  expiresAtMs: number
}

/** @returns all that {@link messageOfLine} needs */
export function lineOfMessage({ topicName, qos, payload, properties, expiresAtMs }: Message): MessageLine {
  return { topic: topicName, qos, payload: base64(payload), properties: base64(properties), expiresAtMs }
}

/** @returns `undefined` for a line that cannot be one */
export function messageOfLine(
  line: Record<string, unknown>,
  { topicLevelsMax, retain }: { topicLevelsMax: number; retain: boolean },
): Message | undefined {
  const { topic, qos, payload, properties, expiresAtMs } = line
  if (typeof topic !== 'string' || typeof payload !== 'string' || typeof properties !== 'string') return undefined
  if (checkTopicName(topic, topicLevelsMax) !== 0) return undefined
  const block = Buffer.from(properties, 'base64')
  if (!isForwardable(block)) return undefined
  return new Message({
    ...{ topicName: topic, topicBytes: encodeUtf8(topic), payload: Buffer.from(payload, 'base64') },
    ...{ qos: qos === 1 || qos === 2 ? qos : 0, retain, properties: block, publisherId: '' },
    expiresAtMs: typeof expiresAtMs === 'number' ? expiresAtMs : 0,
  })
}

/** @returns `undefined` for a line that is no JSON object */
export function objectOfLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** The block goes to clients as it is: one that is none would break their connections. */
function isForwardable(block: Uint8Array): boolean {
  try {
    decodeForwardableProperties(block)
    return true
  } catch {
    return false
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
