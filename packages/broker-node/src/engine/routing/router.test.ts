import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseShare, type Qos, RouteInterest, type Subscription } from '@midge/protocol-core'
import { matches } from '@midge/protocol-core/testing'
import fc from 'fast-check'
import { TestMember } from '../testing/test-member.ts'
import { subscription } from '../testing/test-services.ts'
import type { Match } from './match.ts'
import { Router } from './router.ts'
import { ShareGroup } from './share-group.ts'

function sessionOf(clientId: string, isStored = false): TestMember {
  return new TestMember({ clientId, isStored })
}

/** What a match says, in a form that does not depend on order. */
function told(match: Match): Record<string, unknown> {
  const options = (from: { qos: Qos; retainAsPublished: boolean; subscriptionIds: number[] | undefined } | undefined) =>
    from && { qos: from.qos, rap: from.retainAsPublished, ids: from.subscriptionIds?.slice().sort((a, b) => a - b) }
  const all: Record<string, unknown> = {}
  for (const target of match.live)
    all[`live ${target.subscriber.clientId}`] = { ...options(target), own: options(target.forOwn) }
  for (const target of match.stored)
    all[`stored ${target.clientId}`] = { ...options(target), own: options(target.forOwn) }
  for (const route of match.nodes) all[`node ${route.nodeId}`] = route.interest
  for (const group of match.groups) all[`group ${group.name}`] = group.qosMax
  return all
}

test('overlapping subscriptions of one session become one delivery', () => {
  const router = new Router()
  const session = sessionOf('a')
  router.addLive(session, subscription('x/#', { qos: 1, subscriptionId: 7, noLocal: true }))
  router.addLive(session, subscription('x/+', { qos: 0, subscriptionId: 8, retainAsPublished: true }))
  router.addLive(session, subscription('x/y', { qos: 2, noLocal: true }))
  assert.deepEqual(told(router.match('x/y')), {
    'live a': { qos: 2, rap: true, ids: [7, 8], own: { qos: 0, rap: true, ids: [8] } },
  })
  assert.deepEqual(told(router.match('x')), { 'live a': { qos: 1, rap: false, ids: [7], own: undefined } })
  router.removeLive(session, 'x/+')
  assert.deepEqual(told(router.match('x/y')), { 'live a': { qos: 2, rap: false, ids: [7], own: undefined } })
})

test('interest: all for sessions that live with their connection or get QoS 0, qos0 for others', () => {
  const router = new Router()
  assert.equal(router.interestIn('a'), RouteInterest.none)
  const stored = sessionOf('s', true)
  router.addLive(stored, subscription('a', { qos: 1 }))
  assert.equal(router.interestIn('a'), RouteInterest.qos0)
  const clean = sessionOf('c')
  router.addLive(clean, subscription('a', { qos: 1 }))
  assert.equal(router.interestIn('a'), RouteInterest.all)
  router.removeLive(clean, 'a')
  assert.equal(router.interestIn('a'), RouteInterest.qos0)
  router.addLive(stored, subscription('a', { qos: 0 }))
  assert.equal(router.interestIn('a'), RouteInterest.all)
  router.addLive(clean, subscription('$share/g/a', { qos: 1 }))
  assert.equal(router.interestIn('$share/g/a'), RouteInterest.all)
  router.removeLive(clean, '$share/g/a')
  assert.equal(router.interestIn('$share/g/a'), RouteInterest.none)
})

test('a group lives as long as a member, a node or a stored member is left', () => {
  const router = new Router()
  const name = '$share/g/a/+'
  const session = sessionOf('a')
  router.addLive(session, subscription(name, { qos: 1 }))
  router.addStored('b', subscription(name, { qos: 2 }))
  router.setRoute('n2', name, RouteInterest.all)
  assert.deepEqual(told(router.match('a/b')), { [`group ${name}`]: 2 })
  router.setRoute('n2', name, RouteInterest.none)
  router.removeStored('b', name)
  assert.deepEqual(told(router.match('a/b')), { [`group ${name}`]: 1 })
  router.removeLive(session, name)
  assert.deepEqual(told(router.match('a/b')), {})
  assert.equal(router.group(name), undefined)
})

test('everyone in a group gets a turn, and those who left get none', () => {
  const group = new ShareGroup('$share/g/a')
  const members = ['a', 'b', 'c'].map(id => sessionOf(id))
  for (const member of members) group.addMember(member, 1)
  group.setNode('n2', true)
  group.setNode('n2', true)
  const turns = (count: number): string[] =>
    Array.from({ length: count }, () => {
      const next = group.next()
      return typeof next === 'string' ? next : (next?.clientId ?? 'nobody')
    })
  assert.deepEqual(turns(8).sort(), ['a', 'a', 'b', 'b', 'c', 'c', 'n2', 'n2'])
  group.setNode('n2', false)
  group.removeMember(members[0] as TestMember)
  assert.deepEqual(turns(4).sort(), ['b', 'b', 'c', 'c'])
  const firsts = Array.from({ length: 4 }, () => group.localMembersInTurn()[0]?.clientId)
  assert.deepEqual(firsts.sort(), ['b', 'b', 'c', 'c'])
  group.removeMember(members[1] as TestMember)
  group.removeMember(members[2] as TestMember)
  assert.deepEqual(turns(1), ['nobody'])
  assert.equal(group.isEmpty, true)
})

