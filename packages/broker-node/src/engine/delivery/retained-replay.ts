import type { CommitItem, Message, Qos, Subscription } from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import { type DeliveryForm, formOf } from '../ground/delivery-form.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Session } from '../sessions/session.ts'

/** Retained messages read and sent at a time; the next page waits until the client has taken this one. */
const PAGE_MESSAGES = 100
const SLICE_BYTES = 256 * 1024

/**
 * Sends the retained messages of a new subscription, all of them, as fast as the client takes them.
 *
 * A topic whose retained message is replaced while this goes on is left out from then on: the client has the newer one,
 * and an older must not follow it.
 */
export async function replayRetained(
  services: Pick<EngineServices, 'counters' | 'store'>,
  session: Session,
  subscription: Subscription,
): Promise<void> {
  const { store } = services
  let cursor: string | undefined
  do {
    const page = await store.matchRetained(session.instance, subscription.topicFilter, cursor, PAGE_MESSAGES)
    if (session.subscriptions.get(subscription.topicFilter) !== subscription) return
    for (let at = 0; at < page.messages.length; ) {
      const end = sliceEnd(page.messages, at)
      if (session.subscriptions.get(subscription.topicFilter) !== subscription) return
      const messages = page.messages.slice(at, end).filter(message => isDue(session, subscription, message))
      await sendSlice(services, session, { subscription, messages })
      await session.whenRoom()
      at = end
    }
    cursor = session.outlet.isClosed ? undefined : page.cursor
  } while (cursor !== undefined)
}

/** A page may hold a hundred of the largest messages: more than any bound for one client. */
function sliceEnd(messages: Message[], start: number): number {
  let bytes = 0
  let end = start
  while (end < messages.length && (end === start || bytes < SLICE_BYTES)) bytes += messages[end++]?.payload.length ?? 0
  return end
}

/** v5 [MQTT-3.8.3-3] speaks of all Application Messages, so No Local holds for retained ones too. */
function isDue(session: Session, subscription: Subscription, message: Message): boolean {
  if (subscription.noLocal && message.publisherId === session.clientId) return false
  return !session.wasDeliveredLive(message.topicName)
}

async function sendSlice(
  services: Pick<EngineServices, 'counters' | 'store'>,
  session: Session,
  slice: { subscription: Subscription; messages: Message[] },
): Promise<void> {
  const { counters, store } = services
  const { subscription } = slice
  const ids = subscription.subscriptionId === 0 ? undefined : [subscription.subscriptionId]
  const queued: CommitItem[] = []
  for (const message of slice.messages) {
    const qos = Math.min(message.qos, subscription.qos) as Qos
    const form = formOf(qos, true, ids)
    counters.retainedSent++
    if (qos === 0) session.outlet.sendPublish(message, form, 0)
    else if (session.isStored) queued.push(toOwnQueue(session, message, form))
    else session.sendOrWait(message, form)
  }
  if (queued.length === 0) return
  // Through the queue, so that a client which goes away in between gets the rest when it is back.
  const results = await store.commit(queued)
  results.forEach((result, i) => {
    const item = queued[i]
    const seq = result.seqs[0] ?? 0
    const target = item?.sessions[0]
    if (seq === 0) counters.drop(DropReason.queueFull)
    if (item === undefined || target === undefined || seq <= 0) return
    session.queue?.onCommitted(seq, item.message, target)
  })
}

function toOwnQueue(session: Session, message: Message, form: DeliveryForm): CommitItem {
  return {
    instance: session.instance,
    message,
    sessions: [{ clientId: session.clientId, ...form }],
    groups: [],
    retain: false,
    inbound: undefined,
  }
}
