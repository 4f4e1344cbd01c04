import type { Qos, RouteInterest, Subscription } from '@midge/protocol-core'
import { type DeliveryForm, formOf, formSlot } from '../ground/delivery-form.ts'
import type { Subscriber } from '../ground/subscriber.ts'
import type { ShareGroup } from './share-group.ts'

/** What the overlapping subscriptions of one subscriber make of a message. */
export class DeliveryOptions {
  /** Highest granted QoS of the matching subscriptions. v5 [MQTT-3.3.4-2], v3.1.1 [MQTT-3.3.5-1]. */
  qos: Qos
  retainAsPublished: boolean
  /** v5 [MQTT-3.3.4-3], [MQTT-3.3.4-4]. */
  subscriptionIds: number[] | undefined
  private forms: (DeliveryForm | undefined)[] | undefined = undefined

  constructor(qos: Qos, retainAsPublished: boolean, subscriptionIds: number[] | undefined) {
    this.qos = qos
    this.retainAsPublished = retainAsPublished
    this.subscriptionIds = subscriptionIds
  }

  /** How a message published with these flags goes out; made once for all messages of the same kind. */
  formFor(publishedQos: Qos, publishedRetain: boolean): DeliveryForm {
    const qos = publishedQos < this.qos ? publishedQos : this.qos
    const retain = this.retainAsPublished && publishedRetain
    if (this.subscriptionIds === undefined) return formOf(qos, retain, undefined)
    this.forms ??= []
    const slot = formSlot(qos, retain)
    const known = this.forms[slot]
    if (known !== undefined) return known
    const form = formOf(qos, retain, this.subscriptionIds)
    this.forms[slot] = form
    return form
  }

  merge(subscription: Subscription): void {
    if (subscription.qos > this.qos) this.qos = subscription.qos
    this.retainAsPublished ||= subscription.retainAsPublished
    if (subscription.subscriptionId !== 0) {
      this.subscriptionIds ??= []
      this.subscriptionIds.push(subscription.subscriptionId)
    }
  }
}

/** A receiver that a topic reaches; `forOwn` is what it gets of a message that it has published itself. */
class Target extends DeliveryOptions {
  /** Only the subscriptions without No Local, v5 [MQTT-3.8.3-3]; `this` when there is no other kind. */
  forOwn: DeliveryOptions | undefined

  constructor(subscription: Subscription) {
    super(subscription.qos, subscription.retainAsPublished, idsOf(subscription))
    this.forOwn = subscription.noLocal ? undefined : this
  }

  /** @returns what holds for messages of this publisher; `undefined` when they do not go there. v5 [MQTT-3.8.3-3] */
  optionsFor(publisherId: string, receiverId: string): DeliveryOptions | undefined {
    return publisherId === receiverId ? this.forOwn : this
  }

  override merge(subscription: Subscription): void {
    if (subscription.noLocal) {
      // From here on the two differ.
      if (this.forOwn === this) this.forOwn = copyOf(this)
    } else if (this.forOwn === undefined) {
      this.forOwn = new DeliveryOptions(subscription.qos, subscription.retainAsPublished, idsOf(subscription))
    } else if (this.forOwn !== this) {
      this.forOwn.merge(subscription)
    }
    super.merge(subscription)
  }
}

function idsOf(subscription: Subscription): number[] | undefined {
  return subscription.subscriptionId === 0 ? undefined : [subscription.subscriptionId]
}

function copyOf({ qos, retainAsPublished, subscriptionIds }: DeliveryOptions): DeliveryOptions {
  return new DeliveryOptions(qos, retainAsPublished, subscriptionIds?.slice())
}

/** An online receiver of this node that a topic reaches. */
export class LiveTarget extends Target {
  readonly subscriber: Subscriber

  constructor(subscriber: Subscriber, subscription: Subscription) {
    super(subscription)
    this.subscriber = subscriber
  }
}

/** A stored session, online anywhere or nowhere, that a topic reaches at QoS 1 or 2. */
export class StoredTarget extends Target {
  readonly clientId: string

  constructor(clientId: string, subscription: Subscription) {
    super(subscription)
    this.clientId = clientId
  }
}

export interface RouteTarget {
  nodeId: string
  interest: RouteInterest
}

/** Everything that a topic reaches; shared by all messages of the topic until a subscription changes. */
export class Match {
  readonly live: LiveTarget[] = []
  readonly stored: StoredTarget[] = []
  readonly nodes: RouteTarget[] = []
  readonly groups: ShareGroup[] = []

  /** True when nothing outside this process is concerned at any QoS. */
  get isLocal(): boolean {
    return this.stored.length === 0 && this.nodes.length === 0 && this.groups.length === 0
  }

  get isEmpty(): boolean {
    return this.live.length === 0 && this.isLocal
  }
}
