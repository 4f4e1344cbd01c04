import {
  type CommitItem,
  type CommitResult,
  encodeMessage,
  encodeQueueEntryHeader,
  type InstanceName,
  type Qos,
  type QueueLimits,
} from '@midge/protocol-core'
import { asBuffer } from './buffer-view.ts'
import type { Argument, StoreCall } from './redis-link.ts'
import { toList, toNumber } from './replies.ts'
import { retainedPartition } from './retained.ts'
import type { StoreKeys } from './store-keys.ts'

/** How long a QoS 2 message that may have been committed only in part is remembered: the window of exactly once. */
export const DEDUP_MS = 600_000

/** Bounds of one enqueue call, so that a batch does not keep Redis from everybody else. */
const CALL_TARGETS_MAX = 4096
const CALL_BYTES_MAX = 1024 * 1024

/** What the plan has to know of the store. */
export interface PlanContext {
  keys: StoreKeys
  limits: QueueLimits
  /** Encoded. */
  nodeId: string
  nowMs: number
}

interface EnqueueCall {
  keys: string[]
  limits: QueueLimits
  /** Record key to the number that the script knows the session by. */
  numbers: Map<string, number>
  args: Argument[]
  itemCount: number
  bytes: number
  /** Where each sequence number of the reply belongs. */
  slots: { item: number; target: number }[]
}

interface GroupCall {
  keys: string[]
  limits: QueueLimits
  args: Argument[]
  items: number[]
}

/** One message on its way into queues. */
interface Entry {
  /** Of its item. */
  index: number
  token: string
  bytes: Buffer
  limits: QueueLimits
}

interface RetainedCall {
  keys: string[]
  args: Argument[]
}

/** The calls that store a batch of items: one per partition, group and retained partition, in the order of the items. */
export class CommitPlan {
  private readonly context: PlanContext
  private readonly enqueues: EnqueueCall[] = []
  /** By the limits that hold for them, since those are of the call. */
  private readonly openEnqueues: Map<QueueLimits, Map<number, EnqueueCall>> = new Map()
  private readonly groups: Map<string, GroupCall> = new Map()
  private readonly retained: Map<string, RetainedCall> = new Map()
  /** Dedup tokens by partition, to be forgotten when all is done. */
  private readonly tokens: Map<number, Set<string>> = new Map()

  constructor(context: PlanContext) {
    this.context = context
  }

  /**
   * @param token - names the attempt to commit this QoS 2 message; '' when it may be repeated
   * @param isRetainedFull - there is no room to retain it
   */
  add(item: CommitItem, index: number, { token, isRetainedFull }: { token: string; isRetainedFull: boolean }): void {
    const bytes = asBuffer(encodeMessage(item.message))
    const limits = item.limits?.queue ?? this.context.limits
    this.addSessions(item, { index, token, bytes, limits })
    for (const { group, qos } of item.groups) {
      this.addGroup(item.instance, group, { qos, token, index, bytes, limits })
    }
    if (item.retain && !isRetainedFull) this.addRetained(item, bytes)
  }

  calls(): StoreCall[] {
    const { context } = this
    return [
      ...this.enqueues.map(
        (call): StoreCall => ({
          script: 'enqueue-n',
          keys: call.keys,
          args: [
            context.nodeId,
            context.nowMs,
            context.keys.pokePrefix(),
            call.limits.offlineQueueMessages,
            call.limits.offlineQueueBytes,
            call.limits.onlineQueueMessages,
            call.limits.onlineQueueBytes,
            DEDUP_MS,
            call.itemCount,
            ...call.args,
          ],
        }),
      ),
      ...[...this.groups.values()].map(
        (call): StoreCall => ({
          script: 'append-group-4',
          keys: call.keys,
          args: [
            context.nowMs,
            // A group is fed at the pace of the online and stands in for the offline: the wider bound of both holds.
            Math.max(call.limits.offlineQueueMessages, call.limits.onlineQueueMessages),
            Math.max(call.limits.offlineQueueBytes, call.limits.onlineQueueBytes),
            DEDUP_MS,
            ...call.args,
          ],
        }),
      ),
      ...[...this.retained.values()].map(
        (call): StoreCall => ({ script: 'set-retained-3', keys: call.keys, args: call.args }),
      ),
    ]
  }

  /** The calls that forget the dedup tokens. */
  forgetCalls(): StoreCall[] {
    return [...this.tokens].map(([partition, tokens]) => ({
      script: 'forget-tokens-2',
      keys: this.context.keys.dedup(partition),
      args: [...tokens],
    }))
  }

