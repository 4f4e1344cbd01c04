import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RouteInterest } from '@midge/protocol-core'
import { Routers } from '../routing/routers.ts'
import { overriding, poll } from '../testing/test-broker.ts'
import { TestMember } from '../testing/test-member.ts'
import { subscription, type TestServices, testMessage, testServices } from '../testing/test-services.ts'
import { openStored } from '../testing/test-session.ts'
import { GroupQueues } from './group-queues.ts'

const GROUP = '$share/g/t'

/** Queues of share groups on a store in memory, with members that are no sessions. */
class Bench {
  readonly services: TestServices
  readonly routers: Routers
  readonly queues: GroupQueues
  readonly pokes: string[] = []

  constructor(services: TestServices) {
    const { pokes } = this
    const link = new Proxy(services.link, {
      get: (target, name, self) =>
        name === 'pokeGroup' ? (nodeId: string) => pokes.push(nodeId) : Reflect.get(target, name, self),
    })
    this.services = { ...services, link }
    this.routers = new Routers(services)
    this.queues = new GroupQueues(this.services, this.routers)
    services.tick.join(this.queues)
  }

  /** A member whose session the store knows, so that it may take messages. */
  async join(clientId: string): Promise<TestMember> {
    const { opened } = await openStored(this.services, { clientId })
    const member = new TestMember({ clientId, epoch: opened.epoch })
    member.subscriptions.set(GROUP, subscription(GROUP, { qos: 2 }))
    this.routers.of('default').addLive(member, subscription(GROUP, { qos: 2 }))
    return member
  }

  async store(...payloads: string[]): Promise<void> {
    const groups = [{ group: GROUP, qos: 2 as const }]
    await this.services.store.commit(
      payloads.map(payload => ({
        ...{ instance: 'default', message: testMessage('t', payload, { qos: 2 }), sessions: [], groups },
        ...{ retain: false, inbound: undefined },
      })),
    )
  }
}

async function start(): Promise<Bench> {
  return new Bench(await testServices())
}

test('members take what is stored in turn, each message once', async () => {
  const bench = await start()
  const members = [await bench.join('a'), await bench.join('b')]
  await bench.store('1', '2', '3', '4')
  for (let i = 0; i < 4; i++) bench.queues.onCommitted('default', GROUP)
  const all = (): string[] => members.flatMap(({ taken }) => taken.map(({ message }) => `${message.payload}`))
  await poll(() => all().length === 4, 'all taken')
  assert.deepEqual(new Set(all()).size, 4)
  assert.ok(members.every(({ taken }) => taken.length > 0))
})

test('messages wait while no member has room, and go to the one that gets it', async () => {
  const bench = await start()
  const member = await bench.join('a')
  member.windowRoom = 0
  await bench.store('1', '2')
  bench.queues.drain('default', GROUP)
  assert.equal(bench.queues.hasBacklog, true)
  assert.equal(member.taken.length, 0)
  member.windowRoom = 5
  bench.queues.onRoom(member)
  await poll(() => member.taken.length === 2, 'both')
  assert.equal(bench.queues.hasBacklog, false)
  assert.equal(member.windowRoom, 3)
})

test('what a member took that has gone meanwhile is given back', async () => {
  const bench = await start()
  const gone = await bench.join('gone')
  await bench.store('1')
  bench.queues.drain('default', GROUP)
  gone.outlet.isClosed = true
  bench.routers.of('default').removeLive(gone, GROUP)
  await poll(() => gone.windowRoom === 10, 'its ids are free')
  const other = await bench.join('other')
  bench.queues.drain('default', GROUP)
  await poll(() => other.taken.length === 1, 'the message')
  assert.equal(gone.taken.length, 0)
})

test('acknowledgements of a tick go to the store together, and are then no longer held', async () => {
  const bench = await start()
  const member = await bench.join('a')
  await bench.store('1', '2')
  bench.queues.drain('default', GROUP)
  await poll(() => member.taken.length === 2, 'both')
  const held = () => bench.services.store.heldOfGroup('default', GROUP, 'a', member.epoch)
  assert.equal((await held()).length, 2)
  for (const { seq } of member.taken) bench.queues.ack(member, GROUP, seq)
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  assert.equal((await held()).length, 0)
})

test('PUBREL follows the record of PUBREC, and a store that fails is the business of the member', async () => {
  const bench = await start()
  const member = await bench.join('a')
  await bench.store('1')
  bench.queues.drain('default', GROUP)
  await poll(() => member.taken.length === 1, 'taken')
  const { seq = 0, packetId = 0 } = member.taken[0] ?? {}
  bench.queues.release(member, GROUP, { seq, packetId })
  assert.deepEqual(member.outlet.pubrels, [])
  await poll(() => member.outlet.pubrels.length === 1, 'PUBREL')
  await bench.queues.resume(member, GROUP)
  assert.equal(member.taken.at(-1)?.released, true)
  const failing = new GroupQueues(
    {
      ...bench.services,
      store: overriding(bench.services.store, { releaseGroup: () => Promise.reject(new Error('down')) }),
    },
    bench.routers,
  )
  failing.release(member, GROUP, { seq, packetId })
  await poll(() => member.outlet.failures.length === 1, 'the failure')
})

test('the turn of another node is a poke, and what came back there asks for a full take', async () => {
  const bench = await start()
  bench.routers.of('default').setRoute('n2', GROUP, RouteInterest.all)
  bench.queues.onCommitted('default', GROUP)
  assert.deepEqual(bench.pokes, ['n2'])
  bench.queues.announce('default', GROUP)
  assert.equal(bench.pokes.length, 65)
})

test('a group that its last member has left loses its queue; one with members is served by them', async () => {
  const bench = await start()
  const member = await bench.join('a')
  await bench.store('1')
  await bench.queues.leave('default', ['not/shared', GROUP])
  await poll(() => member.taken.length === 1, 'served')
  await bench.store('2')
  bench.routers.of('default').removeLive(member, GROUP)
  await bench.queues.leave('default', [GROUP])
  const late = await bench.join('late')
  bench.queues.drain('default', GROUP)
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  assert.equal(late.taken.length, 0)
})

test('hints that were lost are made up for, and what has no members here is forgotten', async () => {
  const bench = await start()
  const member = await bench.join('a')
  member.windowRoom = 0
  bench.queues.drain('default', GROUP)
  assert.equal(bench.queues.hasBacklog, true)
  member.windowRoom = 1
  await bench.store('1')
  bench.queues.sweep()
  await poll(() => member.taken.length === 1, 'taken without a hint')
  bench.queues.drain('default', GROUP)
  assert.equal(bench.queues.hasBacklog, true)
  bench.routers.of('default').removeLive(member, GROUP)
  bench.queues.sweep()
  assert.equal(bench.queues.hasBacklog, false)
})
