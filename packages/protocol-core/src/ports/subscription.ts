import type { Qos } from '../packet.ts'
import type { InstanceName } from './instance-name.ts'

/** Options of one subscription of one session; `topicFilter` keeps its `$share/<group>/` prefix. */
export interface Subscription {
  topicFilter: string
  qos: Qos
  noLocal: boolean
  retainAsPublished: boolean
  retainHandling: 0 | 1 | 2
  /** 1 to 268,435,455, or 0 for none. */
  subscriptionId: number
}

/** A subscription of a stored session, as the store lists it at start-up of a node. */
export interface StoredSubscription {
  instance: InstanceName
  clientId: string
  subscription: Subscription
}