const FILTERS = ['a', 'a/b', 'a/+', '+/b', 'a/#', '#', '+', '$share/g/a/+', '$share/h/#']
const TOPICS = ['a', 'a/b', 'b', 'a/b/c', '$SYS/a']

interface Step {
  kind: 'live' | 'unlive' | 'stored' | 'unstored' | 'route' | 'nodeGone' | 'reset' | 'match'
  who: number
  filter: string
  topic: string
  options: Partial<Subscription>
  interest: RouteInterest
}

const stepArbitrary: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    'live',
    'live',
    'unlive',
    'stored',
    'stored',
    'unstored',
    'route',
    'nodeGone',
    'reset',
    'match',
  ),
  who: fc.integer({ min: 0, max: 2 }),
  filter: fc.constantFrom(...FILTERS),
  topic: fc.constantFrom(...TOPICS),
  options: fc.record({
    qos: fc.constantFrom<Qos>(0, 1, 2),
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    subscriptionId: fc.integer({ min: 0, max: 3 }),
  }),
  interest: fc.constantFrom(RouteInterest.none, RouteInterest.qos0, RouteInterest.all),
})

/** The same as the router without an index: every subscription is compared with the topic. */
class Naive {
  readonly live = new Map<string, Subscription>()
  readonly stored = new Map<string, Subscription>()
  readonly routes = new Map<string, RouteInterest>()

  told(topic: string): Record<string, unknown> {
    const all: Record<string, unknown> = {}
    this.addSessions(all, 'live', this.live, topic)
    this.addSessions(all, 'stored', new Map([...this.stored].filter(([, { qos }]) => qos > 0)), topic)
    for (const [key, interest] of this.routes) {
      const [node, filter] = key.split('|') as [string, string]
      if (parseShare(filter) === undefined && matches(topic, filter))
        all[`node ${node}`] = Math.max(interest, (all[`node ${node}`] as number | undefined) ?? 0)
    }
    for (const name of FILTERS) {
      const share = parseShare(name)
      if (share === undefined || !matches(topic, share.topicFilter)) continue
      const inGroup = [...this.live, ...this.stored]
        .filter(([key]) => key.endsWith(`|${name}`))
        .map(([, { qos }]) => qos)
      const hasNode = [...this.routes.keys()].some(key => key.endsWith(`|${name}`))
      if (hasNode) all[`group ${name}`] = 2
      else if (inGroup.length > 0) all[`group ${name}`] = Math.max(...inGroup)
    }
    return all
  }

  private addSessions(
    all: Record<string, unknown>,
    kind: string,
    from: Map<string, Subscription>,
    topic: string,
  ): void {
    const byClient = new Map<string, Subscription[]>()
    for (const [key, value] of from) {
      if (parseShare(value.topicFilter) !== undefined || !matches(topic, value.topicFilter)) continue
      const clientId = key.split('|')[0] ?? ''
      byClient.set(clientId, [...(byClient.get(clientId) ?? []), value])
    }
    for (const [clientId, found] of byClient) {
      all[`${kind} ${clientId}`] = { ...merged(found), own: merged(found.filter(({ noLocal }) => !noLocal)) }
    }
  }
}

function merged(found: Subscription[]): object | undefined {
  if (found.length === 0) return undefined
  const ids = found.map(({ subscriptionId }) => subscriptionId).filter(id => id !== 0)
  return {
    qos: Math.max(...found.map(({ qos }) => qos)),
    rap: found.some(({ retainAsPublished }) => retainAsPublished),
    ids: ids.length === 0 ? undefined : ids.sort((a, b) => a - b),
  }
}

function apply(step: Step, router: Router, naive: Naive, sessions: TestMember[]): void {
  const { who, filter, options, interest } = step
  const clientId = `c${who}`
  const key = `${clientId}|${filter}`
  const value = subscription(filter, options)
  switch (step.kind) {
    case 'live':
      router.addLive(sessions[who] as TestMember, value)
      naive.live.set(key, value)
      return
    case 'unlive':
      router.removeLive(sessions[who] as TestMember, filter)
      naive.live.delete(key)
      return
    case 'stored':
      router.addStored(clientId, value)
      naive.stored.set(key, value)
      return
    case 'unstored':
      router.removeStored(clientId, filter)
      naive.stored.delete(key)
      return
    case 'route':
      router.setRoute(`n${who}`, filter, interest)
      if (interest === RouteInterest.none) naive.routes.delete(`n${who}|${filter}`)
      else naive.routes.set(`n${who}|${filter}`, interest)
      return
    case 'nodeGone':
      router.removeNode(`n${who}`)
      for (const route of [...naive.routes.keys()]) if (route.startsWith(`n${who}|`)) naive.routes.delete(route)
      return
    case 'reset':
      router.removeAllStored()
      naive.stored.clear()
      return
    case 'match':
      assert.deepEqual(told(router.match(step.topic)), naive.told(step.topic))
  }
}

test('after any changes a topic reaches exactly whom a comparison with every filter finds', () => {
  fc.assert(
    fc.property(fc.array(stepArbitrary, { maxLength: 80 }), steps => {
      const router = new Router()
      const naive = new Naive()
      const sessions = ['c0', 'c1', 'c2'].map(id => sessionOf(id))
      for (const step of steps) apply(step, router, naive, sessions)
      for (const topic of TOPICS) assert.deepEqual(told(router.match(topic)), naive.told(topic))
    }),
    { numRuns: 500 },
  )
})
