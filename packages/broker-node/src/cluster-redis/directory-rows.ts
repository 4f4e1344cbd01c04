import { type InstanceName, type Qos, RouteInterest, type Subscription } from '@midge/protocol-core'

/*
 * How the directory's tables write their rows. U+0000 separates, because no MQTT string may contain it:
 * v5 [MQTT-1.5.4-2], v3.1.1 [MQTT-1.5.3-2].
 */

const SEPARATOR = '\0'

/** Row of one node's interest in a filter. */
export function routeField(nodeId: string, instance: InstanceName, topicFilter: string): string {
  return nodeId + SEPARATOR + instance + SEPARATOR + topicFilter
}

/** Row of one subscription of a stored session. */
export function storedField(instance: InstanceName, clientId: string, topicFilter: string): string {
  return instance + SEPARATOR + clientId + SEPARATOR + topicFilter
}

/** @returns the three parts of a row's field; `undefined` for something that none of our nodes wrote */
export function splitField(field: string): [string, string, string] | undefined {
  const [first, second, third, ...rest] = field.split(SEPARATOR)
  if (first === undefined || second === undefined || third === undefined || rest.length > 0) return undefined
  return [first, second, third]
}

/** Value of a route row. */
export function encodeInterest(interest: RouteInterest): string {
  return String(interest)
}

/** @returns the interest of a route row; an unknown value counts as all, which at worst sends too much */
export function decodeInterest(value: string | undefined): RouteInterest {
  if (value === undefined) return RouteInterest.none
  return value === '1' ? RouteInterest.qos0 : RouteInterest.all
}

/** Value of a subscription row: QoS, No Local, Retain As Published, Retain Handling, identifier. */
export function encodeSubscription(subscription: Subscription): string {
  const { qos, noLocal, retainAsPublished, retainHandling, subscriptionId } = subscription
  return `${qos},${noLocal ? 1 : 0},${retainAsPublished ? 1 : 0},${retainHandling},${subscriptionId}`
}

/** @returns the subscription of a row; `undefined` when the value is not one that {@link encodeSubscription} makes */
export function decodeSubscription(topicFilter: string, value: string): Subscription | undefined {
  if (!/^[012],[01],[01],[012],\d{1,9}$/.test(value)) return undefined
  const [qos, noLocal, retainAsPublished, retainHandling, subscriptionId] = value.split(',').map(Number)
  return {
    topicFilter,
    qos: qos as Qos,
    noLocal: noLocal === 1,
    retainAsPublished: retainAsPublished === 1,
    retainHandling: retainHandling as 0 | 1 | 2,
    subscriptionId: subscriptionId ?? 0,
  }
}
