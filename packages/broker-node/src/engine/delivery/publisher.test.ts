import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type CommitItem,
  type CommitResult,
  type Message,
  PublishRun,
  type Qos,
  type StoreLimits,
} from '@midge/protocol-core'
import { Routers } from '../routing/routers.ts'
import { SessionRegistry } from '../sessions/session-registry.ts'
import { publishPacket } from '../testing/raw-client.ts'
import { ScriptedOutlet } from '../testing/scripted-outlet.ts'
import { Gate, overriding, poll } from '../testing/test-broker.ts'
import { TestClient } from '../testing/test-client.ts'
import { TestMember } from '../testing/test-member.ts'
import { subscription, type TestServices, testMessage, testServices } from '../testing/test-services.ts'
import { openStored } from '../testing/test-session.ts'
import { Forwarder } from './forwarder.ts'
import type { PublishSource } from './publish-source.ts'
import { Publisher } from './publisher.ts'

/** A publishing client without a connection; what it is told is kept in its order. */
class Source implements PublishSource {
  readonly instance = 'default'
  readonly clientId = 'publisher'
  readonly client = new TestClient()
  readonly outlet = new ScriptedOutlet()
  session = { isStored: false, epoch: 1 }
  packetId = 0
  storeLimits: StoreLimits | undefined = undefined
  pending = 0
  readonly told: string[] = []
  readonly steps: Promise<void>[] = []

  get hasPending(): boolean {
    return this.pending > 0
  }

  onPending(): void {
    this.pending++
  }

  onSettled(): void {
    this.pending--
  }

  acknowledge(qos: Qos, packetId: number): void {
    this.told.push(`${qos}:${packetId}`)
  }

  onUnretained(qos: Qos, packetId: number): void {
    this.told.push(`unretained ${qos}:${packetId}`)
  }

  waitFor(step: Promise<void>): void {
    this.steps.push(step)
  }
}

type Commit = (items: CommitItem[]) => Promise<CommitResult[]>

/** A publisher on a store in memory; `commit` may stand between the two. */
class Bench {
  readonly services: TestServices
  readonly routers: Routers
  readonly registry: SessionRegistry
  readonly publisher: Publisher
  readonly source = new Source()
  readonly committedGroups: string[] = []
  readonly sent: { nodeId: string; groups: string[] }[] = []

  constructor(services: TestServices, commit?: (items: CommitItem[], next: Commit) => Promise<CommitResult[]>) {
    const { sent } = this
    const next: Commit = items => services.store.commit(items)
    const link = new Proxy(services.link, {
      get(target, name, self) {
        if (name === 'send')
          return (nodeId: string, _i: string, _m: Message, groups: string[]) => sent.push({ nodeId, groups })
        if (name === 'sendRun') return (nodeId: string) => sent.push({ nodeId, groups: ['run'] })
        return name === 'peers' ? () => ['n2', 'n3'] : Reflect.get(target, name, self)
      },
    })
    const store =
      commit === undefined ? services.store : overriding(services.store, { commit: items => commit(items, next) })
    this.services = { ...services, store, link }
    this.routers = new Routers(services)
    this.registry = new SessionRegistry(this.services)
    const forwarder = new Forwarder(this.services)
    this.publisher = new Publisher({
      services: this.services,
      routers: this.routers,
      sessions: this.registry,
      groups: { onCommitted: (_instance, group) => this.committedGroups.push(group) },
      forwarder,
      usages: { storeLimitsOf: () => undefined },
    })
    for (const member of [forwarder, this.publisher]) services.tick.join(member)
  }

  subscribe(clientId: string, topicFilter: string, qos: Qos = 1): TestMember {
    const member = new TestMember({ clientId })
    this.routers.of('default').addLive(member, subscription(topicFilter, { qos }))
    return member
  }

  publish(topicName: string, payload: string, fields: Partial<Message> & { packetId?: number } = {}): void {
    const { packetId = 0, ...rest } = fields
    this.source.packetId = packetId
    const match = this.routers.of('default').match(topicName)
    this.publisher.publishFrom(this.source, testMessage(topicName, payload, rest), match)
  }
}

