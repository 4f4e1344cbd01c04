import { BrokerError, checkTopicFilter, checkTopicName, DEFAULT_INSTANCE, parseShare } from '@midge/protocol-core'
import type { AedesPublishPacket } from 'aedes'
import type { BrokerCore } from '../broker-core.ts'
import { everythingOf, ProgramSubscriber } from './program-subscriber.ts'
import { type AedesPublishInput, NO_ERROR, toAedesPublish, toMessage } from './translate.ts'

/** What a program subscribes with; `done` has nothing to wait for it here. */
export type Deliver = (packet: AedesPublishPacket, done: () => void) => void
type Done = (error?: Error) => void

/** One `broker.subscribe` of the program. */
interface Registration {
  readonly deliver: Deliver
  readonly subscriber: ProgramSubscriber
}

/**
 * `broker.subscribe`, `broker.unsubscribe` and `broker.mq`: what the program itself gets and sends.
 *
 * A subscription is a place in the router like that of a client, announced to the other nodes as a route, so that it
 * hears what is published on any of them, and costs nothing where nobody subscribes. ADR 0015.
 */
export class MessageQueue {
  private readonly core: BrokerCore
  private readonly registrations = new Map<string, Registration[]>()

  constructor(core: BrokerCore) {
    this.core = core
  }

  /**
   * Calls `deliver` with every message of the filter that is published on any node, once `done` has been called: other
   * nodes know of it by then. Every call is a subscription of its own.
   */
  on(filter: string, deliver: Deliver, done: Done = ignore): this {
    const problem = this.problemOf(filter)
    if (problem !== undefined) {
      done(problem)
      return this
    }
    const subscriber = this.subscriberFor(deliver)
    const others = this.registrations.get(filter)
    if (others === undefined) this.registrations.set(filter, [{ deliver, subscriber }])
    else others.push({ deliver, subscriber })
    this.core.routers.of(DEFAULT_INSTANCE).addSubscriber(subscriber, everythingOf(filter))
    this.settle(filter, done)
    return this
  }

  /** Takes one subscription with this function back; without any it only calls `done`. */
  removeListener(filter: string, deliver: Deliver, done: Done = ignore): this {
    const registrations = this.registrations.get(filter) ?? []
    const at = registrations.findIndex(registration => registration.deliver === deliver)
    const [registration] = at < 0 ? [] : registrations.splice(at, 1)
    if (registration === undefined) {
      setImmediate(done)
      return this
    }
    if (registrations.length === 0) this.registrations.delete(filter)
    this.core.routers.of(DEFAULT_INSTANCE).removeSubscriber(registration.subscriber, filter)
    this.settle(filter, done)
    return this
  }

  /** Sends to whoever is there now, on every node, at QoS 0: nothing is kept for sessions that are away, or retained. */
  emit(packet: AedesPublishInput, done: Done = ignore): this {
    if (checkTopicName(packet.topic, this.core.services.limits.topicLevelsMax) !== 0)
      done(new RangeError('not a topic name'))
    else {
      const message = toMessage({ ...packet, qos: 0, retain: false })
      this.core.publisher.publish(DEFAULT_INSTANCE, message).then(() => done(NO_ERROR), done)
    }
    return this
  }

  /** @throws BrokerError always: it lives and ends with its broker */
  close(): never {
    throw new BrokerError('MIDGE_LIBRARY_UNSUPPORTED', 'mq.close(): broker.close() ends it too')
  }

  private subscriberFor(deliver: Deliver): ProgramSubscriber {
    return new ProgramSubscriber(message => {
      try {
        // Aedes' own counters of a packet are not there: only its duplicate filter reads them.
        deliver(toAedesPublish(message) as AedesPublishPacket, ignore)
      } catch (error) {
        const { logger } = this.core.services
        logger.error({ event: 'connection.bug', err: error }, 'a function given to broker.subscribe has thrown')
      }
    })
  }

  private settle(filter: string, done: Done): void {
    this.core.routers.announce(DEFAULT_INSTANCE, filter)
    this.core.services.directory.settled().then(() => done(NO_ERROR), done)
  }

  private problemOf(filter: string): Error | undefined {
    if (parseShare(filter) !== undefined) {
      return new BrokerError('MIDGE_LIBRARY_UNSUPPORTED', 'broker.subscribe() takes no shared subscription')
    }
    const isFilter = checkTopicFilter(filter, this.core.services.limits.topicLevelsMax) === 0
    return isFilter ? undefined : new RangeError('not a topic filter')
  }
}

function ignore(): void {}
