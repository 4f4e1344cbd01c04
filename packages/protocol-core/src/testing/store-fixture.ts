import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerError } from '../errors.ts'
import { EMPTY_BYTES, Message, type MessageFields } from '../message.ts'
import type { SweepResult } from '../ports/deadlines.ts'
import type { CommitItem, CommitResult, SessionTarget } from '../ports/messages.ts'
import type { QueueLimits } from '../ports/queues.ts'
import type { OpenedSession, OpenRequest } from '../ports/sessions.ts'
import type { Store } from '../ports/store.ts'
import type { StoredSubscription, Subscription } from '../ports/subscription.ts'
import type { StoredWill } from '../ports/wills.ts'
import type { WillFate } from '../session-rules.ts'

/** The limits with which a store under contract has to be made. */
export const CONTRACT_LIMITS: QueueLimits = {
  offlineQueueMessages: 20,
  offlineQueueBytes: 50_000,
  onlineQueueMessages: 300,
  onlineQueueBytes: 2_000_000,
}

/** A fresh, empty store. */
export interface StoreUnderTest {
  store: Store
  /**
   * For stores that keep something: lets go of the store and returns another on the same data, as a node that was
   * started again would see it. Connections that were open are left to `reapNode`.
   */
  reopen?: () => Promise<Store>
  /** Ends the store that is open and removes its data. */
  dispose(): Promise<void>
}

/** Makes the store for one test, with {@link CONTRACT_LIMITS}. */
export type MakeStore = () => Promise<StoreUnderTest>

/** The instance that tests use where instances do not matter. */
export const INSTANCE = 'default'
/** The node that tests use where nodes do not matter. */
export const NODE = 'node-1'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A message with payload and topic from text. */
export function message(topicName: string, payload: string, fields: Partial<MessageFields> = {}): Message {
  return new Message({
    topicName,
    topicBytes: encoder.encode(topicName),
    payload: encoder.encode(payload),
    qos: 1,
    retain: false,
    properties: EMPTY_BYTES,
    expiresAtMs: 0,
    publisherId: 'publisher',
    ...fields,
  })
}

/** Payload as text, for comparing. */
export function payloadOf(held: { message: Message }): string {
  return decoder.decode(held.message.payload)
}

export function payloadsOf(held: readonly { message: Message }[]): string[] {
  return held.map(payloadOf)
}

export function target(clientId: string, options: Partial<SessionTarget> = {}): SessionTarget {
  return { clientId, qos: 1, retain: false, subscriptionIds: undefined, ...options }
}

export function subscription(topicFilter: string, options: Partial<Subscription> = {}): Subscription {
  return {
    topicFilter,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionId: 0,
    ...options,
  }
}

export function will(payload: string, willDelaySeconds = 0): StoredWill {
  return { message: message('will/topic', payload), willDelaySeconds, messageExpirySeconds: -1 }
}

/** `count` packet ids from `from` on. */
export function packetIds(count: number, from = 1): number[] {
  return Array.from({ length: count }, (_, i) => from + i)
}

export async function rejectsFenced(call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, error => error instanceof BrokerError && error.code === 'MIDGE_SESSION_FENCED')
}

export async function rejectsOwned(call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, error => error instanceof BrokerError && error.code === 'MIDGE_CLIENT_ID_OWNED')
}

/** A store with short names for what tests do all the time. */
export class Fixture {
  readonly nowMs: number = Date.now()
  store: Store
  readonly #underTest: StoreUnderTest

  constructor(underTest: StoreUnderTest) {
    this.#underTest = underTest
    this.store = underTest.store
  }

