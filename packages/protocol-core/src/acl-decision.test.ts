import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type AclIdentity, type AclRule, expandAclPattern, rankOf } from './acl.ts'
import { type AclQuestion, decideAcl, publishesAlike } from './acl-decision.ts'
import { AclTree } from './acl-tree.ts'
import type { Qos } from './packet.ts'
import { filterArbitrary, topicArbitrary } from './topic-cases.test.support.ts'
import { filterCovers, filtersOverlap, matches } from './topic-filter.ts'

const jane = { username: 'jane', clientId: 'phone1' }

function rule(pattern: string, access: 'r' | 'w' | 'rw', more: Partial<AclRule> = {}): AclRule {
  return { pattern, read: access.includes('r'), write: access.includes('w'), ...more }
}

function treeOf(rules: readonly AclRule[]): AclTree {
  const tree = new AclTree()
  for (const one of rules) tree.add(one)
  return tree
}

/** Asks one person about topics. */
class Person {
  private readonly who: { trees: AclTree[]; identity: AclIdentity }

  constructor(rules: readonly AclRule[], identity: AclIdentity = jane) {
    this.who = { trees: [treeOf(rules)], identity }
  }

  ask(question: AclQuestion): boolean {
    return decideAcl(this.who, question).allowed
  }

  mayPublish(topic: string, qos: Qos = 0, retain = false): boolean {
    return this.ask({ access: 'publish', topic, qos, retain })
  }

  maySubscribe(topic: string, qos: Qos = 0): boolean {
    return this.ask({ access: 'subscribe', topic, qos })
  }

  mayReceive(topic: string): boolean {
    return this.ask({ access: 'receive', topic })
  }

  publishesAlike(topic: string): boolean {
    return publishesAlike(this.who, topic)
  }
}

describe('publish and receive', () => {
  const person = new Person([
    rule('owntracks/%u/#', 'rw'),
    rule('owntracks/+/+', 'r'),
    rule('cmd/%c', 'w'),
    rule('$SYS/uptime', 'r'),
  ])
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
      assert.equal(person.mayPublish(topic), publish)
      assert.equal(person.mayReceive(topic), receive)
    })
  }

  it('are denied without a rule', () => {
    const nobody = new Person([])
    assert.equal(nobody.mayPublish('a'), false)
    assert.equal(nobody.mayReceive('a'), false)
    assert.equal(nobody.maySubscribe('a'), false)
  })

  it('do not let a name widen a rule', () => {
    for (const username of ['+', '#', 'jane/nokia', 'a+']) {
      const mallory = new Person([rule('owntracks/%u/#', 'rw')], { username, clientId: 'x' })
      assert.equal(mallory.mayPublish('owntracks/jane/nokia'), false)
      assert.equal(mallory.mayReceive('owntracks/jane/nokia'), false)
      assert.equal(mallory.maySubscribe('owntracks/#'), false)
    }
  })

  it("do not show names that start with '$' to a rule for everything", () => {
    const person = new Person([rule('#', 'rw')])
    assert.equal(person.mayReceive('$SYS/uptime'), false)
    assert.equal(person.mayPublish('$SYS/uptime'), false)
  })
})

