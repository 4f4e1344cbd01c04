import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkAclPattern, expandAclPattern } from './acl.ts'

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