  /** @returns false when this store keeps nothing */
  async reopen(): Promise<boolean> {
    if (this.#underTest.reopen === undefined) return false
    this.store = await this.#underTest.reopen()
    return true
  }

  open(clientId: string, options: Partial<OpenRequest> = {}): Promise<OpenedSession> {
    return this.store.open({
      instance: INSTANCE,
      clientId,
      username: undefined,
      nodeId: NODE,
      cleanStart: false,
      sessionExpirySeconds: 3600,
      will: undefined,
      nowMs: this.nowMs,
      ...options,
    })
  }

  close(
    clientId: string,
    epoch: number,
    options: {
      fate?: WillFate
      sessionExpirySeconds?: number
      sentSeq?: number
      ackedAhead?: number[]
      nowMs?: number
      instance?: string
    } = {},
  ): Promise<Subscription[]> {
    return this.store.close({
      instance: options.instance ?? INSTANCE,
      clientId,
      epoch,
      sessionExpirySeconds: options.sessionExpirySeconds ?? 3600,
      sentSeq: options.sentSeq ?? 0,
      ackedAhead: options.ackedAhead ?? [],
      will: options.fate ?? 'discard',
      nowMs: options.nowMs ?? this.nowMs,
    })
  }

  /** A session that is stored and not connected. @returns the epoch of its last connection */
  async openAndClose(clientId: string, options: Partial<OpenRequest> = {}): Promise<number> {
    const { epoch } = await this.open(clientId, options)
    await this.close(clientId, epoch, {
      ...(options.instance === undefined ? {} : { instance: options.instance }),
      ...(options.sessionExpirySeconds === undefined ? {} : { sessionExpirySeconds: options.sessionExpirySeconds }),
    })
    return epoch
  }

  async commit(item: Partial<CommitItem> & { message: Message }): Promise<CommitResult> {
    const [result] = await this.store.commit([this.item(item)])
    assert.ok(result !== undefined, 'commit answers one result per item')
    return result
  }

  item(item: Partial<CommitItem> & { message: Message }): CommitItem {
    return { instance: INSTANCE, sessions: [], groups: [], retain: false, inbound: undefined, ...item }
  }

  /** Commits one message to one session per payload. @returns their sequence numbers */
  async enqueue(clientId: string, payloads: string[], options: Partial<SessionTarget> = {}): Promise<number[]> {
    const items = payloads.map(payload =>
      this.item({ message: message('a/topic', payload), sessions: [target(clientId, options)] }),
    )
    const results = await this.store.commit(items)
    return results.map(result => result.seqs[0] ?? -1)
  }

  async feedGroup(group: string, payloads: string[], qos: 1 | 2 = 1): Promise<void> {
    const groups = [{ group, qos }]
    const results = await this.store.commit(
      payloads.map(payload => this.item({ message: message('a/topic', payload), groups })),
    )
    for (const result of results) assert.deepEqual([result.status, result.droppedGroups], ['stored', 0])
  }

  /** Sweeps until nothing is left that is due by `nowMs`; wills stay claimed. */
  async sweepAll(nowMs: number, countMax = 100): Promise<SweepResult> {
    const all: SweepResult = { wills: [], expired: [] }
    for (;;) {
      const { wills, expired } = await this.store.sweep(NODE, nowMs, countMax)
      if (wills.length === 0 && expired.length === 0) return all
      assert.ok(wills.length <= countMax && expired.length <= countMax, 'countMax bounds what one sweep claims')
      all.wills.push(...wills)
      all.expired.push(...expired)
    }
  }

  /** Payloads of the wills that are due by `nowMs`; they are confirmed. */
  async dueWills(nowMs: number): Promise<string[]> {
    const { wills } = await this.sweepAll(nowMs)
    for (const { instance, clientId, id } of wills) await this.store.confirmWill(instance, clientId, id)
    return wills.map(due => payloadOf(due.will)).sort()
  }

  /** Walks all pages. @returns the messages, in the order in which they came */
  async matchAll(topicFilter: string, countMax = 100, instance: string = INSTANCE): Promise<Message[]> {
    const messages: Message[] = []
    let cursor: string | undefined
    do {
      const page = await this.store.matchRetained(instance, topicFilter, cursor, countMax)
      messages.push(...page.messages)
      cursor = page.cursor
    } while (cursor !== undefined)
    return messages
  }

  async matchedTopics(topicFilter: string, countMax = 100, instance: string = INSTANCE): Promise<string[]> {
    return (await this.matchAll(topicFilter, countMax, instance)).map(found => found.topicName).sort()
  }

  async listed(): Promise<StoredSubscription[]> {
    const all: StoredSubscription[] = []
    for await (const page of this.store.listSubscriptions()) all.push(...page)
    return all
  }

  /** Resolves when the wall clock, which stores use to hide expired messages, has passed `atMs`. */
  async clockPasses(atMs: number): Promise<void> {
    while (Date.now() <= atMs) await new Promise(resolve => setTimeout(resolve, atMs - Date.now() + 1))
  }
}

/** Tests by name; each gets a fresh store. */
export type StoreTests = Record<string, (fixture: Fixture) => Promise<void>>

export function declareTests(tests: StoreTests, makeStore: MakeStore): void {
  for (const [name, run] of Object.entries(tests)) {
    test(name, async () => {
      const underTest = await makeStore()
      try {
        await run(new Fixture(underTest))
      } finally {
        await underTest.dispose()
      }
    })
  }
}