describe('the order of rules', () => {
  it('is that of the priority, and at one priority those that deny come first', () => {
    const rules = [
      rule('a/#', 'rw'),
      rule('a/secret', 'rw', { effect: 'deny' }),
      rule('a/secret/key', 'rw', { effect: 'deny', priority: 1 }),
      rule('b/#', 'rw', { effect: 'deny' }),
      rule('b/open', 'rw', { priority: -1 }),
    ]
    const person = new Person(rules)
    const allowed = ['a/x', 'a/secret', 'a/secret/key', 'b/x', 'b/open'].filter(topic => person.mayPublish(topic))
    assert.deepEqual(allowed, ['a/x', 'a/secret/key', 'b/open'])
  })

  it('is one over all lists that concern a client', () => {
    const trees = [treeOf([rule('a', 'rw')]), treeOf([rule('#', 'rw', { effect: 'deny', priority: -5 })])]
    const question = { access: 'publish', topic: 'a', qos: 0, retain: false } as const
    const { allowed, rule: decisive } = decideAcl({ trees, identity: jane }, question)
    assert.deepEqual([allowed, decisive?.pattern], [false, '#'])
  })

  it('passes over rules for another access, another QoS and another RETAIN', () => {
    const person = new Person([
      rule('a', 'r', { effect: 'deny', priority: -1 }),
      rule('a', 'w', { effect: 'deny', qos: [2], priority: -1 }),
      rule('a', 'w', { effect: 'deny', retain: true, priority: -1 }),
      rule('a', 'rw'),
    ])
    const answers = ([0, 1, 2] as const).map(qos => [person.mayPublish('a', qos), person.mayPublish('a', qos, true)])
    assert.deepEqual(answers, [
      [true, false],
      [true, false],
      [false, false],
    ])
    assert.equal(person.mayReceive('a'), false)
    assert.equal(person.publishesAlike('a'), false)
    assert.equal(person.publishesAlike('b'), true)
  })

  it('names the rule that decides', () => {
    const [wide, narrow] = [rule('#', 'rw'), rule('a', 'w', { effect: 'deny' })]
    const who = { trees: [treeOf([wide, narrow])], identity: jane }
    const rest = { qos: 0, retain: false } as const
    assert.deepEqual(decideAcl(who, { access: 'publish', topic: 'a', ...rest }), { allowed: false, rule: narrow })
    assert.deepEqual(decideAcl(who, { access: 'publish', topic: 'b', ...rest }), { allowed: true, rule: wide })
    assert.deepEqual(decideAcl(who, { access: 'publish', topic: '$SYS', ...rest }), { allowed: false, rule: undefined })
    assert.deepEqual(decideAcl(who, { access: 'subscribe', topic: 'a/+', qos: 1 }), { allowed: true, rule: wide })
  })
})

describe('subscribe', () => {
  const person = new Person([
    rule('owntracks/jane/nokia', 'r'),
    rule('owntracks/jane/+/event', 'r'),
    rule('cmd/#', 'w'),
  ])
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
    it(`${filter}: ${expected}`, () => assert.equal(person.maySubscribe(filter), expected))
  }

  it('is refused when all that the filter matches is denied before it is allowed, and only then', () => {
    const strict = new Person([
      rule('#', 'r'),
      rule('secret/#', 'r', { effect: 'deny' }),
      rule('secret/open', 'r', { priority: -1 }),
      rule('+/hidden', 'r', { effect: 'deny' }),
    ])
    const answers = [
      '#',
      'secret/#',
      'secret/open',
      'secret/x',
      '$share/g/secret/x',
      'a/hidden',
      'a/#',
      '+/hidden',
    ].map(filter => [filter, strict.maySubscribe(filter)])
    assert.deepEqual(answers, [
      ['#', true],
      ['secret/#', true],
      ['secret/open', true],
      ['secret/x', false],
      ['$share/g/secret/x', false],
      ['a/hidden', false],
      ['a/#', true],
      ['+/hidden', false],
    ])
    assert.deepEqual([strict.mayReceive('secret/x'), strict.mayReceive('secret/open')], [false, true])
  })

  it('looks at the QoS that is asked for, and delivery at what could have been asked for', () => {
    const slow = new Person([rule('a', 'r', { qos: [0] })])
    assert.deepEqual([slow.maySubscribe('a', 0), slow.maySubscribe('a', 1)], [true, false])
    assert.equal(slow.mayReceive('a'), true)
    const noQos2 = new Person([rule('a', 'r'), rule('a', 'r', { effect: 'deny', qos: [2] })])
    assert.deepEqual([noQos2.maySubscribe('a', 1), noQos2.maySubscribe('a', 2)], [true, false])
    assert.equal(noQos2.mayReceive('a'), true)
    const never = new Person([rule('a', 'r'), rule('a', 'r', { effect: 'deny', qos: [0, 1, 2] })])
    assert.equal(never.mayReceive('a'), false)
  })
})

