import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { AclRule } from './acl.ts'
import { AclPermissions } from './permissions.ts'

const jane = { username: 'jane', clientId: 'phone1' }

function rule(pattern: string, access: 'r' | 'w' | 'rw'): AclRule {
  return { pattern, read: access.includes('r'), write: access.includes('w') }
}

describe('mayPublish() and mayReceive()', () => {
  const rules = [
    rule('owntracks/%u/#', 'rw'),
    rule('owntracks/+/+', 'r'),
    rule('cmd/%c', 'w'),
    rule('$SYS/uptime', 'r'),
  ]
  const permissions = new AclPermissions(jane, rules)
  const table: [string, boolean, boolean][] = [
    // topic, publish, receive
    ['owntracks/jane/nokia', true, true],
    ['owntracks/jane', true, true],
    ['owntracks/jane/nokia/event', true, true],
    ['owntracks/bob/nokia', false, true],
    ['owntracks/bob/nokia/event', false, false],
    ['cmd/phone1', true, false],
    ['cmd/phone2', false, false],
    ['$SYS/uptime', false, true],
    ['$SYS/other', false, false],
    ['other', false, false],
  ]
  for (const [topic, publish, receive] of table) {
    it(`${topic}: publish ${publish}, receive ${receive}`, () => {
      assert.equal(permissions.mayPublish(topic), publish)
      assert.equal(permissions.mayReceive(topic), receive)
    })
  }

  it('grant nothing when the list is empty', () => {
    const none = new AclPermissions(jane, [])
    assert.equal(none.allowsAll, false)
    assert.equal(none.mayPublish('a'), false)
    assert.equal(none.mayReceive('a'), false)
    assert.equal(none.maySubscribe('a'), false)
  })

  it('do not let a name widen a rule', () => {
    for (const username of ['+', '#', 'jane/nokia', 'a+']) {
      const mallory = new AclPermissions({ username, clientId: 'x' }, [rule('owntracks/%u/#', 'rw')])
      assert.equal(mallory.mayPublish('owntracks/jane/nokia'), false)
      assert.equal(mallory.mayReceive('owntracks/jane/nokia'), false)
      assert.equal(mallory.maySubscribe('owntracks/#'), false)
    }
  })

  it("do not show names that start with '$' to a rule for everything", () => {
    const permissions = new AclPermissions(jane, [rule('#', 'rw')])
    assert.equal(permissions.mayReceive('$SYS/uptime'), false)
    assert.equal(permissions.mayPublish('$SYS/uptime'), false)
  })
})

describe('maySubscribe()', () => {
  const rules = [rule('owntracks/jane/nokia', 'r'), rule('owntracks/jane/+/event', 'r'), rule('cmd/#', 'w')]
  const permissions = new AclPermissions(jane, rules)
  const table: [string, boolean][] = [
    ['owntracks/+/+', true],
    ['owntracks/+/+/event', true],
    ['owntracks/#', true],
    ['#', true],
    ['owntracks/jane/nokia', true],
    ['$share/g/owntracks/+/+', true],
    ['owntracks/bob/+', false],
    ['owntracks/+/+/info', false],
    ['owntracks/+', false],
    ['cmd/x', false],
    ['$SYS/#', false],
    ['$share/owntracks/cmd/#', false],
  ]
  for (const [filter, expected] of table) {
    it(`${filter}: ${expected}`, () => assert.equal(permissions.maySubscribe(filter), expected))
  }
})

describe('AclPermissions', () => {
  it('allow everything without a list, and say so', () => {
    const permissions = new AclPermissions(jane, undefined)
    assert.equal(permissions.allowsAll, true)
    assert.ok(
      permissions.mayPublish('$SYS/x') && permissions.mayReceive('$SYS/x') && permissions.maySubscribe('$SYS/#'),
    )
  })

  it('answer by new rules at once, under a new version', () => {
    const permissions = new AclPermissions(jane, undefined)
    const rules = [rule('a', 'rw')]
    permissions.setRules(rules)
    assert.deepEqual([permissions.version, permissions.allowsAll, permissions.mayReceive('b')], [1, false, false])
    permissions.setRules(rules)
    assert.equal(permissions.version, 1)
    permissions.setRules([rule('b', 'r')])
    assert.deepEqual([permissions.version, permissions.mayReceive('b'), permissions.mayPublish('a')], [2, true, false])
    permissions.setRules(undefined)
    assert.deepEqual([permissions.version, permissions.allowsAll, permissions.mayPublish('a')], [3, true, true])
  })

  it('remember a bounded number of topics, with the right answer for each', () => {
    const permissions = new AclPermissions(jane, [rule('+/even', 'r')])
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 600; n++) {
        assert.equal(permissions.mayReceive(`${n}/${n % 2 === 0 ? 'even' : 'odd'}`), n % 2 === 0)
      }
    }
  })
})
