// Messages between nodes: into a frame and out of it.
import { EMPTY_BYTES, FrameReader, FrameWriter, Message } from '@midge/protocol-core'
import { topicName } from '../load/wire.ts'
import { consume, measure } from './measure.ts'

const PAYLOAD_BYTES = 64
/** Full frames, as a busy link sends them. */
const FRAME_MESSAGES = 200
const NO_GROUPS: string[] = []

function makeMessage(topic: string): Message {
  return new Message({
    topicName: topic,
    topicBytes: Buffer.from(topic),
    payload: new Uint8Array(PAYLOAD_BYTES),
    qos: 0,
    retain: false,
    properties: EMPTY_BYTES,
    expiresAtMs: 0,
    publisherId: 'bench-pub-1',
  })
}

function writeFrame(writer: FrameWriter, messages: Message[]): Uint8Array {
  for (let i = 0; i < FRAME_MESSAGES; i++) {
    const message = messages[i % messages.length]
    if (message === undefined || !writer.append('default', message, NO_GROUPS)) break
  }
  return writer.take()
}

/** Prints the cost of a message each way, for one topic and for topics in turn. */
export function run(): void {
  for (const topics of [1, 10]) {
    const messages = Array.from({ length: topics }, (_, i) => makeMessage(topicName(i)))
    const writer = new FrameWriter('node-1', 1)
    measure(`FrameWriter, per message, ${topics} topics in turn`, count => {
      for (let i = 0; i < count; i += FRAME_MESSAGES) consume(writeFrame(writer, messages).length)
    })
    const frame = writeFrame(writer, messages)
    const reader = new FrameReader()
    measure(`FrameReader, per message, ${topics} topics in turn`, count => {
      for (let i = 0; i < count; i += FRAME_MESSAGES) {
        reader.open(frame)
        while (reader.next()) consume(reader.message?.payload.length ?? 0)
      }
    })
  }
}
