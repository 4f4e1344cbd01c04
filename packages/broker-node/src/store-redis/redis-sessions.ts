import {
  type CloseRequest,
  type DueWill,
  decodeSubscription,
  encodeSubscription,
  encodeWill,
  type OpenedSession,
  type OpenRequest,
  type StoredSubscription,
  type Subscription,
} from '@midge/protocol-core'
import { asBuffer } from './buffer-view.ts'
import { CLAIM_MS, type GroupJobs } from './group-jobs.ts'
import { PARTITION_COUNT } from './hash-tag.ts'
import type { RedisLink, StoreCall } from './redis-link.ts'
import { toWill } from './redis-wills.ts'
import { toBuffer, toList, toNumber, toText } from './replies.ts'
import { SessionRoom } from './session-room.ts'
import { namesOf, type Place, type StoreKeys } from './store-keys.ts'

const PAGE_COUNT = 200

/** What a script that may end a session answers. */
export interface Ending {
  /** False when there was nothing to do. */
  done: boolean
  subscriptions: Subscription[]
}

/** Session records and stored subscriptions. */
export class RedisSessions {
  private readonly link: RedisLink
  private readonly keys: StoreKeys
  private readonly jobs: GroupJobs
  private readonly room: SessionRoom

  constructor(link: RedisLink, keys: StoreKeys, jobs: GroupJobs) {
    this.link = link
    this.keys = keys
    this.jobs = jobs
    this.room = new SessionRoom(link, keys)
  }

  async open(request: OpenRequest): Promise<OpenedSession> {
    const place = this.keys.place(request.instance, request.clientId)
    const { partition } = place
    const { will, storedSessionsMax } = request
    if (storedSessionsMax !== undefined) await this.room.take(request, storedSessionsMax)
    const reply = toList(
      await this.link.one({
        script: 'open-session-12',
        keys: [
          ...this.endKeys(place),
          this.keys.epoch(partition),
          this.keys.owners(partition),
          this.keys.stored(partition),
        ],
        args: [
          place.id,
          encodeURIComponent(request.nodeId),
          request.cleanStart ? 1 : 0,
          request.sessionExpirySeconds,
          request.nowMs,
          request.nowMs + CLAIM_MS,
          will === undefined ? '' : asBuffer(encodeWill(will)),
          will?.willDelaySeconds ?? 0,
          ownerText(request.username),
        ],
      }),
    )
    const [epoch, present, head, tail, previousNode, previousEpoch, subscriptions, ended, packetIds, job, sent] = reply
    const [displacedWill, dueWills, claimedWills] = reply.slice(11)
    const previousNodeId = decodeURIComponent(toText(previousNode))
    const previousId = `${place.id}:${toNumber(previousEpoch)}`
    const jobText = toText(job)
    // Before the caller may look at what the session still holds.
    if (jobText !== '') await this.jobs.run(partition, previousId, jobText)
    return {
      epoch: toNumber(epoch),
      sessionPresent: present === 1,
      subscriptions: toSubscriptions(subscriptions),
      headSeq: toNumber(head),
      tailSeq: toNumber(tail),
      sentSeq: toNumber(sent),
      inboundPacketIds: toList(packetIds).map(toNumber),
      previous: previousNodeId === '' ? undefined : { nodeId: previousNodeId, epoch: toNumber(previousEpoch) },
      displacedWill: toWills([Buffer.from(previousId), displacedWill])[0],
      dueWills: toWills(toList(dueWills)),
      claimedWills: toList(claimedWills).map(toText),
      endedSubscriptions: toSubscriptions(ended),
    }
  }

  async close(request: CloseRequest): Promise<Subscription[]> {
    const place = this.keys.place(request.instance, request.clientId)
    const call = this.closeCall(place, [
      place.id,
      request.epoch,
      '',
      request.sessionExpirySeconds,
      request.will,
      request.nowMs,
      request.nowMs + CLAIM_MS,
      request.sentSeq,
      ...request.ackedAhead,
    ])
    return (await this.finish(place, await this.link.one(call))).subscriptions
  }

  /** The call that ends the connection of a session to a dead node. */
  reapCall(place: Place, nodeId: string, nowMs: number): StoreCall {
    return this.closeCall(place, [place.id, '', encodeURIComponent(nodeId), '', 'fire', nowMs, nowMs + CLAIM_MS, ''])
  }