/** Levels of patterns are made templates now and then. */
const ruleArbitrary: fc.Arbitrary<AclRule> = fc
  .tuple(filterArbitrary, fc.constantFrom('a', 'b'), fc.constantFrom('%u', '%c', 'x%u'), fc.boolean(), fc.nat(2))
  .map(([filter, level, template, isDenial, priority]) => ({
    pattern: filter
      .split('/')
      .map(text => (text === level ? template : text))
      .join('/'),
    read: true,
    write: true,
    effect: isDenial ? 'deny' : 'allow',
    priority,
  }))
const identityArbitrary: fc.Arbitrary<AclIdentity> = fc.record({
  username: fc.constantFrom('a', 'b', '$', 'a+', undefined),
  clientId: fc.constantFrom('a', '$SYS', 'b'),
})

/** The first of the rules that fit, as plainly as it can be said. */
function naivePublish(rules: readonly AclRule[], identity: AclIdentity, topicName: string): boolean {
  const fitting = rules.filter(one => {
    const pattern = expandAclPattern(one.pattern, identity)
    return pattern !== undefined && matches(topicName, pattern)
  })
  fitting.sort((a, b) => rankOf(a) - rankOf(b))
  return fitting[0]?.effect === 'allow'
}

function naiveSubscribe(rules: readonly AclRule[], identity: AclIdentity, topicFilter: string): boolean {
  const expanded = rules.flatMap(one => {
    const pattern = expandAclPattern(one.pattern, identity)
    return pattern === undefined ? [] : [{ pattern, rank: rankOf(one), effect: one.effect }]
  })
  const denials = expanded.filter(one => one.effect === 'deny' && filterCovers(one.pattern, topicFilter))
  const bound = Math.min(...denials.map(one => one.rank), Number.POSITIVE_INFINITY)
  return expanded.some(one => one.effect === 'allow' && one.rank < bound && filtersOverlap(one.pattern, topicFilter))
}

describe('AclTree', () => {
  it('finds among many rules, some of them removed again, what a look at each of them finds', () => {
    fc.assert(
      fc.property(
        fc.array(ruleArbitrary, { maxLength: 120 }),
        fc.nat(120),
        identityArbitrary,
        topicArbitrary,
        filterArbitrary,
        (rules, removedCount, identity, topicName, topicFilter) => {
          const tree = treeOf(rules)
          for (const one of rules.slice(0, removedCount)) tree.remove(one)
          const left = rules.slice(removedCount)
          assert.equal(tree.size, left.length)
          const who = { trees: [tree], identity }
          const published = decideAcl(who, { access: 'publish', topic: topicName, qos: 1, retain: false })
          assert.equal(published.allowed, naivePublish(left, identity, topicName))
          const subscribed = decideAcl(who, { access: 'subscribe', topic: topicFilter, qos: 1 })
          assert.equal(subscribed.allowed, naiveSubscribe(left, identity, topicFilter))
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('looks at few of very many rules', () => {
    const tree = new AclTree()
    for (let n = 0; n < 100_000; n++) tree.add(rule(`site/${n % 1000}/device/${n}/#`, 'rw'))
    let shown = 0
    const count = (): boolean => {
      shown++
      return false
    }
    tree.visitMatching('site/7/device/5007/state', jane, count)
    tree.visitCovering('site/7/device/5007/#', jane, count)
    tree.visitOverlapping('site/7/device/5007/+', jane, count)
    assert.equal(shown, 3)
    const startedMs = performance.now()
    for (let n = 0; n < 1000; n++) tree.visitMatching(`site/${n}/device/${n}/state`, jane, count)
    // A look at each of them would take minutes.
    assert.ok(performance.now() - startedMs < 1000)
    assert.equal(shown, 1003)
  })
})
