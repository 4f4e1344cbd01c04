import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type DueWill,
  EMPTY_BYTES,
  type Grant,
  type InstanceRules,
  Message,
  RuleBook,
  type WillOwner,
} from '@midge/protocol-core'
import { RuleWillRights } from './rule-will-rights.ts'
import { UserPermissions } from './user-permissions.ts'

type NamedRule = Parameters<RuleBook['put']>[0]

/** Rules as an instance has them: `unlisted` is what is laid down for those that are no users. */
class Rules implements InstanceRules {
  version = 0
  unlisted: 'everything' | 'rules' = 'rules'
  readonly users = new Map<string, { isUnrestricted: boolean }>()
  readonly book = new RuleBook()

  knows(username: string): boolean {
    return this.users.has(username)
  }

  grantOf(username: string | undefined): Grant {
    const user = username === undefined ? undefined : this.users.get(username)
    if (user?.isUnrestricted === true) return 'everything'
    return user === undefined && this.unlisted === 'everything' ? 'everything' : this.book.of(username)
  }

  change(change: () => void): void {
    change()
    this.version++
  }
}

function rule(id: string, pattern: string, more: Partial<NamedRule> = {}): NamedRule {
  return { id, type: 'pattern', pattern, read: true, write: true, ...more }
}

const ANNA = { username: 'anna', clientId: 'c1' }
const RESTRICTED = { isUnrestricted: false }

function messageTo(topicName: string): Message {
  return new Message({
    topicName,
    topicBytes: Buffer.from(topicName),
    payload: EMPTY_BYTES,
    qos: 0,
    retain: false,
    properties: EMPTY_BYTES,
    expiresAtMs: 0,
    publisherId: 'c1',
  })
}

describe('UserPermissions', () => {
  it('are what is laid down at this moment, under a version that grows', () => {
    const rules = new Rules()
    rules.users.set('anna', RESTRICTED)
    rules.book.put(rule('1', 'dev/%u/%c'))
    const anna = new UserPermissions(rules, ANNA)
    const answers = (): boolean[] => [anna.allowsAll, anna.mayReceive('dev/anna/c1'), anna.mayPublish('x', 0, false)]
    assert.deepEqual(answers(), [false, true, false])
    const before = anna.version
    rules.change(() => rules.book.put(rule('1', 'x')))
    assert.ok(anna.version > before)
    assert.deepEqual(answers(), [false, false, true])
    rules.change(() => rules.users.set('anna', { isUnrestricted: true }))
    assert.deepEqual(answers(), [true, true, true])
    assert.ok(anna.maySubscribe('$SYS/#', 2) && anna.publishesAlike('x'))
  })

  it('of a user that is one no more are none, whatever others without a record may do', () => {
    for (const unlisted of ['everything', 'rules'] as const) {
      const rules = new Rules()
      rules.unlisted = unlisted
      rules.book.put(rule('1', '#'))
      const stranger = new UserPermissions(rules, ANNA)
      assert.deepEqual([stranger.allowsAll, stranger.mayPublish('x', 0, false)], [unlisted === 'everything', true])
      rules.change(() => rules.users.set('anna', RESTRICTED))
      assert.deepEqual([stranger.allowsAll, stranger.mayPublish('x', 0, false)], [false, true])
      rules.change(() => rules.users.delete('anna'))
      assert.deepEqual([stranger.allowsAll, stranger.mayPublish('x', 0, false)], [false, false])
      assert.equal(stranger.maySubscribe('#', 0) || stranger.mayReceive('x'), false)
    }
  })

  it('have the rules that a login brought beside those of the instance', () => {
    const rules = new Rules()
    rules.unlisted = 'everything'
    rules.book.put(rule('1', 'common'))
    rules.book.put(rule('2', 'token/secret', { effect: 'deny', priority: -1 }))
    const brought = [{ pattern: 'token/#', read: true, write: true }]
    const stranger = new UserPermissions(rules, ANNA, brought)
    const may = (topic: string): boolean => stranger.mayPublish(topic, 0, false)
    // Without a record only what was brought holds: that is all that somebody has vouched for.
    assert.deepEqual([stranger.allowsAll, may('token/x'), may('common')], [false, true, false])
    rules.change(() => rules.users.set('anna', RESTRICTED))
    assert.deepEqual([may('token/x'), may('token/secret'), may('common'), may('other')], [true, false, true, false])
    rules.change(() => rules.users.set('anna', { isUnrestricted: true }))
    assert.equal(stranger.allowsAll, true)
    rules.change(() => rules.users.delete('anna'))
    assert.equal(may('token/x'), false)
  })

  it('remember a bounded number of topics, with the right answer for each', () => {
    const rules = new Rules()
    rules.book.put(rule('1', '+/even'))
    const anna = new UserPermissions(rules, ANNA)
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 600; n++) {
        assert.equal(anna.mayReceive(`${n}/${n % 2 === 0 ? 'even' : 'odd'}`), n % 2 === 0)
      }
    }
  })
})

describe('RuleWillRights', () => {
  const fires = (rights: RuleWillRights, owner: WillOwner | undefined, topic: string): boolean => {
    const will: DueWill = {
      ...{ id: '1', instance: 'default', clientId: 'c1' },
      will: { message: messageTo(topic), willDelaySeconds: 0, messageExpirySeconds: -1, owner },
    }
    return rights.mayFire(will)
  }

  it('asks for the rights of the owner again', () => {
    const rules = new Rules()
    const rights = new RuleWillRights({ of: () => rules })
    rules.users.set('anna', RESTRICTED)
    rules.book.put(rule('1', 'dev/%u/%c'))
    const owner = rights.ownerOf('default', ANNA, messageTo('dev/anna/c1'))
    assert.deepEqual(owner, { username: 'anna', isKnown: true })
    assert.equal(fires(rights, owner, 'dev/anna/c1'), true)
    rules.change(() => rules.book.remove('1'))
    assert.equal(fires(rights, owner, 'dev/anna/c1'), false)
    rules.change(() => rules.book.put(rule('1', '#')))
    assert.equal(fires(rights, owner, 'dev/anna/c1'), true)
    rules.change(() => rules.users.delete('anna'))
    assert.equal(fires(rights, owner, 'dev/anna/c1'), false)
  })

  it('lets those who never were users go by what is laid down for them', () => {
    const rules = new Rules()
    rules.unlisted = 'everything'
    const rights = new RuleWillRights({ of: () => rules })
    for (const username of ['device-7', undefined]) {
      const owner = rights.ownerOf('default', { username, clientId: 'c1' }, messageTo('a'))
      assert.deepEqual(owner, { username, isKnown: false })
      assert.equal(fires(rights, owner, 'a'), true)
    }
    rules.change(() => rules.users.set('device-7', RESTRICTED))
    assert.equal(fires(rights, { username: 'device-7', isKnown: false }, 'a'), false)
  })

  it('does not ask again about what only the login allowed', () => {
    const rules = new Rules()
    const rights = new RuleWillRights({ of: () => rules })
    assert.equal(rights.ownerOf('default', ANNA, messageTo('token/x')), undefined)
    assert.equal(fires(rights, undefined, 'token/x'), true)
  })
})
