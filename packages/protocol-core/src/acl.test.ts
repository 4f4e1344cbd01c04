import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type AclRule, checkAclPattern, expandAclPattern, mayPublish, mayReceive, maySubscribe } from './acl.ts'

const jane = { username: 'jane', clientId: 'phone1' }

function rule(pattern: string, access: 'r' | 'w' | 'rw'): AclRule {
  return { pattern, read: access.includes('r'), write: access.includes('w') }
}

describe('expandAclPattern()', () => {
  const table: [string, string | undefined, string | undefined, string | undefined][] = [
    // pattern, username, clientId, expected
    ['owntracks/%u/#', 'jane', 'x', 'owntracks/jane/#'],
    ['%u', 'jane', 'x', 'jane'],
    ['dev-%c-%u/state', 'jane', 'phone1', 'dev-phone1-jane/state'],
    ['plain/+', undefined, 'x', 'plain/+'],
    ['a/%x/%', 'jane', 'x', 'a/%x/%'],
    ['a/%u', '%c', 'x', 'a/%c'],
    ['a/%u', '$&', 'x', 'a/$&'],
    ['a/%u', '$SYS', 'x', 'a/$SYS'],
    ['a/%u/%c', '__proto__', 'constructor', 'a/__proto__/constructor'],
    ['a/%u', undefined, 'x', undefined],
    ['a/%u', '', 'x', undefined],
    ['a/%c', 'jane', '', undefined],
    ['a/%u', '+', 'x', undefined],
    ['a/%u', '#', 'x', undefined],
    ['a/%u', 'b/c', 'x', undefined],
    ['a/%u', 'b\u0000', 'x', undefined],
    ['a-%u/b', 'x+', 'x', undefined],
    ['a/%c', 'jane', 'a/#', undefined],
    ['%u/#', '$SYS', 'x', undefined],
    ['%c/#', 'jane', '$share', undefined],
  ]
  for (const [pattern, username, clientId, expected] of table) {
    it(`${pattern} for ${JSON.stringify([username, clientId])}: ${expected}`, () => {
      assert.equal(expandAclPattern(pattern, { username, clientId: clientId ?? '' }), expected)
    })
  }
})

describe('checkAclPattern()', () => {
  it('accepts filters with placeholders and refuses what no identity could make valid', () => {
    for (const pattern of ['#', 'a/%u/#', '%c', 'x%u%cx/+']) assert.equal(checkAclPattern(pattern), 0, pattern)
    for (const pattern of ['', '+%u', '%u#', 'a/#/%u', 'a+']) assert.equal(checkAclPattern(pattern), 0x8f, pattern)
    assert.equal(checkAclPattern('a/%u/b', 2), 0x8f)
  })
})

describe('mayPublish() and mayReceive()', () => {
  const rules = [
    rule('owntracks/%u/#', 'rw'),
    rule('owntracks/+/+', 'r'),
    rule('cmd/%c', 'w'),
    rule('$SYS/uptime', 'r'),
  ]
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
      assert.equal(mayPublish(rules, topic, jane), publish)
      assert.equal(mayReceive(rules, topic, jane), receive)
    })
  }

  it('grant nothing without rules', () => {
    assert.equal(mayPublish([], 'a', jane), false)
    assert.equal(mayReceive([], 'a', jane), false)
    assert.equal(maySubscribe([], 'a', jane), false)
  })

  it('do not let a name widen a rule', () => {
    for (const username of ['+', '#', 'jane/nokia', 'a+']) {
      const mallory = { username, clientId: 'x' }
      assert.equal(mayPublish([rule('owntracks/%u/#', 'rw')], 'owntracks/jane/nokia', mallory), false)
      assert.equal(mayReceive([rule('owntracks/%u/#', 'rw')], 'owntracks/jane/nokia', mallory), false)
      assert.equal(maySubscribe([rule('owntracks/%u/#', 'rw')], 'owntracks/#', mallory), false)
    }
  })

  it("do not show names that start with '$' to a rule for everything", () => {
    assert.equal(mayReceive([rule('#', 'rw')], '$SYS/uptime', jane), false)
    assert.equal(mayPublish([rule('#', 'rw')], '$SYS/uptime', jane), false)
  })
})

describe('maySubscribe()', () => {
  const rules = [rule('owntracks/jane/nokia', 'r'), rule('owntracks/jane/+/event', 'r'), rule('cmd/#', 'w')]
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
    it(`${filter}: ${expected}`, () => assert.equal(maySubscribe(rules, filter, jane), expected))
  }
})
