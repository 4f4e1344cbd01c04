import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { smallestAfter } from './smallest-after.ts'

test('smallestAfter() is a page of the sorted set', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ maxLength: 3 })),
      fc.option(fc.string({ maxLength: 3 }), { nil: undefined }),
      fc.integer({ min: 0, max: 8 }),
      (texts, after, countMax) => {
        const sorted = texts.filter(text => after === undefined || text > after).sort((a, b) => (a < b ? -1 : 1))
        assert.deepEqual(smallestAfter(texts, after, countMax), sorted.slice(0, countMax))
      },
    ),
  )
})
