import { decodeQueueEntry, type QueueEntry } from '@midge/protocol-core'
import type { RedisLink } from './redis-link.ts'
import { toBuffer, toList, toNumber } from './replies.ts'
import type { Place, StoreKeys } from './store-keys.ts'

/** About how many bytes one read of a queue brings. */
const READ_BYTES_MAX = 256 * 1024

/** Session queues as their owner sees them. */
export class RedisQueues {
  private readonly link: RedisLink
  private readonly keys: StoreKeys

  constructor(link: RedisLink, keys: StoreKeys) {
    this.link = link
    this.keys = keys
  }

  async read(place: Place, epoch: number, fromSeq: number, countMax: number): Promise<QueueEntry[]> {
    const { record, queue, released } = this.keys.session(place)
    let from = fromSeq
    for (;;) {
      const reply = await this.link.one({
        script: 'read-queue-3',
        keys: [record, queue, released],
        args: [epoch, from, countMax, READ_BYTES_MAX],
      })
      const [first, tail, values, flags, sent] = toList(reply)
      const entries = toList(values)
      const nowMs = Date.now()
      const sentSeq = toNumber(sent)
      const found = toEntries(toNumber(first), entries, toList(flags)).filter(
        // A delivery that has begun is completed, expired or not. v5 [MQTT-4.3.3-7].
        ({ seq, released, message: { expiresAtMs } }) =>
          released || seq <= sentSeq || expiresAtMs === 0 || expiresAtMs > nowMs,
      )
      from = toNumber(first) + entries.length
      // An empty answer means that there is nothing more, so a run of expired entries may not look like one.
      if (found.length > 0 || entries.length === 0 || from > toNumber(tail)) return found
    }
  }

  async tailSeq(place: Place): Promise<number> {
    const reply = await this.link.one({ command: 'hget', args: [this.keys.record(place), 't'] })
    return reply === null ? 0 : toNumber(reply)
  }

  async ack(place: Place, epoch: number, upToSeq: number): Promise<void> {
    const { record, queue, released } = this.keys.session(place)
    await this.link.one({ script: 'ack-queue-3', keys: [record, queue, released], args: [epoch, upToSeq] })
  }

  async release(place: Place, epoch: number, seqs: number[]): Promise<void> {
    const { record, released } = this.keys.session(place)
    await this.link.one({ script: 'release-queue-2', keys: [record, released], args: [epoch, ...seqs] })
  }

  async forgetInbound(place: Place, epoch: number, packetId: number): Promise<void> {
    const { record, inbound } = this.keys.session(place)
    await this.link.one({ script: 'forget-inbound-2', keys: [record, inbound], args: [epoch, packetId] })
  }
}

function toEntries(first: number, values: unknown[], flags: unknown[]): QueueEntry[] {
  return values.flatMap((value, i): QueueEntry[] => {
    const bytes = toBuffer(value)
    // Acknowledged while an older entry was not.
    if (bytes.length === 0) return []
    const { qos, retain, subscriptionIds, message } = decodeQueueEntry(bytes)
    return [{ seq: first + i, qos, retain, subscriptionIds, released: flags[i] === 1, message }]
  })
}
