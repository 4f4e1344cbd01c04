import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RETAINED_VISITS_MAX, RetainedIndex } from './retained-index.ts'
import { filterArbitrary, naiveMatches, topicArbitrary } from './topic-cases.test.support.ts'

function walk<T>(index: RetainedIndex<T>, filter: string, countMax: number, between: () => void = () => {}): string[] {
  const topics: string[] = []
  let cursor: string | undefined
  do {
    const page = index.match(filter, cursor, countMax)
    assert.ok(page.topics.length <= countMax)
    assert.equal(page.values.length, page.topics.length)
    topics.push(...page.topics)
    assert.notEqual(page.cursor ?? '', cursor, 'every page goes on')
    cursor = page.cursor
    if (cursor !== undefined) between()
  } while (cursor !== undefined)
  return topics
}

const changeArbitrary = fc.record({ isSet: fc.boolean(), topic: topicArbitrary })

function apply(index: RetainedIndex<string>, model: Set<string>, change: { isSet: boolean; topic: string }): void {
  if (change.isSet) {
    index.set(change.topic, `value of ${change.topic}`)
    model.add(change.topic)
  } else assert.equal(index.delete(change.topic), model.delete(change.topic))
}

describe('RetainedIndex', () => {
  it('sets, replaces, gets and deletes', () => {
    const index = new RetainedIndex<number>()
    index.set('a/b', 1)
    index.set('a', 2)
    index.set('a/b', 3)
    assert.equal(index.size, 2)
    assert.equal(index.get('a/b'), 3)
    assert.equal(index.get('a/c'), undefined)
    assert.equal(index.delete('a/c'), false)
    assert.equal(index.delete('a'), true)
    assert.equal(index.delete('a'), false)
    assert.equal(index.get('a/b'), 3)
    assert.equal(index.size, 1)
    index.clear()
    assert.equal(index.size, 0)
    assert.deepEqual(index.match('#', undefined, 10), { topics: [], values: [], cursor: undefined })
  })

  it("does not show names that start with '$' to a wildcard at the first level", () => {
    const index = new RetainedIndex<number>()
    index.set('$SYS/x', 1)
    index.set('a/$x', 2)
    assert.deepEqual(walk(index, '#', 10), ['a/$x'])
    assert.deepEqual(walk(index, '+/x', 10), [])
    assert.deepEqual(walk(index, '$SYS/+', 10), ['$SYS/x'])
  })

  it('finds each topic that a naive matcher finds exactly once, with any page size and visit budget', () => {
    fc.assert(
      fc.property(
        fc.array(changeArbitrary, { maxLength: 80, size: 'max' }),
        filterArbitrary,
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom(1, 2, 7, 1000),
        (changes, filter, countMax, visitsMax) => {
          const index = new RetainedIndex<string>(visitsMax)
          const model = new Set<string>()
          for (const change of changes) apply(index, model, change)
          assert.equal(index.size, model.size)
          for (const topic of model) assert.equal(index.get(topic), `value of ${topic}`)
          const expected = [...model].filter(topic => naiveMatches(topic, filter)).sort()
          assert.deepEqual(walk(index, filter, countMax).sort(), expected)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('shows a topic that is there during the whole walk exactly once, whatever changes between the pages', () => {
    fc.assert(
      fc.property(
        fc.array(topicArbitrary, { minLength: 5, maxLength: 60, size: 'max' }),
        fc.array(changeArbitrary, { maxLength: 60, size: 'max' }),
        filterArbitrary,
        fc.integer({ min: 1, max: 3 }),
        (topics, changes, filter, countMax) => {
          const index = new RetainedIndex<string>(5)
          const model = new Set<string>()
          for (const topic of topics) apply(index, model, { isSet: true, topic })
          const wholeWalk = new Set(model)
          const pending = [...changes]
          const seen = walk(index, filter, countMax, () => {
            for (const change of pending.splice(0, 3)) {
              apply(index, model, change)
              if (!change.isSet) wholeWalk.delete(change.topic)
            }
          })
          for (const topic of seen) assert.ok(naiveMatches(topic, filter))
          for (const topic of wholeWalk) {
            const times = seen.filter(other => other === topic).length
            assert.equal(times, naiveMatches(topic, filter) ? 1 : 0, topic)
          }
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('goes on where it was after the topic of the cursor and its parents have been deleted', () => {
    const index = new RetainedIndex<number>()
    for (let i = 0; i < 100; i++) index.set(`a/${i}/x`, i)
    const first = index.match('a/#', undefined, 10)
    for (let i = 0; i < 50; i++) index.delete(`a/${i}/x`)
    const second = index.match('a/#', first.cursor, 100)
    assert.deepEqual(
      second.topics,
      Array.from({ length: 50 }, (_, i) => `a/${50 + i}/x`),
    )
  })

  it('misses nothing that is set again when it is cleared during a walk', () => {
    const index = new RetainedIndex<number>()
    for (let i = 0; i < 20; i++) index.set(`t${i}`, i)
    const first = index.match('#', undefined, 10)
    index.clear()
    for (let i = 0; i < 20; i++) index.set(`t${i}`, i)
    assert.equal(index.match('#', first.cursor, 100).topics.length, 20)
  })

  it('looks at only a page of a large tree for a page, first or later, and within its budget for a rare match', () => {
    const index = new RetainedIndex<number>()
    const count = 200_000
    for (let i = 0; i < count; i++) index.set(`a/b/${i}`, i)
    index.set('a/rare/state', 1)
    let before = index.visitedNodes
    const visited = (): number => {
      const now = index.visitedNodes - before
      before = index.visitedNodes
      return now
    }
    const first = index.match('a/b/#', undefined, 100)
    assert.equal(first.topics.length, 100)
    assert.ok(visited() <= 110)
    const second = index.match('a/b/#', first.cursor, 100)
    assert.equal(second.topics[0], 'a/b/100')
    assert.ok(visited() <= 110)
    // Nothing matches among 200,000 siblings: pages end at the budget, and the walk still ends.
    let cursor: string | undefined
    let pages = 0
    do {
      cursor = index.match('a/b/+/state', cursor, 100).cursor
      assert.ok(visited() <= RETAINED_VISITS_MAX)
      pages++
    } while (cursor !== undefined)
    assert.equal(pages, Math.floor(count / RETAINED_VISITS_MAX) + 1)
  })

  it('stays small when topics come and go for long', () => {
    const index = new RetainedIndex<number>()
    index.set('stay', 0)
    for (let i = 0; i < 100_000; i++) {
      index.set(`go/${i}`, i)
      index.delete(`go/${i}`)
    }
    assert.deepEqual(walk(index, '#', 10), ['stay'])
    index.set('go/last', 1)
    assert.deepEqual(walk(index, '+/+', 10), ['go/last'])
  })
})