async function start(commit?: (items: CommitItem[], next: Commit) => Promise<CommitResult[]>): Promise<Bench> {
  const services = await testServices()
  // Until its first look the directory is not known to be complete.
  await services.directory.start(new Routers(services).directoryListener())
  return new Bench(services, commit)
}

test('QoS 0 goes out at once, encoded once for many; nobody at all is counted', async () => {
  const bench = await start()
  const members = ['a', 'b', 'c'].map(id => bench.subscribe(id, 't'))
  for (const { outlet } of members) outlet.takesPlainFrames = true
  bench.publish('t', 'x', { qos: 0 })
  const frames = members.map(({ outlet }) => outlet.frames[0]?.bytes)
  assert.deepEqual(frames, new Array(3).fill(publishPacket('t', 'x')))
  bench.publish('nobody', 'x', { qos: 0 })
  assert.equal(bench.services.counters.messagesUnmatched, 1)
})

test('each subscriber gets the lower QoS, its identifiers and its RETAIN, and nothing of its own with No Local', async () => {
  const bench = await start()
  const member = new TestMember({ clientId: 'a' })
  const own = new TestMember({ clientId: 'publisher' })
  const router = bench.routers.of('default')
  router.addLive(member, subscription('t', { qos: 2, subscriptionId: 5, retainAsPublished: true }))
  router.addLive(own, subscription('t', { qos: 1, noLocal: true }))
  bench.publish('t', 'x', { qos: 1, packetId: 7 })
  assert.deepEqual(
    member.outlet.sent.map(({ qos, retain, subscriptionIds }) => [qos, retain, subscriptionIds]),
    [[1, false, [5]]],
  )
  assert.deepEqual(own.outlet.sent, [])
})

test('QoS 1 that concerns only this process is acknowledged at once; with a queue, after it is stored', async () => {
  const gate = new Gate()
  const bench = await start(async (items, next) => {
    await gate.passed
    return next(items)
  })
  const { opened, session, outlet } = await openStored(bench.services, { clientId: 's' })
  bench.publish('t', '1', { packetId: 1 })
  assert.deepEqual(bench.source.told, ['1:1'])
  assert.equal(opened.sessionPresent, false)
  bench.registry.register(session)
  bench.routers.of('default').addStored('s', subscription('t', { qos: 1 }))
  bench.publish('t', '2', { packetId: 2 })
  // Local again, but it must not overtake.
  bench.publish('other', '3', { packetId: 3 })
  await new Promise(setImmediate)
  assert.deepEqual(bench.source.told, ['1:1'])
  assert.deepEqual(outlet.payloads, [])
  gate.open()
  await bench.publisher.settled()
  assert.deepEqual(bench.source.told, ['1:1', '1:2', '1:3'])
  assert.deepEqual(outlet.payloads, ['2'])
  assert.equal(bench.source.pending, 0)
})

test('a store that fails closes the publisher unacknowledged; QoS 0 is a counted drop, the server is told', async () => {
  const bench = await start(async () => {
    throw new Error('down')
  })
  bench.publish('t', 'x', { qos: 1, retain: true, packetId: 4 })
  bench.publish('t', 'y', { qos: 0, retain: true })
  const stored = bench.publisher.publish('default', testMessage('t', 'z', { retain: true }))
  await bench.publisher.settled()
  assert.deepEqual(bench.source.told, [])
  assert.equal(bench.source.outlet.failures.length, 1)
  assert.equal(bench.services.counters.dropped.get('store_failed'), 1)
  assert.equal(await stored, false)
  assert.equal(bench.source.pending, 0)
})

test('a publisher whose session has a newer owner is closed and acknowledged nothing', async () => {
  const bench = await start(async items => items.map(() => ({ status: 'fenced', seqs: [], droppedGroups: 0 })))
  bench.source.session = { isStored: true, epoch: 1 }
  bench.publish('t', 'x', { qos: 2, packetId: 9 })
  await bench.publisher.settled()
  assert.deepEqual(bench.source.told, [])
  assert.deepEqual(bench.source.outlet.closed[0]?.options, { isFenced: true })
})