  /** Enters the replies to {@link calls}, none of which is an error. */
  read(replies: unknown[], results: CommitResult[]): void {
    this.enqueues.forEach((call, i) => {
      const seqs = toList(replies[i])
      call.slots.forEach(({ item, target }, n) => {
        const result = results[item]
        if (result !== undefined) result.seqs[target] = toNumber(seqs[n])
      })
    })
    let at = this.enqueues.length
    for (const call of this.groups.values()) {
      const outcomes = toList(replies[at])
      call.items.forEach((item, n) => {
        const result = results[item]
        if (result !== undefined && toNumber(outcomes[n]) === 0) result.droppedGroups++
      })
      at++
    }
  }

  private addSessions(item: CommitItem, { index, token, bytes, limits }: Entry): void {
    if (item.sessions.length === 0) return
    let open = this.openEnqueues.get(limits)
    if (open === undefined) {
      open = new Map()
      this.openEnqueues.set(limits, open)
    }
    const opened = new Map<EnqueueCall, { count: number; countAt: number }>()
    item.sessions.forEach((target, i) => {
      const place = this.context.keys.place(item.instance, target.clientId)
      let call = open.get(place.partition)
      // An item is never split over two calls of a partition: its dedup token stands for all of it.
      if (call === undefined || (!opened.has(call) && isBig(call))) {
        call = this.newEnqueue(place.partition, limits)
        open.set(place.partition, call)
      }
      let head = opened.get(call)
      if (head === undefined) {
        call.args.push(bytes, token, 0)
        head = { count: 0, countAt: call.args.length - 1 }
        opened.set(call, head)
        call.itemCount++
        call.bytes += bytes.length
        if (token !== '') this.noteToken(place.partition, token)
      }
      const record = this.context.keys.record(place)
      let number = call.numbers.get(record)
      if (number === undefined) {
        number = call.numbers.size + 1
        call.numbers.set(record, number)
        call.keys.push(record, this.context.keys.queue(place))
      }
      call.args.push(number, asBuffer(encodeQueueEntryHeader(target.qos, target.retain, target.subscriptionIds)))
      head.count++
      call.args[head.countAt] = head.count
      call.slots.push({ item: index, target: i })
    })
  }

  private newEnqueue(partition: number, limits: QueueLimits): EnqueueCall {
    const call: EnqueueCall = {
      keys: [...this.context.keys.dedup(partition)],
      limits,
      numbers: new Map(),
      args: [],
      itemCount: 0,
      bytes: 0,
      slots: [],
    }
    this.enqueues.push(call)
    return call
  }

  private addGroup(instance: InstanceName, group: string, entry: Entry & { qos: Qos }): void {
    const { keys } = this.context
    const place = keys.place(instance, group)
    // Sessions and groups of one partition share the table of tokens.
    const token = entry.token === '' ? '' : `${entry.token}.${place.id}`
    if (token !== '') this.noteToken(place.partition, token)
    let call = this.groups.get(place.id)
    if (call === undefined) {
      const { queue, record } = keys.group(place)
      const { limits } = entry
      call = { keys: [...keys.dedup(place.partition), queue, record], limits, args: [], items: [] }
      this.groups.set(place.id, call)
    }
    call.args.push(asBuffer(encodeQueueEntryHeader(entry.qos, false, undefined)), entry.bytes, token)
    call.items.push(entry.index)
  }

  private addRetained(item: CommitItem, bytes: Buffer): void {
    const { instance, message } = item
    const partition = retainedPartition(instance, message.topicName)
    const { values, index } = this.context.keys.retained(partition, instance)
    let call = this.retained.get(values)
    if (call === undefined) {
      const prefix = this.context.keys.retainedMember(instance, '')
      call = { keys: [values, index, this.context.keys.due(partition)], args: [prefix] }
      this.retained.set(values, call)
    }
    // An empty payload removes: v5 [MQTT-3.3.1-6], v3.1.1 [MQTT-3.3.1-10].
    const isRemoval = message.payload.length === 0
    call.args.push(message.topicName, isRemoval ? '' : bytes, message.expiresAtMs)
  }

  private noteToken(partition: number, token: string): void {
    const tokens = this.tokens.get(partition)
    if (tokens === undefined) this.tokens.set(partition, new Set([token]))
    else tokens.add(token)
  }
}

function isBig(call: EnqueueCall): boolean {
  return call.slots.length >= CALL_TARGETS_MAX || call.bytes >= CALL_BYTES_MAX
}
