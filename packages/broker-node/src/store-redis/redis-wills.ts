import { type DueWill, decodeWill, type InstanceName } from '@midge/protocol-core'
import { CLAIM_MS } from './group-jobs.ts'
import { PARTITION_COUNT } from './hash-tag.ts'
import type { RedisLink } from './redis-link.ts'
import { toBuffer, toList, toNumber } from './replies.ts'
import { DueKind, namesOf, type StoreKeys } from './store-keys.ts'

/** Wills that one call forgets. */
const DISCARDED_AT_ONCE = 500

/** Whose will it is, and which. */
export interface WillPlace {
  instance: InstanceName
  clientId: string
  id: string
}

/** Wills of connections that have ended; see {@link WillStore}. */
export class RedisWills {
  private readonly link: RedisLink
  private readonly keys: StoreKeys

  constructor(link: RedisLink, keys: StoreKeys) {
    this.link = link
    this.keys = keys
  }

  async claim({ instance, clientId, id }: WillPlace, nowMs: number): Promise<DueWill | 'claimed' | 'gone'> {
    const { partition } = this.keys.place(instance, clientId)
    const reply = await this.link.one({
      script: 'claim-due-3',
      keys: [this.keys.due(partition), this.keys.wills(partition), this.keys.jobs(partition)],
      args: [nowMs, nowMs + CLAIM_MS, `${DueKind.will}${id}`],
    })
    const [value] = toList(reply)
    if (value === null) return 'gone'
    const encoded = toBuffer(value)
    return encoded.length === 0 ? 'claimed' : toWill(id, encoded)
  }

  async confirm({ instance, clientId, id }: WillPlace): Promise<void> {
    const { partition } = this.keys.place(instance, clientId)
    await this.link.one({
      script: 'confirm-due-2',
      keys: [this.keys.due(partition), this.keys.wills(partition)],
      args: [`${DueKind.will}${id}`],
    })
  }

  /** One partition after the other, in slices: others are served in between. */
  async discard(instance: InstanceName): Promise<void> {
    const args = [`${encodeURIComponent(instance)}:`, DISCARDED_AT_ONCE]
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      const keys = [this.keys.due(partition), this.keys.wills(partition)]
      let count: number
      do count = toNumber(await this.link.one({ script: 'discard-wills-2', keys, args }))
      while (count === DISCARDED_AT_ONCE)
    }
  }
}

/** @param id - `<session>:<epoch>` */
export function toWill(id: string, encoded: Buffer): DueWill {
  const { instance, name: clientId } = namesOf(id.slice(0, id.lastIndexOf(':')))
  return { id, instance, clientId, will: decodeWill(encoded) }
}