test('queues at their limit are counted drops, groups are told, and a repetition of QoS 2 reaches nobody again', async () => {
  const results: CommitResult[] = [
    { status: 'stored', seqs: [0], droppedGroups: 2 },
    { status: 'duplicate', seqs: [], droppedGroups: 0 },
  ]
  const bench = await start(async items => items.map(() => results.shift() as CommitResult))
  const member = bench.subscribe('a', 't', 2)
  bench.routers.of('default').addStored('s', subscription('t', { qos: 2 }))
  bench.routers.of('default').addStored('s', subscription('$share/g/t', { qos: 2 }))
  bench.publish('t', 'x', { qos: 2, packetId: 1 })
  bench.publish('t', 'x', { qos: 2, packetId: 1 })
  await bench.publisher.settled()
  assert.deepEqual(bench.source.told, ['2:1', '2:1'])
  assert.equal(member.outlet.sent.length, 1)
  const { dropped } = bench.services.counters
  assert.deepEqual([dropped.get('queue_full'), dropped.get('group_queue_full')], [1, 2])
  assert.deepEqual(bench.committedGroups, ['$share/g/t'])
})

test('while too much is on its way into the store its publisher is read no further', async () => {
  const gate = new Gate()
  const bench = await start(async (items, next) => {
    await gate.passed
    return next(items)
  })
  for (let i = 0; i < 20_001; i++) bench.publish('t', 'x', { qos: 0, retain: true })
  assert.equal(bench.source.steps.length, 1)
  gate.open()
  await bench.source.steps[0]
})

test('other nodes get what they are interested in, everything while the table is not complete, and long runs as runs', async () => {
  const bench = await start()
  const router = bench.routers.of('default')
  router.setRoute('n2', 't', 1)
  router.setRoute('n3', '$share/g/t', 2)
  bench.publish('t', 'x', { qos: 0 })
  assert.deepEqual(bench.sent, [
    { nodeId: 'n2', groups: [] },
    { nodeId: 'n3', groups: ['$share/g/t'] },
  ])
  bench.sent.splice(0)
  bench.publish('t', 'x', { qos: 1, packetId: 1 })
  // n2 has stored sessions only, which are fed from their queues; the group has one too.
  assert.equal(bench.sent.length, 0)
  router.setRoute('n3', '$share/g/t', 0)
  for (const count of [3, 4]) {
    const frames = Buffer.concat(new Array<Buffer>(count).fill(publishPacket('t', 'x')))
    const fields = { topicName: 't', topicBytes: Buffer.from('t'), publisherId: 'p', isV5: true, bytes: frames }
    bench.publisher.publishRun(
      'default',
      new PublishRun({ ...fields, start: 0, end: frames.length, count }),
      router.match('t'),
    )
  }
  assert.deepEqual(
    bench.sent.map(found => found.groups.join()),
    ['', '', '', 'run'],
  )
})

test('a message from another node reaches the online subscribers here, and the member it was meant for', async () => {
  const bench = await start()
  const member = bench.subscribe('a', 't')
  const inGroup = bench.subscribe('b', '$share/g/t')
  inGroup.subscriptions.set('$share/g/t', subscription('$share/g/t'))
  bench.publisher.onRemote('default', testMessage('t', 'x', { qos: 0 }), ['$share/g/t'])
  await poll(() => member.outlet.sent.length === 1, 'the subscriber')
  assert.equal(inGroup.outlet.sent.length, 1)
  assert.equal(bench.services.counters.linkMessagesReceived, 1)
})

test('an application that observes messages sees each of them with its client', async () => {
  const bench = await start()
  bench.services.hooks.observesPublish = true
  bench.publish('t', 'x', { qos: 0 })
  assert.equal(bench.services.hooks.publishedMessages.length, 1)
})
