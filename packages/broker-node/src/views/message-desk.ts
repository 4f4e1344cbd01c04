import {
  BrokerError,
  checkTopicFilter,
  checkTopicName,
  EMPTY_BYTES,
  encodeForwardableProperties,
  encodeUtf8,
  type InstanceName,
  Message,
  type Properties,
  type RetainedStore,
} from '@midge/protocol-core'
import type { PublishWish, RetainedView, ViewPage, ViewRequest } from './cluster-views.ts'
import { lineOfMessage, messageOfLine, objectOfLine } from './message-line.ts'

/** Entries of one read of the store. */
const READ_COUNT = 500
/** Reads for one page: where most of what is read does not fit, a page ends early. */
const READS_MAX = 20

/** What the desk works with. */
export interface MessageDeskParts {
  store: RetainedStore
  /** As if the server itself had published it. @returns false when the store has refused it */
  publish(instance: InstanceName, message: Message): Promise<boolean>
  topicLevelsMax: number
  /** Unix time in milliseconds. */
  nowMs(): number
}

/** Messages that come from the API, and those that are retained. */
export class MessageDesk {
  private readonly parts: MessageDeskParts

  constructor(parts: MessageDeskParts) {
    this.parts = parts
  }

  async publish(instance: InstanceName, wishes: readonly PublishWish[]): Promise<void> {
    await this.publishAll(
      instance,
      wishes.map(wish => this.messageOf(wish)),
    )
  }

  async retained(instance: InstanceName, topicFilter: string, request: ViewRequest): Promise<ViewPage<RetainedView>> {
    this.checkFilter(topicFilter)
    const { countMax } = request
    const items: RetainedView[] = []
    let { cursor } = request
    for (let reads = 0; reads < READS_MAX; reads++) {
      const page = await this.parts.store.matchRetained(instance, topicFilter, cursor, countMax - items.length)
      items.push(...page.messages.map(viewOf))
      cursor = page.cursor
      if (cursor === undefined || items.length >= countMax) break
    }
    return { items, cursor }
  }

  async retainedMessage(instance: InstanceName, topic: string): Promise<RetainedView | undefined> {
    this.checkTopic(topic)
    const { messages } = await this.parts.store.matchRetained(instance, topic, undefined, 1)
    return messages[0] === undefined ? undefined : viewOf(messages[0])
  }

  /** As MQTT removes them: by an empty message, which subscribers see. @returns how many */
  async deleteRetained(instance: InstanceName, topicFilter: string): Promise<number> {
    let count = 0
    for await (const messages of this.pages(instance, topicFilter)) {
      await this.publishAll(
        instance,
        messages.map(({ topicName, topicBytes }) => emptied(topicName, topicBytes)),
      )
      count += messages.length
    }
    return count
  }

  async *exportRetained(instance: InstanceName, topicFilter: string): AsyncGenerator<string> {
    for await (const messages of this.pages(instance, topicFilter)) yield messages.map(lineOf).join('')
  }

  /** @throws BrokerError `MIDGE_INVALID` for a line that cannot be read; nothing has been stored then */
  async importRetained(instance: InstanceName, lines: string): Promise<number> {
    const texts = lines.split('\n').filter(line => line.trim() !== '')
    const messages = texts.map((line, index) => this.messageOfLine(line, index + 1))
    for (let start = 0; start < messages.length; start += READ_COUNT) {
      await this.publishAll(instance, messages.slice(start, start + READ_COUNT))
    }
    return messages.length
  }

  private async *pages(instance: InstanceName, topicFilter: string): AsyncGenerator<Message[]> {
    this.checkFilter(topicFilter)
    let cursor: string | undefined
    do {
      const page = await this.parts.store.matchRetained(instance, topicFilter, cursor, READ_COUNT)
      if (page.messages.length > 0) yield page.messages
      cursor = page.cursor
    } while (cursor !== undefined)
  }

  private async publishAll(instance: InstanceName, messages: readonly Message[]): Promise<void> {
    const results = await Promise.all(messages.map(message => this.parts.publish(instance, message)))
    if (results.includes(false)) {
      throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'the store has not taken the message', { retryable: true })
    }
  }

  private messageOf(wish: PublishWish): Message {
    this.checkTopic(wish.topic)
    const { messageExpirySeconds: seconds } = wish
    return new Message({
      topicName: wish.topic,
      topicBytes: encodeUtf8(wish.topic),
      payload: wish.payload,
      qos: wish.qos,
      retain: wish.retain,
      properties: encodeForwardableProperties(propertiesOf(wish)),
      expiresAtMs: seconds === undefined ? 0 : this.parts.nowMs() + seconds * 1000,
      publisherId: '',
    })
  }

  private messageOfLine(line: string, number: number): Message {
    const { topicLevelsMax } = this.parts
    const message = messageOfLine(objectOfLine(line) ?? {}, { topicLevelsMax, retain: true })
    if (message !== undefined) return message
    throw new BrokerError('MIDGE_INVALID', `line ${number}: is not what an export has written`)
  }

  private checkTopic(topic: string): void {
    if (checkTopicName(topic, this.parts.topicLevelsMax) === 0) return
    throw new BrokerError('MIDGE_INVALID', 'topic: is not a Topic Name')
  }

  private checkFilter(topicFilter: string): void {
    if (checkTopicFilter(topicFilter, this.parts.topicLevelsMax) === 0) return
    throw new BrokerError('MIDGE_INVALID', 'filter: is not a Topic Filter')
  }
}

function propertiesOf(wish: PublishWish): Properties {
  const { contentType, responseTopic, correlationData, userProperties } = wish
  return {
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData }),
    ...(userProperties === undefined ? {} : { userProperties: userProperties.map(([name, value]) => [name, value]) }),
  }
}

function viewOf({ topicName, qos, payload, expiresAtMs }: Message): RetainedView {
  return { topic: topicName, qos, payload, expiresAtMs: expiresAtMs === 0 ? undefined : expiresAtMs }
}

function emptied(topicName: string, topicBytes: Uint8Array): Message {
  const fields = { topicName, topicBytes, payload: EMPTY_BYTES, properties: EMPTY_BYTES, publisherId: '' }
  return new Message({ ...fields, qos: 1, retain: true, expiresAtMs: 0 })
}

function lineOf(message: Message): string {
  return `${JSON.stringify(lineOfMessage(message))}\n`
}
