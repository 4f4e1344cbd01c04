import type { InstanceName, SessionPage, SessionRecordView } from '@midge/protocol-core'
import { PARTITION_COUNT } from './hash-tag.ts'
import type { RedisLink, StoreCall } from './redis-link.ts'
import { toList, toNumber, toText } from './replies.ts'
import { namesOf, type Place, type StoreKeys } from './store-keys.ts'

/** Partitions that are looked at in one round trip. */
const PARTITIONS_AT_ONCE = 8
const FIELDS = ['ep', 'node', 'exp', 'h', 't', 'b', 'by']
/** Replies that make up one session. */
const CALLS_PER_SESSION = 3

/** Sessions as somebody sees them who does not own them. */
export class SessionList {
  private readonly link: RedisLink
  private readonly keys: StoreKeys

  constructor(link: RedisLink, keys: StoreKeys) {
    this.link = link
    this.keys = keys
  }

  async find(place: Place): Promise<SessionRecordView | undefined> {
    const [found] = await this.read([place])
    return found
  }

  /** In the order of partitions, and of ids in each. */
  async page(instance: InstanceName, cursor: string | undefined, countMax: number): Promise<SessionPage> {
    const start = readCursor(cursor)
    const places: Place[] = []
    let { partition } = start
    // The first one alone: where there are many sessions, it has enough.
    let width = 1
    while (places.length < countMax && partition < PARTITION_COUNT) {
      const end = Math.min(partition + width, PARTITION_COUNT)
      const after = partition === start.partition ? start.after : ''
      places.push(...(await this.placesIn(instance, { partition, end, after, countMax })))
      partition = end
      width = PARTITIONS_AT_ONCE
    }
    const page = places.slice(0, countMax)
    const last = page.at(-1)
    const sessions = (await this.read(page)).filter(({ expirySeconds }) => expirySeconds > 0)
    const isOver = last === undefined || (partition >= PARTITION_COUNT && places.length < countMax)
    return { sessions, cursor: isOver ? undefined : `${last.partition}:${last.id}` }
  }

  private async placesIn(
    instance: InstanceName,
    { partition, end, after, countMax }: { partition: number; end: number; after: string; countMax: number },
  ): Promise<Place[]> {
    const partitions = Array.from({ length: end - partition }, (_, index) => partition + index)
    const start = `${encodeURIComponent(instance)}:`
    const replies = await this.link.all(
      partitions.map(
        (one): StoreCall => ({
          script: 'list-sessions-3',
          keys: [this.keys.owners(one), this.keys.due(one), this.keys.stored(one)],
          args: [start, after, countMax],
        }),
      ),
    )
    return partitions.flatMap((one, index) => toList(replies[index]).map(id => ({ partition: one, id: toText(id) })))
  }

  private async read(places: readonly Place[]): Promise<SessionRecordView[]> {
    const calls = places.flatMap((place): StoreCall[] => {
      const { record, subscriptions, inbound } = this.keys.session(place)
      return [
        { command: 'hmget', args: [record, ...FIELDS] },
        { command: 'hlen', args: [subscriptions] },
        { command: 'hlen', args: [inbound] },
      ]
    })
    const replies = await this.link.all(calls)
    return places.flatMap(({ id }, index) => {
      const [record, subscriptions, inbound] = replies.slice(index * CALLS_PER_SESSION, (index + 1) * CALLS_PER_SESSION)
      const [epoch, node, expiry, head, tail, bytes, owner] = toList(record)
      if (epoch === null) return []
      const nodeId = decodeURIComponent(toText(node))
      return [
        {
          clientId: namesOf(id).name,
          owner: owner === null ? undefined : { username: ownerOf(toText(owner)) },
          nodeId: nodeId === '' ? undefined : nodeId,
          epoch: toNumber(epoch),
          expirySeconds: toNumber(expiry),
          headSeq: toNumber(head),
          tailSeq: toNumber(tail),
          queueBytes: bytes === null ? 0 : toNumber(bytes),
          subscriptionCount: toNumber(subscriptions),
          inboundCount: toNumber(inbound),
        },
      ]
    })
  }
}

function readCursor(cursor = '0:'): { partition: number; after: string } {
  const colon = cursor.indexOf(':')
  const partition = Number(cursor.slice(0, colon))
  const isPartition = Number.isInteger(partition) && partition >= 0 && partition < PARTITION_COUNT
  return isPartition ? { partition, after: cursor.slice(colon + 1) } : { partition: PARTITION_COUNT, after: '' }
}

/** `anonymous`, or `user:` and the name. */
function ownerOf(text: string): string | undefined {
  return text.startsWith('user:') ? text.slice('user:'.length) : undefined
}
