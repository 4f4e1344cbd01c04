import type { Qos } from '@midge/protocol-core'

/** How a message goes to one subscriber. Queue entries have these fields themselves. */
export interface DeliveryForm {
  readonly qos: Qos
  readonly retain: boolean
  /** `undefined` for none. */
  readonly subscriptionIds: number[] | undefined
}

class Form implements DeliveryForm {
  readonly qos: Qos
  readonly retain: boolean
  readonly subscriptionIds: number[] | undefined

  constructor(qos: Qos, retain: boolean, subscriptionIds: number[] | undefined) {
    this.qos = qos
    this.retain = retain
    this.subscriptionIds = subscriptionIds
  }
}

/** The forms without Subscription Identifiers, by {@link formSlot}: one of them serves nearly every delivery. */
const PLAIN_FORMS: readonly DeliveryForm[] = ([0, 1, 2] as const).flatMap(qos => [
  new Form(qos, false, undefined),
  new Form(qos, true, undefined),
])

/** Wire forms of one message that differ in QoS and RETAIN. */
export const FORM_SLOTS = 6

/** @returns 0 to 5 */
export function formSlot(qos: Qos, retain: boolean): number {
  return qos * 2 + (retain ? 1 : 0)
}

/** The form with these values; the same object whenever there are no Subscription Identifiers. */
export function formOf(qos: Qos, retain: boolean, subscriptionIds: number[] | undefined): DeliveryForm {
  const plain = PLAIN_FORMS[formSlot(qos, retain)]
  return subscriptionIds === undefined && plain !== undefined ? plain : new Form(qos, retain, subscriptionIds)
}
