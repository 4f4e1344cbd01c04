import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { InboundTopicAliases, OutboundTopicAliases } from './topic-alias.ts'

describe('InboundTopicAliases', () => {
  it('resolves what was set last, within the maximum', () => {
    const aliases = new InboundTopicAliases<string>(3)
    assert.equal(aliases.check(1), 0x82)
    assert.equal(aliases.set(3, 'a'), 0)
    assert.equal(aliases.set(1, 'b'), 0)
    assert.equal(aliases.set(3, 'c'), 0)
    assert.equal(aliases.resolve(3), 'c')
    assert.equal(aliases.resolve(1), 'b')
    assert.equal(aliases.resolve(2), undefined)
    assert.deepEqual(
      [1, 2, 3].map(alias => aliases.check(alias)),
      [0, 0x82, 0],
    )
  })

  it('refuses alias 0 and aliases above the maximum with 0x94', () => {
    const aliases = new InboundTopicAliases<string>(3)
    for (const alias of [0, 4, 65_535]) {
      assert.equal(aliases.set(alias, 'a'), 0x94)
      assert.equal(aliases.check(alias), 0x94)
      assert.equal(aliases.resolve(alias), undefined)
    }
    assert.equal(new InboundTopicAliases<string>(0).set(1, 'a'), 0x94)
  })
})

describe('OutboundTopicAliases', () => {
  it('sets an alias when a topic comes the second time and uses it from the third', () => {
    const aliases = new OutboundTopicAliases(2)
    assert.deepEqual(
      ['a', 'a', 'a', 'b', 'b', 'b'].map(name => aliases.assign(name)),
      [0, -1, 1, 0, -2, 2],
    )
    assert.deepEqual(
      ['c', 'c', 'c', 'a', 'b'].map(name => aliases.assign(name)),
      [0, 0, 0, 1, 2],
    )
  })

  it('sets none when the client allows none', () => {
    const aliases = new OutboundTopicAliases(0)
    assert.deepEqual(
      ['a', 'a', 'a'].map(name => aliases.assign(name)),
      [0, 0, 0],
    )
  })

  it('never uses a number above the maximum nor one number for two topics', () => {
    const aliases = new OutboundTopicAliases(10)
    const names = new Map<number, string>()
    for (let i = 0; i < 5000; i++) {
      const name = `t${i % 37}`
      const answer = aliases.assign(name)
      assert.ok(Math.abs(answer) <= 10)
      if (answer < 0) {
        assert.equal(names.has(-answer), false)
        names.set(-answer, name)
      } else if (answer > 0) assert.equal(names.get(answer), name)
    }
    assert.equal(names.size, 10)
  })

  it('finds a busy topic among thousands that come once', () => {
    const aliases = new OutboundTopicAliases(5)
    let used = false
    for (let i = 0; i < 1000; i++) {
      aliases.assign(`once/${i}`)
      if (i % 10 === 0) used = aliases.assign('busy') > 0
    }
    assert.equal(used, true)
  })
})
