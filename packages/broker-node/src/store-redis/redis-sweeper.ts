import type { SweepResult } from '@midge/protocol-core'
import { CLAIM_MS, type GroupJobs } from './group-jobs.ts'
import { PARTITION_COUNT } from './hash-tag.ts'
import type { RedisLink, StoreCall } from './redis-link.ts'
import type { RedisSessions } from './redis-sessions.ts'
import { toWill } from './redis-wills.ts'
import { toBuffer, toList, toText } from './replies.ts'
import { DueKind, namesOf, type Place, type StoreKeys } from './store-keys.ts'

interface Found {
  partition: number
  member: string
}

/** What is to be done with the reply of a call. */
interface Task {
  call: StoreCall
  settle(reply: unknown): Promise<void> | void
}

/** Does what is due: wills, session expiry, group jobs, retained expiry, and cleaning up after a dead node. */
export class RedisSweeper {
  private readonly link: RedisLink
  private readonly keys: StoreKeys
  private readonly sessions: RedisSessions
  private readonly jobs: GroupJobs

  constructor(link: RedisLink, keys: StoreKeys, sessions: RedisSessions, jobs: GroupJobs) {
    this.link = link
    this.keys = keys
    this.sessions = sessions
    this.jobs = jobs
  }

  async sweep(nowMs: number, countMax: number): Promise<SweepResult> {
    const found = await this.find(countMax, partition => ({
      command: 'zrangebyscore',
      args: [this.keys.due(partition), '-inf', nowMs, 'LIMIT', 0, countMax],
    }))
    const result: SweepResult = { wills: [], expired: [] }
    await this.perform([...this.claimTasks(found, nowMs, result), ...this.expiryTasks(found, nowMs, result)])
    return result
  }

  async reapNode(nodeId: string, nowMs: number, countMax: number): Promise<number> {
    const prefix = `${encodeURIComponent(nodeId)}|`
    const found = await this.find(countMax, partition => ({
      command: 'zrangebylex',
      // '}' follows '|'.
      args: [this.keys.owners(partition), `[${prefix}`, `(${prefix.slice(0, -1)}}`, 'LIMIT', 0, countMax],
    }))
    await this.perform(
      found.map(({ partition, member }) => {
        const place = { partition, id: member.slice(prefix.length) }
        return {
          call: this.sessions.reapCall(place, nodeId, nowMs),
          settle: async reply => {
            await this.sessions.finish(place, reply)
          },
        }
      }),
    )
    return found.length
  }

  /** Asks every partition, from a random one on, so that nodes do not all claim the same. */
  private async find(countMax: number, query: (partition: number) => StoreCall): Promise<Found[]> {
    const start = Math.floor(Math.random() * PARTITION_COUNT)
    const partitions = Array.from({ length: PARTITION_COUNT }, (_, i) => (start + i) % PARTITION_COUNT)
    const replies = await this.link.all(partitions.map(query))
    const found: Found[] = []
    partitions.forEach((partition, i) => {
      for (const member of toList(replies[i])) {
        if (found.length < countMax) found.push({ partition, member: toText(member) })
      }
    })
    return found
  }

  private claimTasks(found: Found[], nowMs: number, result: SweepResult): Task[] {
    const byPartition = new Map<number, string[]>()
    for (const { partition, member } of found) {
      if (member[0] !== DueKind.will && member[0] !== DueKind.groups) continue
      const members = byPartition.get(partition)
      if (members === undefined) byPartition.set(partition, [member])
      else members.push(member)
    }
    return [...byPartition].map(([partition, members]) => ({
      call: {
        script: 'claim-due-3',
        keys: [this.keys.due(partition), this.keys.wills(partition), this.keys.jobs(partition)],
        args: [nowMs, nowMs + CLAIM_MS, ...members],
      },
      settle: async reply => {
        const values = toList(reply)
        for (const [i, member] of members.entries()) {
          if (values[i] === null) continue
          const value = toBuffer(values[i])
          if (value.length === 0) continue
          if (member[0] === DueKind.will) result.wills.push(toWill(member.slice(1), value))
          else await this.jobs.attempt(partition, member.slice(1), value.toString('utf8'))
        }
      },
    }))
  }

  private expiryTasks(found: Found[], nowMs: number, result: SweepResult): Task[] {
    return found.flatMap(({ partition, member }): Task[] => {
      if (member[0] === DueKind.expiry) return [this.expiryTask({ partition, id: member.slice(1) }, nowMs, result)]
      if (member[0] === DueKind.retained) return [this.retainedTask(partition, member, nowMs)]
      return []
    })
  }

  private expiryTask(place: Place, nowMs: number, result: SweepResult): Task {
    return {
      call: this.sessions.expireCall(place, nowMs),
      settle: async reply => {
        const ending = await this.sessions.finish(place, reply)
        if (!ending.done) return
        const { instance, name: clientId } = namesOf(place.id)
        result.expired.push({ instance, clientId, subscriptions: ending.subscriptions })
      },
    }
  }

  private retainedTask(partition: number, member: string, nowMs: number): Task {
    const colon = member.indexOf(':')
    const instance = decodeURIComponent(member.slice(1, colon))
    const { values, index } = this.keys.retained(partition, instance)
    return {
      call: {
        script: 'expire-retained-3',
        keys: [values, index, this.keys.due(partition)],
        args: [member, member.slice(colon + 1), nowMs],
      },
      settle: () => {},
    }
  }

  private async perform(tasks: Task[]): Promise<void> {
    if (tasks.length === 0) return
    const replies = await this.link.run(tasks.map(task => task.call))
    for (const [i, task] of tasks.entries()) {
      // What failed stays due and is found again.
      if (!(replies[i] instanceof Error)) await task.settle(replies[i])
    }
  }
}
