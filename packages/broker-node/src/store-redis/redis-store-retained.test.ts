import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { Redis } from 'ioredis'
import type { TestRedis } from '../testing/redis-server.ts'
import type { RedisStore } from './index.ts'
import { INSTANCE, leftovers, retained, startTwoStores, stopTwoStores } from './redis-store.test.support.ts'

describe('RedisStore: retained messages', () => {
  let redis: TestRedis
  let admin: Redis
  let a: RedisStore
  let b: RedisStore

  before(async () => {
    ;({ redis, admin, a, b } = await startTwoStores())
  })

  after(async () => {
    await stopTwoStores({ redis, admin, a, b })
  })

  beforeEach(async () => {
    await admin.flushall()
  })

  it('finds retained messages by any filter, once each, over any page size', async () => {
    const seed = Number(process.hrtime.bigint() % 1_000_000n)
    const random = mulberry(seed)
    const names = ['a', 'b', 'a!', 'a0', '$x', '', 'ä', 'a b']
    const topics = new Set<string>()
    while (topics.size < 300) {
      const levels = Array.from(
        { length: 1 + Math.floor(random() * 4) },
        () => names[Math.floor(random() * names.length)],
      )
      if (levels.join('/') !== '') topics.add(levels.join('/'))
    }
    await a.commit([...topics].map(topic => retained(topic)))
    const filters = [
      '#',
      '+',
      '+/+',
      '+/#',
      'a/#',
      'a/+',
      'a/+/b',
      '+/a/#',
      'a!/#',
      '$x/#',
      '$x/+/+',
      '+/b/+/a',
      'a/a/a/a',
      '/#',
      '+/+/+/a!',
      'ä/+/#',
    ]
    for (const filter of filters) {
      const expected = [...topics].filter(topic => naiveMatch(topic, filter)).sort()
      for (const page of [1, 7, 1000]) {
        const found: string[] = []
        let cursor: string | undefined
        do {
          const result = await b.matchRetained(INSTANCE, filter, cursor, page)
          assert.ok(result.messages.length <= page)
          found.push(...result.messages.map(one => one.topicName))
          cursor = result.cursor
        } while (cursor !== undefined)
        assert.deepEqual(found.sort(), expected, `filter ${filter}, page ${page}, seed ${seed}`)
      }
    }
    await a.commit([...topics].map(topic => retained(topic, '')))
    assert.deepEqual(await leftovers(admin), [])
  })

  it('drops a retained message that has expired', async () => {
    const now = Date.now()
    await a.commit([retained('t/old', 'x', now - 1), retained('t/new', 'x', now + 60_000), retained('t/any', 'x')])
    const page = await a.matchRetained(INSTANCE, 't/+', undefined, 10)
    assert.deepEqual(page.messages.map(one => one.topicName).sort(), ['t/any', 't/new'])
    assert.deepEqual((await a.matchRetained(INSTANCE, 't/old', undefined, 10)).messages, [])
    await a.sweep('node-a', now, 10)
    await a.sweep('node-a', now + 60_000, 10)
    await a.commit([retained('t/any', '')])
    assert.deepEqual(await leftovers(admin), [])
  })
})

function naiveMatch(topic: string, filter: string): boolean {
  const levels = topic.split('/')
  const wanted = filter.split('/')
  if (topic.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true
    if (i >= levels.length || (level !== '+' && level !== levels[i])) return false
    if (i === wanted.length - 1) return levels.length === wanted.length
    if (wanted[i + 1] === '#' && levels.length === i + 1) return true
  }
  return false
}

function mulberry(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
