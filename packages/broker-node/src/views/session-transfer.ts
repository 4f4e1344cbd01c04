import {
  BrokerError,
  checkTopicFilter,
  type Directory,
  type InstanceName,
  isValidUtf8,
  type Message,
  type MessageStore,
  parseShare,
  type QueueEntry,
  type QueueStore,
  type SessionInspection,
  type SessionRecordView,
  type SessionStore,
  type Subscription,
} from '@midge/protocol-core'
import type { FactsSlice, SubscriptionFacts } from '../ports.ts'
import { isObject, lineOfMessage, messageOfLine, objectOfLine } from './message-line.ts'

/** Entries of one read, and messages of one commit. */
const SLICE_COUNT = 200
/** What MQTT can say. v5 [MQTT-1.5.4] */
const TEXT_BYTES_MAX = 65_535

/** What a transfer works with. */
export interface SessionTransferParts {
  nodeId: string
  store: SessionInspection & SessionStore & QueueStore & MessageStore
  directory: Pick<Directory, 'addStored' | 'settled'>
  /** What every node knows of stored subscriptions. */
  storedSubscriptions(
    instance: InstanceName,
    slice: { after: string | undefined; countMax: number },
    clientId: string,
  ): FactsSlice<SubscriptionFacts>
  topicLevelsMax: number
  subscriptionsMax: number
  sessionExpirySecondsMax: number
  /** Unix time in milliseconds. */
  nowMs(): number
}

/** A session as its lines say it. */
interface SessionImage {
  clientId: string
  username: string | undefined
  expirySeconds: number
  subscriptions: Subscription[]
  messages: {
    message: Message
    qos: 1 | 2
    retain: boolean
    subscriptionIds: number[] | undefined
    released: boolean
  }[]
}

/**
 * Stored sessions on their way out and in: a line of JSON for the session, one for each subscription, one for each
 * message of the queue. Not among them: packet ids of QoS 2 messages that the client has not released, and what the
 * session holds of share groups.
 */
export class SessionTransfer {
  private readonly parts: SessionTransferParts

  constructor(parts: SessionTransferParts) {
    this.parts = parts
  }

  /** @throws BrokerError `MIDGE_NOT_FOUND`, with the first line */
  async *takeOut(instance: InstanceName, clientId: string): AsyncGenerator<string> {
    const session = await this.parts.store.findSession(instance, clientId)
    if (session === undefined || session.expirySeconds === 0)
      throw new BrokerError('MIDGE_NOT_FOUND', 'no such session')
    const { expirySeconds, owner } = session
    yield textOf({ session: { clientId, username: owner?.username, expirySeconds } })
    let after: string | undefined
    do {
      const slice = this.parts.storedSubscriptions(instance, { after, countMax: SLICE_COUNT }, clientId)
      yield slice.items.map(({ clientId: _, ...subscription }) => textOf({ subscription })).join('')
      after = slice.next
    } while (after !== undefined)
    yield* this.queueOf(instance, session)
  }

  /**
   * @returns whose session it is
   * @throws BrokerError `MIDGE_INVALID` for lines that cannot be read or are too many, `MIDGE_ALREADY_EXISTS` while the client has a
   * session or is connected; nothing has changed then. `MIDGE_SESSION_FENCED` when the client has come meanwhile: what it
   * finds is not complete.
   */
  async putIn(instance: InstanceName, lines: string): Promise<string> {
    const image = this.read(lines)
    const { clientId, username, subscriptions } = image
    const { store, directory, nodeId, nowMs } = this.parts
    if ((await store.findSession(instance, clientId)) !== undefined) throw alreadyThere()
    const sessionExpirySeconds = Math.min(image.expirySeconds, this.parts.sessionExpirySecondsMax)
    const { epoch, sessionPresent } = await store.open({
      ...{ instance, clientId, username, nodeId, cleanStart: false, sessionExpirySeconds },
      ...{ will: undefined, nowMs: nowMs() },
    })
    const ends = { instance, clientId, epoch, sentSeq: 0, ackedAhead: [], will: 'discard' as const, nowMs: nowMs() }
    if (sessionPresent) {
      // Its client has come in between; it is disconnected, and finds what it had.
      await store.close({ ...ends, sessionExpirySeconds })
      throw alreadyThere()
    }
    try {
      await store.saveSubscriptions(instance, clientId, epoch, subscriptions)
      await this.fill(instance, epoch, image)
    } catch (error) {
      // Nobody is to find half of it.
      await store.close({ ...ends, sessionExpirySeconds: 0 }).catch(() => undefined)
      throw error
    }
    for (const subscription of subscriptions) directory.addStored(instance, clientId, subscription)
    await store.close({ ...ends, sessionExpirySeconds })
    await directory.settled()
    return clientId
  }

  private async *queueOf(instance: InstanceName, session: SessionRecordView): AsyncGenerator<string> {
    const { clientId, epoch, tailSeq } = session
    let next = session.headSeq
    while (next <= tailSeq) {
      const entries = await this.parts.store.readQueue(instance, clientId, epoch, next, SLICE_COUNT)
      const last = entries.at(-1)
      if (last === undefined) return
      yield entries
        .filter(({ seq }) => seq <= tailSeq)
        .map(entryText)
        .join('')
      next = last.seq + 1
    }
  }

