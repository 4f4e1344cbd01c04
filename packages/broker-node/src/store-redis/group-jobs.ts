import { BrokerError } from '@midge/protocol-core'
import type { RedisGroups } from './redis-groups.ts'
import type { RedisLink } from './redis-link.ts'
import { DueKind, namesOf, type StoreKeys } from './store-keys.ts'

/** How long a claimed will or group job belongs to the node that claimed it. */
export const CLAIM_MS = 10_000

/**
 * Messages of share groups that a session gives back. Groups lie in other slots than the session, so the script that
 * ends a connection writes the job down and its caller does it; whoever sweeps does it when that caller has died.
 */
export class GroupJobs {
  private readonly link: RedisLink
  private readonly keys: StoreKeys
  private readonly groups: RedisGroups

  constructor(link: RedisLink, keys: StoreKeys, groups: RedisGroups) {
    this.link = link
    this.keys = keys
    this.groups = groups
  }

  /**
   * Does one job: `job` is what becomes of QoS 2 and the group names, one per line.
   * @param id - `<session>:<epoch>`
   */
  async run(partition: number, id: string, job: string): Promise<void> {
    const [qos2, ...groupNames] = job.split('\n')
    const colon = id.lastIndexOf(':')
    const { instance, name: clientId } = namesOf(id.slice(0, colon))
    const calls = groupNames.map(group =>
      this.groups.returnCall({
        instance,
        group: decodeURIComponent(group),
        clientId,
        // v5 [MQTT-4.8.2-5]: what was on its way at QoS 2 when a session ends goes to no other member.
        qos2: qos2 === 'keep' ? 'keep' : 'drop',
        epoch: id.slice(colon + 1),
      }),
    )
    await this.link.all(calls)
    await this.link.one({
      script: 'confirm-due-2',
      keys: [this.keys.due(partition), this.keys.jobs(partition)],
      args: [`${DueKind.groups}${id}`],
    })
  }

  /** As {@link run}; a job that could not be done stays due and is done by a sweep. */
  async attempt(partition: number, id: string, job: string): Promise<void> {
    try {
      await this.run(partition, id, job)
    } catch (error) {
      // The caller has an outcome to report that nobody would learn of otherwise.
      if (!(error instanceof BrokerError && error.retryable)) throw error
    }
  }
}
