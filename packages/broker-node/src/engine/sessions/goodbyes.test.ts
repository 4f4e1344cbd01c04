import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Goodbyes } from './goodbyes.ts'

describe('Goodbyes', () => {
  it('knows the connection that said goodbye, and no other', () => {
    const goodbyes = new Goodbyes()
    goodbyes.note('default', 'c', 7)
    assert.equal(goodbyes.has('default', 'c', 7), true)
    assert.equal(goodbyes.has('default', 'c', 8), false)
    assert.equal(goodbyes.has('other', 'c', 7), false)
    goodbyes.forget('default', 'c', 6)
    assert.equal(goodbyes.has('default', 'c', 7), true)
    goodbyes.forget('default', 'c', 7)
    assert.equal(goodbyes.has('default', 'c', 7), false)
  })

  it('is bounded and forgets the oldest', () => {
    const goodbyes = new Goodbyes()
    for (let n = 0; n < 10_000; n++) goodbyes.note('default', `c${n}`, n)
    goodbyes.note('default', 'c0', 20_000)
    goodbyes.note('default', 'new', 20_001)
    assert.equal(goodbyes.has('default', 'c0', 20_000), true)
    assert.equal(goodbyes.has('default', 'new', 20_001), true)
    assert.equal(goodbyes.has('default', 'c1', 1), false)
    assert.equal(goodbyes.has('default', 'c2', 2), true)
  })
})
