import assert from 'node:assert/strict'
import type { StoreLimits } from '../ports/messages.ts'
import { matches } from '../topic-filter.ts'
import {
  CONTRACT_LIMITS,
  type Fixture,
  INSTANCE,
  message,
  packetIds,
  payloadsOf,
  type StoreTests,
  target,
} from './store-fixture.ts'

const TOPICS = [
  'a',
  'a/b',
  'a/b/c',
  'a//c',
  '/a',
  'a/',
  '/',
  '//',
  '$SYS/uptime',
  '$SYS',
  '__proto__',
  'constructor/prototype',
  'room[12]/temp',
  '*',
  'a*b',
  '{tag}/x',
  'x}y',
  'größe/日本/🦟',
  ' ',
]

const FILTERS = [
  ...TOPICS,
  '#',
  '+',
  '+/+',
  'a/#',
  'a/+',
  'a/+/c',
  '+/b/#',
  '/#',
  '/+',
  '$SYS/#',
  '$SYS/+',
  '+/uptime',
  'room[12]/+',
  'nothing/#',
  '+/+/+/#',
]

async function retain(f: Fixture, topics: string[], payload = 'x', instance: string = INSTANCE): Promise<void> {
  for (let from = 0; from < topics.length; from += 500) {
    const items = topics
      .slice(from, from + 500)
      .map(topicName => f.item({ instance, message: message(topicName, payload, { retain: true }), retain: true }))
    for (const { status } of await f.store.commit(items)) assert.equal(status, 'stored')
  }
}

