// The way in: finding the end of a frame, taking a PUBLISH apart.
import { decodePublish, PublishView, scanFrame } from '@midge/protocol-core'
import { frameLayout, publishFrames, topicName } from '../load/wire.ts'
import { consume, measure } from './measure.ts'

const FRAMES = 800
const PAYLOAD_BYTES = 64

/** Prints the cost of a frame at QoS 0 and 1. */
export function run(): void {
  for (const qos of [0, 1] as const) {
    const chunk = publishFrames(frameLayout(qos, PAYLOAD_BYTES, topicName(1)), [topicName(1)], FRAMES)
    measure(`scanFrame, QoS ${qos}, 64-byte payload`, count => {
      let at = 0
      for (let i = 0; i < count; i++) {
        const scan = scanFrame(chunk, at, chunk.length)
        at += (scan & 7) + (scan >>> 3)
        if (at === chunk.length) at = 0
      }
      consume(at)
    })
    const view = new PublishView()
    measure(`scanFrame + decodePublish, QoS ${qos}, 64-byte payload`, count => {
      let at = 0
      for (let i = 0; i < count; i++) {
        const scan = scanFrame(chunk, at, chunk.length)
        const bodyStart = at + (scan & 7)
        const bodyEnd = bodyStart + (scan >>> 3)
        consume(decodePublish(view, chunk[at] ?? 0, chunk, bodyStart, bodyEnd, 4) + view.payloadStart)
        at = bodyEnd === chunk.length ? 0 : bodyEnd
      }
    })
  }
}
