import { BlockList, isIP } from 'node:net'
import type { InstanceName } from '@midge/protocol-core'
import { addRange } from '../outbound/address-guard.ts'
import type { Ban } from '../tenancy/model/ban.ts'

/** Who wants to come in. */
export interface BanQuestion {
  address: string
  clientId: string
  username: string | undefined
}

/** What the door asks before anything is worked out for a client. */
export interface BanFinder {
  isBanned(instance: InstanceName, question: BanQuestion): boolean
}

/** The bans of one instance, found by what they ban. */
interface BanIndex {
  usernames: Map<string, Ban[]>
  clientIds: Map<string, Ban[]>
  /** All addresses and ranges together, so that most clients cost one look. */
  addresses: BlockList
  ranges: { range: BlockList; ban: Ban }[]
}

/** Instances whose bans are kept sorted out. */
const INDEXES_MAX = 1000

/** Answers from the bans as they are; whoever changes them says so. */
export class BanBook implements BanFinder {
  private readonly bansOf: (instance: InstanceName) => Iterable<Ban>
  private readonly indexes: Map<InstanceName, BanIndex | undefined> = new Map()
  private readonly nowMs: () => number

  /** @param nowMs - Unix time in milliseconds */
  constructor(bansOf: (instance: InstanceName) => Iterable<Ban>, nowMs: () => number) {
    this.bansOf = bansOf
    this.nowMs = nowMs
  }

  isBanned(instance: InstanceName, { address, clientId, username }: BanQuestion): boolean {
    const index = this.indexOf(instance)
    if (index === undefined) return false
    if (this.isInForce(index.clientIds.get(clientId))) return true
    if (username !== undefined && this.isInForce(index.usernames.get(username))) return true
    return this.isAddressBanned(index, address)
  }

  /** The bans of the instance have changed. */
  changed(instance: InstanceName): void {
    this.indexes.delete(instance)
  }

  private isAddressBanned({ addresses, ranges }: BanIndex, address: string): boolean {
    const plain = address.split('%')[0] ?? ''
    const family = isIP(plain)
    if (family === 0) return false
    const type = family === 4 ? 'ipv4' : 'ipv6'
    if (!addresses.check(plain, type)) return false
    return ranges.some(({ range, ban }) => range.check(plain, type) && this.isInForce([ban]))
  }

  private isInForce(bans: readonly Ban[] | undefined): boolean {
    return bans?.some(({ untilMs }) => untilMs === undefined || untilMs > this.nowMs()) ?? false
  }

  private indexOf(instance: InstanceName): BanIndex | undefined {
    if (this.indexes.has(instance)) return this.indexes.get(instance)
    const index = indexed(this.bansOf(instance))
    if (this.indexes.size >= INDEXES_MAX) this.indexes.clear()
    this.indexes.set(instance, index)
    return index
  }
}

/** @returns `undefined` when nobody is banned, as in most instances */
function indexed(bans: Iterable<Ban>): BanIndex | undefined {
  const index: BanIndex = { usernames: new Map(), clientIds: new Map(), addresses: new BlockList(), ranges: [] }
  let isEmpty = true
  for (const ban of bans) {
    isEmpty = false
    if (ban.kind === 'address') {
      const range = new BlockList()
      if (!addRange(range, ban.value)) continue
      addRange(index.addresses, ban.value)
      index.ranges.push({ range, ban })
    } else {
      const map = ban.kind === 'username' ? index.usernames : index.clientIds
      map.set(ban.value, [...(map.get(ban.value) ?? []), ban])
    }
  }
  return isEmpty ? undefined : index
}