/** Retained messages. */
export const retainedContract: StoreTests = {
  'a retained message is there until it is replaced or removed': async f => {
    const properties = Uint8Array.of(1, 1)
    await f.commit({ message: message('t', 'old', { retain: true }), retain: true })
    await f.commit({ message: message('t', 'new', { retain: true, qos: 2, properties }), retain: true })
    const found = await f.matchAll('t')
    assert.deepEqual(payloadsOf(found.map(one => ({ message: one }))), ['new'])
    assert.deepEqual([found[0]?.qos, found[0]?.retain, found[0]?.topicName], [2, true, 't'])
    assert.deepEqual([...(found[0]?.properties ?? [])], [...properties])
    await f.commit({ message: message('t', '', { retain: true }), retain: true })
    await f.commit({ message: message('t', '', { retain: true }), retain: true })
    assert.deepEqual(await f.matchAll('t'), [])
    assert.deepEqual(await f.matchAll('#'), [])
  },

  'the last change of one batch is the one that stays': async f => {
    const put = (payload: string): ReturnType<Fixture['item']> =>
      f.item({ message: message('t', payload, { retain: true }), retain: true })
    await f.store.commit([put('1'), put(''), put('2')])
    assert.deepEqual(payloadsOf((await f.matchAll('t')).map(one => ({ message: one }))), ['2'])
    await f.store.commit([put('3'), put('')])
    assert.deepEqual(await f.matchAll('t'), [])
  },

  'a message that is not to be retained is not': async f => {
    await f.commit({ message: message('t', 'x', { retain: true }), retain: false })
    assert.deepEqual(await f.matchAll('#'), [])
  },

  'filters find what section 4.7 says, whatever the names': async f => {
    await retain(f, TOPICS)
    for (const topicFilter of FILTERS) {
      const expected = TOPICS.filter(topicName => matches(topicName, topicFilter)).sort()
      assert.deepEqual(await f.matchedTopics(topicFilter, 3), expected, `filter ${topicFilter}`)
    }
  },

  '5,000 topics are walked in pages of 100, each exactly once': async f => {
    const topics = packetIds(5_000).map(n => `home/floor-${n % 7}/sensor-${n}/value`)
    await retain(f, topics)
    const sorted = [...topics].sort()
    for (const topicFilter of ['#', 'home/+/+/value', 'home/#']) {
      assert.deepEqual(await f.matchedTopics(topicFilter, 100), sorted, `filter ${topicFilter}`)
    }
    const third = topics.filter(topicName => topicName.startsWith('home/floor-3/')).sort()
    assert.deepEqual(await f.matchedTopics('home/floor-3/#', 100), third)
  },

  'a page is no longer than asked': async f => {
    await retain(
      f,
      packetIds(50).map(n => `t/${n}`),
    )
    const page = await f.store.matchRetained(INSTANCE, 't/#', undefined, 7)
    assert.ok(page.messages.length <= 7)
    assert.ok(page.cursor !== undefined)
  },

  'changes during a walk do not repeat or hide what was there all the time': async f => {
    const stay = packetIds(200).map(n => `t/stay-${n}`)
    const go = packetIds(200).map(n => `t/go-${n}`)
    await retain(
      f,
      stay.flatMap((topicName, i) => [topicName, go[i] ?? topicName]),
    )
    const seen: string[] = []
    let cursor: string | undefined
    let round = 0
    do {
      const page = await f.store.matchRetained(INSTANCE, 't/+', cursor, 20)
      seen.push(...page.messages.map(found => found.topicName))
      cursor = page.cursor
      round++
      await retain(f, go.slice(round * 10 - 10, round * 10), '')
      await retain(f, [`t/new-${round}`, stay[round] ?? 't/stay-1'], 'changed')
    } while (cursor !== undefined)
    const stayed = seen.filter(topicName => topicName.startsWith('t/stay-')).sort()
    assert.deepEqual(stayed, [...stay].sort())
  },

  'an expired message is left out, and a sweep does not bring others to harm': async f => {
    const expiresAtMs = Date.now() + 50
    await f.commit({ message: message('t/short', 'x', { retain: true, expiresAtMs }), retain: true })
    await f.commit({ message: message('t/replaced', 'x', { retain: true, expiresAtMs }), retain: true })
    await f.commit({ message: message('t/replaced', 'new', { retain: true }), retain: true })
    await f.commit({
      message: message('t/long', 'x', { retain: true, expiresAtMs: Date.now() + 3_600_000 }),
      retain: true,
    })
    await f.clockPasses(expiresAtMs)
    assert.deepEqual(await f.matchedTopics('t/#'), ['t/long', 't/replaced'])
    await f.sweepAll(Date.now())
    assert.deepEqual(await f.matchedTopics('t/#'), ['t/long', 't/replaced'])
    assert.deepEqual(await f.matchAll('t/short'), [])
  },

  'a topic of 65,535 bytes and one of many levels are topics like others': async f => {
    const long = 'x'.repeat(65_535)
    const deep = packetIds(32).join('/')
    await retain(f, [long, deep])
    assert.deepEqual(await f.matchedTopics(long), [long])
    assert.deepEqual(await f.matchedTopics('+'), [long])
    assert.deepEqual(await f.matchedTopics('1/2/#'), [deep])
  },

  'an instance retains as many messages as it may; the rest is stored all the same': async f => {
    const limits = limitsOf({ messages: 3, bytes: 1_000_000 })
    const put = (topicName: string, payload = 'x'): ReturnType<Fixture['item']> =>
      f.item({ message: message(topicName, payload, { retain: true }), retain: true, limits })
    const { epoch } = await f.open('c')
    const full = async (...items: ReturnType<Fixture['item']>[]): Promise<boolean[]> =>
      (await f.store.commit(items)).map(({ isRetainedFull }) => isRetainedFull === true)
    await f.commit({ message: message('there before', 'x', { retain: true }), retain: true })
    assert.deepEqual(await full(put('a'), put('b'), put('c'), put('a', 'new'), put('c')), [
      false,
      false,
      true,
      false,
      true,
    ])
    const [result] = await f.store.commit([{ ...put('d'), sessions: [target('c')] }])
    assert.deepEqual([result?.status, result?.seqs, result?.isRetainedFull], ['stored', [1], true])
    assert.deepEqual(await f.matchedTopics('#'), ['a', 'b', 'there before'])
    assert.deepEqual(await full(put('b', ''), put('c'), put('d')), [false, false, true])
    assert.deepEqual(await f.matchedTopics('#'), ['a', 'c', 'there before'])
    // Another instance has a room of its own.
    assert.deepEqual(await full({ ...put('d'), instance: 'other' }), [false])
    await f.close('c', epoch, { sessionExpirySeconds: 0 })
  },

  'an instance retains as many bytes as it may': async f => {
    const limits = limitsOf({ messages: 1_000, bytes: 4_000 })
    const put = (topicName: string, bytes: number): ReturnType<Fixture['item']> =>
      f.item({ message: message(topicName, 'x'.repeat(bytes), { retain: true }), retain: true, limits })
    const full = async (...items: ReturnType<Fixture['item']>[]): Promise<boolean[]> =>
      (await f.store.commit(items)).map(({ isRetainedFull }) => isRetainedFull === true)
    assert.deepEqual(await full(put('a', 2_000), put('b', 1_500), put('c', 1_500)), [false, false, true])
    assert.deepEqual(await full(put('a', 2_600), put('a', 100), put('c', 1_500)), [true, false, false])
    assert.deepEqual(await f.matchedTopics('#'), ['a', 'b', 'c'])
  },
}

function limitsOf(retained: { messages: number; bytes: number }): StoreLimits {
  return { queue: CONTRACT_LIMITS, retained }
}
