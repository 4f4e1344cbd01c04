import { EMPTY_BYTES, Message, scanFrame } from '@midge/protocol-core'
import type { Connection } from './connection.ts'
import type { TopicEntry } from './inbound-publishes.ts'

/** The messages of a run of plain QoS 0 frames, for subscribers that cannot take the frames as they are. */
export function messagesOfRun(
  from: Connection,
  entry: TopicEntry,
  chunk: Uint8Array,
  start: number,
  end: number,
): Message[] {
  const messages: Message[] = []
  const skip = 2 + entry.bytes.length + (from.version === 5 ? 1 : 0)
  let at = start
  while (at < end) {
    const scan = scanFrame(chunk, at, end)
    const bodyStart = at + (scan & 7)
    const bodyEnd = bodyStart + (scan >>> 3)
    messages.push(
      new Message({
        topicName: entry.name,
        topicBytes: entry.bytes,
        payload: chunk.subarray(bodyStart + skip, bodyEnd),
        qos: 0,
        retain: false,
        properties: EMPTY_BYTES,
        expiresAtMs: 0,
        publisherId: from.clientId,
      }),
    )
    at = bodyEnd
  }
  return messages
}
