import { BrokerError, type InstanceName, type OpenRequest } from '@midge/protocol-core'
import type { RedisLink } from './redis-link.ts'
import { toList, toNumber, toText } from './replies.ts'
import { namesOf, type Place, type StoreKeys } from './store-keys.ts'

/** Sessions that were counted within this time may be on their way into the store. */
const YOUNG_MS = 5_000
/** A full instance is looked through at most this often, by each node. */
const LOOK_EVERY_MS = 1_000
const PAGE_COUNT = 500

/**
 * How many sessions of an instance may outlive their connection. They lie in all partitions, so they are counted by name
 * in one place: before a session is made, and what has ended is found out when there is no room.
 */
export class SessionRoom {
  private readonly link: RedisLink
  private readonly keys: StoreKeys
  /** When an instance was last looked through; only of those with a limit. */
  private readonly lookedAtMs = new Map<InstanceName, number>()

  constructor(link: RedisLink, keys: StoreKeys) {
    this.link = link
    this.keys = keys
  }

  /** @throws BrokerError `MIDGE_PLAN_LIMIT` when there is no room for a session that does not exist */
  async take({ instance, clientId, nowMs }: OpenRequest, max: number): Promise<void> {
    if (!this.lookedAtMs.has(instance)) this.lookedAtMs.set(instance, Number.NEGATIVE_INFINITY)
    const call = { script: 'take-session-1', keys: [this.keys.sessionRoom(instance)], args: [clientId, max, nowMs] }
    if (await this.isTaken(call)) return
    const [exists] = await this.areStored(instance, [clientId])
    if (exists === true) return
    if ((await this.forgetEnded(instance, nowMs)) && (await this.isTaken(call))) return
    throw new BrokerError('MIDGE_PLAN_LIMIT', `${max} sessions are stored already`)
  }

  /** A session of an instance with a limit is not to keep another one out for longer than it has to. */
  mayHaveEnded({ id }: Place): void {
    const { instance, name } = namesOf(id)
    if (!this.lookedAtMs.has(instance)) return
    // One that is lost is found out when there is no room.
    void this.link.run([{ command: 'zrem', args: [this.keys.sessionRoom(instance), name] }])
  }

  private async isTaken(call: { script: string; keys: string[]; args: (string | number)[] }): Promise<boolean> {
    return toNumber(await this.link.one({ ...call, script: 'take-session-1' })) === 1
  }

  /** @returns true when there may be room now */
  private async forgetEnded(instance: InstanceName, nowMs: number): Promise<boolean> {
    const atMs = performance.now()
    if (atMs - (this.lookedAtMs.get(instance) ?? 0) < LOOK_EVERY_MS) return false
    this.lookedAtMs.set(instance, atMs)
    const key = this.keys.sessionRoom(instance)
    const args = [key, '-inf', nowMs - YOUNG_MS]
    const names = toList(await this.link.one({ command: 'zrangebyscore', args })).map(toText)
    let count = 0
    for (let at = 0; at < names.length; at += PAGE_COUNT) {
      const page = names.slice(at, at + PAGE_COUNT)
      const stored = await this.areStored(instance, page)
      const ended = page.filter((_, i) => stored[i] !== true)
      if (ended.length > 0) await this.link.one({ command: 'zrem', args: [key, ...ended] })
      count += ended.length
    }
    return count > 0
  }

  private async areStored(instance: InstanceName, clientIds: readonly string[]): Promise<boolean[]> {
    const replies = await this.link.all(
      clientIds.map(clientId => ({
        command: 'hget',
        args: [this.keys.record(this.keys.place(instance, clientId)), 'exp'],
      })),
    )
    return replies.map(reply => reply !== null && toText(reply) !== '0')
  }
}