  /** The call that ends a session whose expiry has passed. */
  expireCall(place: Place, nowMs: number): StoreCall {
    return {
      script: 'expire-session-10',
      keys: [...this.endKeys(place), this.keys.stored(place.partition)],
      args: [place.id, nowMs, nowMs + CLAIM_MS],
    }
  }

  /** Reads the reply of a script that may have ended a session and does the group job it left. */
  async finish(place: Place, reply: unknown): Promise<Ending> {
    const [done, subscriptions, job, epoch] = toList(reply)
    if (done !== 1) return { done: false, subscriptions: [] }
    this.room.mayHaveEnded(place)
    const jobText = toText(job)
    if (jobText !== '') await this.jobs.attempt(place.partition, `${place.id}:${toNumber(epoch)}`, jobText)
    return { done: true, subscriptions: toSubscriptions(subscriptions) }
  }

  async saveSubscriptions(place: Place, epoch: number, subscriptions: Subscription[]): Promise<void> {
    if (subscriptions.length === 0) return
    const { record, subscriptions: table } = this.keys.session(place)
    await this.link.one({
      script: 'save-subscriptions-3',
      keys: [record, table, this.keys.stored(place.partition)],
      args: [place.id, epoch, ...subscriptions.flatMap(one => [one.topicFilter, asBuffer(encodeSubscription(one))])],
    })
  }

  async removeSubscriptions(place: Place, epoch: number, topicFilters: string[]): Promise<void> {
    if (topicFilters.length === 0) return
    const { record, subscriptions: table } = this.keys.session(place)
    await this.link.one({
      script: 'remove-subscriptions-3',
      keys: [record, table, this.keys.stored(place.partition)],
      args: [place.id, epoch, ...topicFilters],
    })
  }

  async *listSubscriptions(): AsyncGenerator<StoredSubscription[]> {
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      let cursor = '0'
      do {
        const reply = await this.link.one({
          command: 'sscan',
          args: [this.keys.stored(partition), cursor, 'COUNT', PAGE_COUNT],
        })
        const [next, ids] = toList(reply)
        cursor = toText(next)
        const page = await this.readSubscriptions(partition, toList(ids).map(toText))
        if (page.length > 0) yield page
      } while (cursor !== '0')
    }
  }

  private async readSubscriptions(partition: number, ids: string[]): Promise<StoredSubscription[]> {
    const replies = await this.link.all(
      ids.map(id => ({ command: 'hvals', args: [this.keys.session({ partition, id }).subscriptions] })),
    )
    return ids.flatMap((id, i) => {
      const { instance, name: clientId } = namesOf(id)
      return toSubscriptions(replies[i]).map(subscription => ({ instance, clientId, subscription }))
    })
  }

  /** Keys 1 to 9 of the scripts that include `session.lua`. */
  private endKeys(place: Place): string[] {
    const session = this.keys.session(place)
    const { partition } = place
    return [
      session.record,
      session.subscriptions,
      session.queue,
      session.inbound,
      session.released,
      session.groups,
      this.keys.due(partition),
      this.keys.wills(partition),
      this.keys.jobs(partition),
    ]
  }

  private closeCall(place: Place, args: (string | number)[]): StoreCall {
    const { partition } = place
    return {
      script: 'close-session-11',
      keys: [...this.endKeys(place), this.keys.owners(partition), this.keys.stored(partition)],
      args,
    }
  }
}

/** Field `by` of a session: no name of a user is the text that stands for none. */
function ownerText(username: string | undefined): string {
  return username === undefined ? 'anonymous' : `user:${username}`
}

function toSubscriptions(reply: unknown): Subscription[] {
  return toList(reply).map(value => decodeSubscription(toBuffer(value)))
}

/** @param pairs - id, encoded will, and so on; an empty will is none */
function toWills(pairs: unknown[]): DueWill[] {
  const wills: DueWill[] = []
  for (let i = 0; i < pairs.length; i += 2) {
    const encoded = toBuffer(pairs[i + 1])
    if (encoded.length > 0) wills.push(toWill(toText(pairs[i]), encoded))
  }
  return wills
}