  /** In the order of the lines; what was on its way at QoS 2 goes on where it was. */
  private async fill(instance: InstanceName, epoch: number, { clientId, messages }: SessionImage): Promise<void> {
    const { store } = this.parts
    for (let start = 0; start < messages.length; start += SLICE_COUNT) {
      const slice = messages.slice(start, start + SLICE_COUNT)
      const results = await store.commit(
        slice.map(({ message, qos, retain, subscriptionIds }) => ({
          ...{ instance, message, groups: [], retain: false, inbound: undefined },
          sessions: [{ clientId, qos, retain, subscriptionIds }],
        })),
      )
      if (results.some(({ seqs }) => seqs[0] === 0)) {
        throw new BrokerError('MIDGE_INVALID', 'lines: are more messages than the queue of a session may hold')
      }
      const released = results.flatMap(({ seqs: [seq = 0] }, index) => (seq > 0 && slice[index]?.released ? seq : []))
      if (released.length > 0) await store.releaseQueue(instance, clientId, epoch, released)
    }
  }

  private read(lines: string): SessionImage {
    const image: SessionImage = { clientId: '', username: undefined, expirySeconds: 0, subscriptions: [], messages: [] }
    const texts = lines.split('\n').filter(line => line.trim() !== '')
    for (const [index, text] of texts.entries()) {
      if (!this.readLine(image, text, index)) {
        throw new BrokerError('MIDGE_INVALID', `line ${index + 1}: is not what an export has written`)
      }
    }
    if (image.clientId === '') throw new BrokerError('MIDGE_INVALID', 'there is no line of a session')
    return image
  }

  private readLine(image: SessionImage, text: string, index: number): boolean {
    const line = objectOfLine(text)
    const [session, subscription, message] = [line?.['session'], line?.['subscription'], line?.['message']]
    if (index === 0) return isObject(session) && readSession(image, session)
    if (isObject(subscription)) return this.readSubscription(image, subscription)
    return isObject(message) && this.readMessage(image, message)
  }

  private readSubscription({ subscriptions }: SessionImage, row: Record<string, unknown>): boolean {
    const { topicFilter, qos, noLocal, retainAsPublished, retainHandling, subscriptionId } = row
    if (typeof topicFilter !== 'string' || checkTopicFilter(topicFilter, this.parts.topicLevelsMax) !== 0) return false
    if (!isStep(qos) || !isStep(retainHandling)) return false
    if (!isCount(subscriptionId, SUBSCRIPTION_ID_MAX) || subscriptions.length >= this.parts.subscriptionsMax)
      return false
    // v5 [MQTT-3.8.3-4]
    const flags = {
      noLocal: noLocal === true && parseShare(topicFilter) === undefined,
      retainAsPublished: retainAsPublished === true,
    }
    subscriptions.push({ topicFilter, qos, ...flags, retainHandling, subscriptionId })
    return true
  }

  private readMessage({ messages }: SessionImage, row: Record<string, unknown>): boolean {
    const { deliveryQos, retain, subscriptionIds, released } = row
    const message = messageOfLine(row, { topicLevelsMax: this.parts.topicLevelsMax, retain: false })
    if (message === undefined || (deliveryQos !== 1 && deliveryQos !== 2)) return false
    const ids = Array.isArray(subscriptionIds) ? subscriptionIds.filter(id => isCount(id, SUBSCRIPTION_ID_MAX)) : []
    messages.push({
      ...{ message, qos: deliveryQos, retain: retain === true, released: released === true },
      subscriptionIds: ids.length === 0 ? undefined : ids,
    })
    return true
  }
}

const SUBSCRIPTION_ID_MAX = 268_435_455
const EXPIRY_SECONDS_MAX = 0xff_ff_ff_ff

function readSession(image: SessionImage, row: Record<string, unknown>): boolean {
  const { clientId, username, expirySeconds } = row
  if (!isMqttText(clientId) || clientId === '' || (username !== undefined && !isMqttText(username))) return false
  if (!isCount(expirySeconds, EXPIRY_SECONDS_MAX) || expirySeconds === 0) return false
  Object.assign(image, { clientId, username, expirySeconds })
  return true
}

function entryText({ message, qos, retain, subscriptionIds, released }: QueueEntry): string {
  return textOf({ message: { ...lineOfMessage(message), deliveryQos: qos, retain, subscriptionIds, released } })
}

function textOf(line: object): string {
  return `${JSON.stringify(line)}\n`
}

function isMqttText(value: unknown): value is string {
  if (typeof value !== 'string') return false
  const bytes = Buffer.from(value)
  return bytes.length <= TEXT_BYTES_MAX && isValidUtf8(bytes, 0, bytes.length) && bytes.toString() === value
}

function isStep(value: unknown): value is 0 | 1 | 2 {
  return value === 0 || value === 1 || value === 2
}

function isCount(value: unknown, max: number): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= max
}

function alreadyThere(): BrokerError {
  return new BrokerError('MIDGE_ALREADY_EXISTS', 'clientId: has a session already')
}
