import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FilterChanges } from './filter-changes.ts'
import { FilterIndex, type FilterNode } from './filter-index.ts'
import { CACHED_TOPIC_LENGTH_MAX, MatchCache } from './match-cache.ts'
import { filterArbitrary } from './topic-cases.test.support.ts'

/** What a publish would need to know: every entry with its value. */
function answer(indexes: FilterIndex<number, number>[], topicName: string): string {
  const lines: string[] = []
  for (const [position, index] of indexes.entries()) {
    const out: FilterNode<number, number>[] = []
    index.matchInto(topicName, out)
    for (const node of out)
      for (const [key, value] of node.entries) lines.push(`${position} ${node.filter} ${key} ${value}`)
  }
  return lines.sort().join('\n')
}

/** Few topics, so that they are asked for again; they differ in every level that decides about validity. */
const askedArbitrary = fc.constantFrom(
  'a',
  'a/b',
  'a/b/a',
  'a/b/a/b',
  'a/a/b/b/a',
  '/',
  '/a',
  'b//a',
  '$SYS/a',
  '__proto__/a',
)

const stepArbitrary = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), topic: filterArbitrary, key: fc.nat(1) }),
  fc.record({ kind: fc.constant('remove' as const), topic: filterArbitrary, key: fc.nat(1) }),
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('ask' as const), topic: askedArbitrary, key: fc.nat(1) }) },
)

describe('MatchCache', () => {
  it('always answers as the indexes would, whatever changes between', () => {
    let hits = 0
    fc.assert(
      fc.property(
        fc.array(stepArbitrary, { maxLength: 200, size: 'max' }),
        fc.constantFrom(2, 8, 1000),
        (steps, entriesMax) => {
          const changes = new FilterChanges()
          const indexes = [new FilterIndex<number, number>(changes), new FilterIndex<number, number>(changes)]
          const cache = new MatchCache<string>(changes, entriesMax)
          let value = 0
          for (const { kind, topic, key } of steps) {
            const index = indexes[key]
            if (kind === 'add') index?.add(topic, 0, value++)
            else if (kind === 'remove') index?.remove(topic, 0)
            else {
              const fresh = answer(indexes, topic)
              const cached = cache.get(topic)
              if (cached === undefined) cache.set(topic, fresh)
              else {
                hits++
                assert.equal(cached, fresh)
              }
            }
            assert.ok(cache.size <= entriesMax)
          }
        },
      ),
      { numRuns: 1000 },
    )
    assert.ok(hits > 10_000, `only ${hits} answers came from the cache`)
  })

  it('forgets one topic for a change of an exact filter, and keeps the others', () => {
    const index = new FilterIndex<string, number>()
    const cache = new MatchCache<string>(index.changes, 1000)
    for (let i = 0; i < 400; i++) cache.set(`topic/${i}`, String(i))
    for (let i = 0; i < 400; i += 2) index.add(`topic/${i}`, 'x', 1)
    for (let i = 0; i < 400; i++) assert.equal(cache.get(`topic/${i}`), i % 2 === 0 ? undefined : String(i))
  })

  it('forgets few topics for a change of a wildcard filter below a literal start', () => {
    const index = new FilterIndex<string, number>()
    const cache = new MatchCache<string>(index.changes, 4000)
    for (let i = 0; i < 1000; i++) cache.set(`home/${i}/lamp/state`, String(i))
    index.add('home/7/+/state', 'x', 1)
    assert.equal(cache.get('home/7/lamp/state'), undefined)
    let kept = 0
    for (let i = 0; i < 1000; i++) if (cache.get(`home/${i}/lamp/state`) !== undefined) kept++
    assert.ok(kept > 950, `${kept} of 1,000 kept`)
    index.add('+/7/lamp/state', 'x', 1)
    for (let i = 0; i < 1000; i++) assert.equal(cache.get(`home/${i}/lamp/state`), undefined)
  })

  it('forgets a topic for a wildcard filter that matches it, however long its literal start', () => {
    const topic = 'a/b/c/d/e'
    for (const filter of ['#', '+/#', 'a/#', 'a/+/c/d/e', 'a/b/#', 'a/b/c/+/+', 'a/b/c/d/+', 'a/b/c/d/e/#']) {
      const index = new FilterIndex<string, number>()
      const cache = new MatchCache<string>(index.changes, 10)
      for (const change of ['first', 'second', 'removed']) {
        cache.set(topic, change)
        if (change === 'removed') index.remove(filter, 'x')
        else index.add(filter, 'x', 1)
        assert.equal(cache.get(topic), undefined, `${filter} ${change}`)
      }
    }
  })

  it('keeps at least the last half of its bound, and forgets the rest', () => {
    const cache = new MatchCache<number>(new FilterChanges(), 100)
    for (let i = 0; i < 1000; i++) cache.set(`t/${i}`, i)
    for (let i = 950; i < 1000; i++) assert.equal(cache.get(`t/${i}`), i)
    assert.equal(cache.get('t/1'), undefined)
    assert.ok(cache.size <= 100)
  })

  it('keeps a topic that is asked for again and again among many that are not', () => {
    const cache = new MatchCache<number>(new FilterChanges(), 100)
    cache.set('hot', -1)
    for (let i = 0; i < 1000; i++) {
      cache.set(`cold/${i}`, i)
      if (i % 20 === 0) assert.equal(cache.get('hot'), -1)
    }
  })

  it('does not keep answers for very long names', () => {
    const cache = new MatchCache<number>(new FilterChanges(), 100)
    cache.set('x'.repeat(CACHED_TOPIC_LENGTH_MAX + 1), 1)
    cache.set('x'.repeat(CACHED_TOPIC_LENGTH_MAX), 2)
    assert.equal(cache.size, 1)
  })

  it('clear() and noteAll() make everything invalid', () => {
    const changes = new FilterChanges()
    const cache = new MatchCache<number>(changes, 100)
    cache.set('a', 1)
    changes.noteAll()
    assert.equal(cache.get('a'), undefined)
    cache.set('a', 1)
    cache.clear()
    assert.equal(cache.get('a'), undefined)
    assert.equal(cache.size, 0)
  })
})
