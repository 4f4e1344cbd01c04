import { decodeQueueEntry, type InstanceName, type TakenEntry } from '@midge/protocol-core'
import { type RedisLink, type StoreCall, toBrokerError } from './redis-link.ts'
import { toBuffer, toList, toNumber } from './replies.ts'
import type { StoreKeys } from './store-keys.ts'

/** One member of a share group. */
export interface Member {
  instance: InstanceName
  group: string
  clientId: string
}

/** What becomes of messages that a member holds at QoS 2, see `return-group-4.lua`. */
export type Qos2Fate = 'keep' | 'return' | 'drop'

/** Queues of share groups, and what their members hold. */
export class RedisGroups {
  private readonly link: RedisLink
  private readonly keys: StoreKeys

  constructor(link: RedisLink, keys: StoreKeys) {
    this.link = link
    this.keys = keys
  }

  /**
   * The session notes the group before the messages are taken, and its epoch is checked again after: whatever is
   * taken is found by the next open or by whoever cleans up after this node, or it is given back here.
   */
  async take(member: Member, epoch: number, packetIds: number[]): Promise<TakenEntry[]> {
    if (packetIds.length === 0) return []
    const { record, queue, members, held } = this.keysOf(member)
    const sessionPlace = this.keys.place(member.instance, member.clientId)
    const session = this.keys.session(sessionPlace)
    const [joined, taken, epochAfter] = await this.link.run([
      {
        script: 'join-group-2',
        keys: [session.record, session.groups],
        args: [epoch, encodeURIComponent(member.group)],
      },
      {
        script: 'take-group-4',
        keys: [queue, record, members, held],
        args: [encodeURIComponent(member.clientId), epoch, Date.now(), ...packetIds],
      },
      { command: 'hget', args: [session.record, 'ep'] },
    ])
    if (taken instanceof Error) throw toBrokerError(taken)
    const isOwner = !(joined instanceof Error) && Buffer.isBuffer(epochAfter) && toNumber(epochAfter) === epoch
    if (!isOwner) {
      await this.link.one(this.returnCall({ ...member, qos2: 'return', epoch: String(epoch) }))
      if (epochAfter instanceof Error) throw toBrokerError(epochAfter)
      throw joined instanceof Error ? toBrokerError(joined) : toBrokerError(new Error('FENCED taken over meanwhile'))
    }
    return toList(taken).map(one => {
      const [seq, packetId, entry] = toList(one)
      return toTaken(seq, packetId, false, entry)
    })
  }

  async held(member: Member, epoch: number): Promise<TakenEntry[]> {
    const record = this.keys.record(this.keys.place(member.instance, member.clientId))
    const [owner, reply] = await this.link.all([
      { command: 'hget', args: [record, 'ep'] },
      { script: 'held-group-1', keys: [this.keysOf(member).held], args: [epoch] },
    ])
    if (owner === null || toNumber(owner) !== epoch) throw toBrokerError(new Error('FENCED taken over meanwhile'))
    const entries = toList(reply).map(one => {
      const [seq, packetId, released, entry] = toList(one)
      return toTaken(seq, packetId, released === 1, entry)
    })
    return entries.sort((a, b) => a.seq - b.seq)
  }

  async ack(member: Member, seqs: number[]): Promise<void> {
    const { record, members, held } = this.keysOf(member)
    await this.link.one({
      script: 'ack-group-3',
      keys: [record, members, held],
      args: [encodeURIComponent(member.clientId), ...seqs],
    })
  }

  async release(member: Member, seqs: number[]): Promise<void> {
    await this.link.one({ script: 'release-group-1', keys: [this.keysOf(member).held], args: seqs })
  }

  async returnAll(member: Member, keepQos2: boolean): Promise<void> {
    await this.link.one(this.returnCall({ ...member, qos2: keepQos2 ? 'keep' : 'return', epoch: '' }))
  }

  /** The call that gives back what a member has taken with `epoch` or before; '' means whenever. */
  returnCall(request: Member & { qos2: Qos2Fate; epoch: string }): StoreCall {
    const { record, queue, members, held } = this.keysOf(request)
    return {
      script: 'return-group-4',
      keys: [queue, record, members, held],
      args: [encodeURIComponent(request.clientId), request.qos2, request.epoch],
    }
  }

  async forget(instance: InstanceName, group: string): Promise<void> {
    const place = this.keys.place(instance, group)
    const { queue, record, members } = this.keys.group(place)
    const holders = toList(await this.link.one({ command: 'smembers', args: [members] }))
    const held = holders.map(holder => this.keys.groupHeld(place, toBuffer(holder).toString('utf8')))
    await this.link.one({ script: 'delete-group-n', keys: [queue, record, members, ...held], args: [] })
  }

  private keysOf(member: Member): { record: string; queue: string; members: string; held: string } {
    const place = this.keys.place(member.instance, member.group)
    return { ...this.keys.group(place), held: this.keys.groupHeld(place, encodeURIComponent(member.clientId)) }
  }
}

function toTaken(seq: unknown, packetId: unknown, released: boolean, entry: unknown): TakenEntry {
  const { qos, message } = decodeQueueEntry(toBuffer(entry))
  return { seq: toNumber(seq), packetId: toNumber(packetId), qos, released, message }
}
