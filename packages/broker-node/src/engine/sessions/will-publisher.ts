import {
  BrokerError,
  type DueWill,
  type InstanceName,
  Message,
  type OpenedSession,
  type WillStore,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import type { EngineServices } from '../ground/services.ts'

/** How often a will that somebody else publishes is asked for. */
const ASK_MIN_MS = 10
const ASK_MAX_MS = 200
/** A claim lapses after 10 s. Beyond this a clock is wrong, and the client has waited long enough. */
const ASK_TOTAL_MS = 12_000

/** What the publication of wills works with. */
export interface WillPublisherParts {
  readonly services: Pick<EngineServices, 'counters' | 'door' | 'hooks' | 'logger' | 'nowMs'> & {
    readonly store: WillStore
  }
  readonly publisher: {
    /** Publishes a message of the server itself. @returns false when the store did not take it */
    publish(instance: InstanceName, message: Message): Promise<boolean>
  }
}

/** A client whose CONNACK waits for wills of its earlier connections. */
export interface WaitingClient {
  readonly instance: InstanceName
  readonly clientId: string
  /** True when DISCONNECT had arrived on the displaced connection: its will is not wanted. v5 [MQTT-3.14.4-3] */
  readonly saidGoodbye: Promise<boolean>
  /** False as soon as the client has gone away: then what others publish is not waited for. */
  isThere(): boolean
}

/** Publishes wills that are due: those that a sweep finds, and those that have to be out before a CONNACK. */
export class WillPublisher {
  private readonly parts: WillPublisherParts

  constructor(parts: WillPublisherParts) {
    this.parts = parts
  }

  /**
   * Publishes a claimed will like a message of its client, and confirms it; one that may not be published any more is
   * only forgotten.
   * @returns false when the store did not take it: then it becomes due again, better late than lost
   */
  async publish(due: DueWill): Promise<boolean> {
    const { services, publisher } = this.parts
    if (!services.door.wills.mayFire(due)) return this.drop(due)
    const { message, messageExpirySeconds } = due.will
    const expiresAtMs = messageExpirySeconds < 0 ? 0 : services.nowMs() + messageExpirySeconds * 1000
    const isStored = await publisher.publish(due.instance, new Message({ ...message, expiresAtMs }))
    if (!isStored) return false
    services.counters.willsPublished++
    void services.hooks.published(undefined, message)
    await this.confirm(due)
    return true
  }

  private async drop(due: DueWill): Promise<true> {
    const { counters, logger } = this.parts.services
    const { clientId, instance, will } = due
    counters.drop(DropReason.publishDenied)
    const fields = { event: 'will.denied', instance, clientId, username: will.owner?.username }
    logger.info(fields, 'a will is not published: its client may not write to that topic any more')
    await this.confirm(due)
    return true
  }

  /**
   * Resolves when no will of an earlier connection can follow what the new one publishes: they are stored, or turned
   * out not to be wanted. v5 [MQTT-3.1.2-8], v3.1.1 [MQTT-3.1.2-8].
   *
   * @throws BrokerError `MIDGE_STORE_UNAVAILABLE` when the store does not take a will: CONNACK may not be sent
   */
  async settle(
    opened: Pick<OpenedSession, 'claimedWills' | 'displacedWill' | 'dueWills'>,
    client: WaitingClient,
  ): Promise<void> {
    const { displacedWill } = opened
    const earlier = opened.claimedWills.map(id => this.waitFor(id, client))
    for (const due of opened.dueWills) earlier.push(this.publishForSure(due))
    await Promise.all(earlier)
    if (displacedWill === undefined) return
    if (await client.saidGoodbye) await this.confirm(displacedWill)
    else await this.publishForSure(displacedWill)
  }

  private async publishForSure(due: DueWill): Promise<void> {
    if (await this.publish(due)) return
    throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'a will of an earlier connection could not be stored')
  }

  /** Waits until a will is confirmed; publishes it when its claimant has died. */
  private async waitFor(id: string, client: WaitingClient): Promise<void> {
    const { store, nowMs } = this.parts.services
    let askedMs = 0
    for (
      let waitMs = ASK_MIN_MS;
      client.isThere() && askedMs < ASK_TOTAL_MS;
      waitMs = Math.min(2 * waitMs, ASK_MAX_MS)
    ) {
      await new Promise(resolve => setTimeout(resolve, waitMs))
      askedMs += waitMs
      const will = await store.claimWill(client.instance, client.clientId, id, nowMs())
      if (will === 'claimed') continue
      if (will !== 'gone') await this.publishForSure(will)
      return
    }
  }

  private confirm(due: DueWill): Promise<void> {
    return this.parts.services.store.confirmWill(due.instance, due.clientId, due.id)
  }
}
