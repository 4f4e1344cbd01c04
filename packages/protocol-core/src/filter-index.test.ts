import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FilterIndex, type FilterNode } from './filter-index.ts'
import { filterArbitrary, naiveMatches, topicArbitrary } from './topic-cases.test.support.ts'

function matched<K, V>(index: FilterIndex<K, V>, topicName: string): string[] {
  const out: FilterNode<K, V>[] = []
  index.matchInto(topicName, out)
  return out.map(node => node.filter).sort()
}

type Change = { isAdd: boolean; filter: string; key: number }
const changeArbitrary: fc.Arbitrary<Change> = fc.record({
  isAdd: fc.boolean(),
  filter: filterArbitrary,
  key: fc.nat(2),
})

describe('FilterIndex', () => {
  it('says when a filter gets its first entry and loses its last', () => {
    const index = new FilterIndex<string, number>()
    assert.equal(index.add('a/+', 'x', 1), true)
    assert.equal(index.add('a/+', 'x', 2), false)
    assert.equal(index.add('a/+', 'y', 3), false)
    assert.equal(index.size, 2)
    assert.equal(index.filterCount, 1)
    assert.equal(index.get('a/+', 'x'), 2)
    assert.equal(index.remove('a/+', 'z'), false)
    assert.equal(index.remove('a/+', 'x'), false)
    assert.equal(index.remove('a/+', 'y'), true)
    assert.equal(index.remove('a/+', 'y'), false)
    assert.equal(index.size, 0)
    assert.deepEqual(matched(index, 'a/b'), [])
  })

  it("matches the parent of '#', empty levels and names that start with '$' by the standard", () => {
    const index = new FilterIndex<string, number>()
    for (const filter of ['#', '+', '+/#', 'a/#', 'a/+', '/+', '+/+', '$SYS/#', '$SYS/+', '/', 'a'])
      index.add(filter, 'x', 1)
    assert.deepEqual(matched(index, 'a'), ['#', '+', '+/#', 'a', 'a/#'])
    assert.deepEqual(matched(index, 'a/'), ['#', '+/#', '+/+', 'a/#', 'a/+'])
    assert.deepEqual(matched(index, '/'), ['#', '+/#', '+/+', '/', '/+'])
    assert.deepEqual(matched(index, '$SYS/x'), ['$SYS/#', '$SYS/+'])
    assert.deepEqual(matched(index, '$SYS'), ['$SYS/#'])
    assert.deepEqual(matched(index, '$other/x'), [])
  })

  it('treats words of the language as text', () => {
    const index = new FilterIndex<string, number>()
    assert.deepEqual(matched(index, '__proto__'), [])
    assert.deepEqual(matched(index, 'constructor/toString'), [])
    index.add('__proto__/+', 'hasOwnProperty', 1)
    index.add('constructor', '__proto__', 2)
    assert.deepEqual(matched(index, '__proto__/x'), ['__proto__/+'])
    assert.deepEqual(matched(index, 'constructor'), ['constructor'])
    assert.equal(index.get('constructor', '__proto__'), 2)
  })

  it('finds what a naive matcher finds, after any adds and removes', () => {
    fc.assert(
      fc.property(
        fc.array(changeArbitrary, { maxLength: 60, size: 'max' }),
        fc.array(topicArbitrary, { maxLength: 20, size: 'max' }),
        (changes, topics) => {
          const index = new FilterIndex<number, string>()
          const model = new Map<string, Set<number>>()
          for (const { isAdd, filter, key } of changes) {
            const keys = model.get(filter) ?? new Set()
            if (isAdd) {
              assert.equal(index.add(filter, key, `${filter} ${key}`), keys.size === 0)
              model.set(filter, keys.add(key))
            } else {
              const removed = keys.delete(key)
              assert.equal(index.remove(filter, key), removed && keys.size === 0)
              if (keys.size === 0) model.delete(filter)
            }
          }
          assert.equal(index.filterCount, model.size)
          assert.equal(
            index.size,
            [...model.values()].reduce((sum, keys) => sum + keys.size, 0),
          )
          for (const topic of topics) {
            const expected = [...model.keys()].filter(filter => naiveMatches(topic, filter)).sort()
            assert.deepEqual(matched(index, topic), expected)
          }
          for (const node of index.nodes()) assert.deepEqual(new Set(node.entries.keys()), model.get(node.filter))
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('keeps nothing of filters that have left', () => {
    fc.assert(
      fc.property(fc.array(filterArbitrary, { maxLength: 30, size: 'max' }), topicArbitrary, (filters, topic) => {
        const index = new FilterIndex<number, number>()
        for (const filter of filters) index.add(filter, 0, 0)
        for (const filter of filters) index.remove(filter, 0)
        const before = index.visitedLevels
        assert.deepEqual(matched(index, topic), [])
        assert.equal(index.visitedLevels, before, 'the tree of wildcard filters is empty')
      }),
    )
  })

  it('gives a node a new version with every change, also when its filter comes back', () => {
    const index = new FilterIndex<string, number>()
    const versions: (number | undefined)[] = []
    const look = () => versions.push(index.exactNode('a')?.version)
    index.add('a', 'x', 1)
    look()
    index.add('a', 'x', 1)
    look()
    index.add('a', 'y', 1)
    look()
    index.remove('a', 'y')
    look()
    index.remove('a', 'x')
    look()
    index.add('a', 'x', 1)
    look()
    assert.equal(new Set(versions).size, versions.length)
    assert.equal(index.wildcardVersion, 0)
    index.add('a/+', 'x', 1)
    assert.equal(index.wildcardVersion, 1)
    assert.equal(index.exactNode('a/b'), undefined)
  })

  it('looks at no more of the tree among 100,000 filters than among 1,000', () => {
    const visits = [1000, 100_000].map(count => {
      const index = new FilterIndex<number, number>()
      for (let i = 0; i < count; i++) {
        index.add(`site/${i}/+/state`, i, i)
        index.add(`site/${i}/room/#`, i, i)
        index.add(`site/${i}/room/lamp`, i, i)
        index.add(`tenant${i}/#`, i, i)
      }
      for (let i = 0; i < 100; i++) {
        assert.equal(matched(index, `site/${i * 7}/room/state`).length, 2)
        assert.equal(matched(index, `tenant${i}/x/y`).length, 1)
      }
      return index.visitedLevels
    })
    assert.equal(visits[1], visits[0])
    assert.ok((visits[0] ?? 0) <= 200 * 8)
  })
})
