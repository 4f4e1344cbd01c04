import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import {
  type ConnectOptions,
  publishPacket,
  type RawClient,
  type SubscribeFilter,
} from '../engine/testing/raw-client.ts'
import { poll } from '../engine/testing/test-broker.ts'
import type { Actor } from '../tenancy/tenancy.ts'
import { type DoorKind, TenantCluster } from './testing/tenant-cluster.ts'

const ACTOR: Actor = { kind: 'key', id: 'test' }
const DOORS: readonly DoorKind[] = ['name', 'tls', 'ws', 'wss', 'port']
/** Names that run into each other where a key is put together carelessly. */
const INSTANCES = ['a', 'a-b'] as const
const PASSWORD = { a: 'of a', 'a-b': 'of a-b' }
const HOUR = [0x11, 0, 0, 0x0e, 0x10]
const END = 'end'

let cluster: TenantCluster

before(async () => {
  cluster = await TenantCluster.start(3)
  const { instances, users } = cluster.node.tenancy
  for (const id of INSTANCES) {
    await instances.create({ id, name: id, plan: 'unlimited', hosts: [`${id}.example`], withPorts: true }, ACTOR)
    await users.create(id, 'ann', { secret: { password: PASSWORD[id] }, isUnrestricted: true }, ACTOR)
  }
})
after(() => cluster?.stop())
afterEach(() => cluster.dropClients())

function ann(instance: 'a' | 'a-b', options: ConnectOptions = {}): ConnectOptions {
  return { username: 'ann', password: PASSWORD[instance], ...options }
}

async function subscribe(client: RawClient, filters: SubscribeFilter[]): Promise<void> {
  const codes = await client.subscribe(filters)
  assert.ok(
    codes.every(code => code < 3),
    String(codes),
  )
}

/** Publishes and waits for the acknowledgement. */
async function publish(client: RawClient, topic: string, payload: string, retain = false): Promise<void> {
  const before = client.frames.filter(({ type }) => type === 4).length
  client.send(publishPacket(topic, payload, { qos: 1, packetId: 9, retain, version: client.version }))
  await client.until(() => client.frames.filter(({ type }) => type === 4).length > before)
}

/** Payloads that a client has got when the last one of its own instance is there. */
async function payloadsOf(client: RawClient): Promise<string[]> {
  await client.until(() => client.deliveries().some(({ payload }) => payload === END))
  return client.deliveries().map(({ payload }) => payload)
}

/** Everything that can be subscribed to with wildcards, in the plain way and in a group. */
const EVERYTHING: SubscribeFilter[] = [
  { filter: '#', options: 1 },
  { filter: '+/+', options: 1 },
  { filter: '$SYS/#', options: 1 },
  { filter: '$share/group/#', options: 1 },
]
/** Topics that look like names of the other instance, or like the parts of keys. */
const TOPICS = ['x', 'a-b/x', 'b/x', '-b/x', '\nx', 'a-b\nx', ':x', '{a-b}', '/', '$share/group/x']

for (const [index, door] of DOORS.entries()) {
  test(`no message crosses by the door "${door}", live, shared, retained or kept, on the same node or another`, async () => {
    const at = index % 3
    const other = (index + 1) % 3
    const stored = { clean: false, properties: HOUR, clientId: `kept-${door}` }
    const away = await cluster.enter(other, door, 'a-b', ann('a-b', stored))
    await subscribe(away, EVERYTHING)
    away.stream.destroy()
    const here = await cluster.enter(at, door, 'a-b', ann('a-b', { clientId: `here-${door}` }))
    const there = await cluster.enter(other, door, 'a-b', ann('a-b', { clientId: `there-${door}` }))
    const own = await cluster.enter(other, door, 'a', ann('a', { clientId: `own-${door}` }))
    for (const client of [here, there, own]) await subscribe(client, EVERYTHING)
    const publisher = await cluster.enter(at, door, 'a', ann('a', { clientId: `there-${door}` }))
    for (const topic of TOPICS.filter(topic => !topic.startsWith('$'))) await publish(publisher, topic, 'secret', true)
    const neighbour = await cluster.enter(at, door, 'a-b', ann('a-b', { clientId: `own-${door}` }))
    await publish(neighbour, 'x', 'for its own')
    await publish(neighbour, 'x', END)
    await publish(publisher, 'x', END)
    for (const client of [here, there]) assert.ok(!(await payloadsOf(client)).includes('secret'))
    const got = await payloadsOf(own)
    assert.ok(got.includes('secret') && !got.includes('for its own'))
    const back = await cluster.enter(at, door, 'a-b', ann('a-b', stored))
    assert.ok(!(await payloadsOf(back)).includes('secret'))
    const late = await cluster.enter(other, door, 'a-b', ann('a-b', { clientId: `late-${door}` }))
    await subscribe(late, [{ filter: '#', options: 1 }, { filter: '+/+' }])
    await publish(late, 'x', END)
    assert.ok(!(await payloadsOf(late)).includes('secret'))
    // The same ids in both instances have thrown nobody out.
    for (const client of [here, there, own, publisher, neighbour]) assert.equal(client.isClosed, false)
  })

  test(`who belongs to one instance is nobody by the door "${door}" of another`, async () => {
    assert.equal(await cluster.knock(0, door, 'a', ann('a')), 0)
    assert.equal(await cluster.knock(1, door, 'a-b', ann('a')), 0x86)
    assert.equal(await cluster.knock(2, door, 'a', ann('a-b', { version: 4 })), 4)
    assert.equal(await cluster.knock(0, door, 'a', { clientId: 'nameless' }), 0x87)
    assert.equal(await cluster.knock(0, door, 'a', { username: 'midge', password: 'first' }), 0x86)
  })
}

test('a will stays in its instance, whichever node its client was on', async () => {
  const seen = await Promise.all(INSTANCES.map(id => cluster.enter(2, 'name', id, ann(id, { clientId: 'watching' }))))
  for (const client of seen) await subscribe(client, [{ filter: '#', options: 1 }])
  const dying = await cluster.enter(
    1,
    'tls',
    'a',
    ann('a', { clientId: 'dying', will: { topic: 'w', payload: 'will' } }),
  )
  dying.stream.destroy()
  const [own, other] = seen
  assert.ok(own !== undefined && other !== undefined)
  await own.until(() => own.deliveries().some(({ payload }) => payload === 'will'))
  await publish(other, 'x', END)
  assert.ok(!(await payloadsOf(other)).includes('will'))
})

test('a suspended instance puts its clients out on every node and lets nobody in; its neighbour notices nothing', async () => {
  const { instances } = cluster.at(1).tenancy
  const clients = await Promise.all(
    [0, 1, 2].map(at => cluster.enter(at, 'name', 'a', ann('a', { clientId: `s${at}` }))),
  )
  const neighbour = await cluster.enter(0, 'name', 'a-b', ann('a-b', { clientId: 's0' }))
  await instances.change('a', { state: 'suspended' }, ACTOR)
  for (const client of clients) {
    await client.closed()
    assert.deepEqual(client.frames.at(-1)?.body[0], 0x98)
  }
  assert.equal(await cluster.knock(0, 'tls', 'a', ann('a')), 0x88)
  assert.equal(await cluster.knock(2, 'name', 'a', ann('a', { version: 4 })), 3)
  assert.equal(await cluster.knock(2, 'name', 'a-b', ann('a-b')), 0)
  await instances.change('a', { state: 'active' }, ACTOR)
  assert.equal(await cluster.knock(0, 'tls', 'a', ann('a')), 0)
  assert.equal(neighbour.isClosed, false)
})

test('an instance that takes MQTT 5 only says so to others', async () => {
  const { instances } = cluster.node.tenancy
  await instances.create({ id: 'five', name: 'Five', plan: 'unlimited', settings: { protocols: [5] } }, ACTOR)
  await cluster.node.tenancy.users.create('five', 'ann', { secret: { password: 'p' } }, ACTOR)
  const user = { username: 'ann', password: 'p' }
  assert.equal(await cluster.knock(2, 'name', 'five', { ...user, version: 4 }), 1)
  assert.equal(await cluster.knock(2, 'name', 'five', { ...user, version: 3 }), 1)
  assert.equal(await cluster.knock(2, 'name', 'five', user), 0)
})

test('an instance that is removed gives its port back on every node, and puts its clients out', async () => {
  const { instances, users } = cluster.at(1).tenancy
  await instances.create({ id: 'short', name: 'Short', plan: 'cat', withPorts: true }, ACTOR)
  await users.create('short', 'ann', { secret: { password: 'p' } }, ACTOR)
  const user = { username: 'ann', password: 'p', clientId: 'short' }
  const clients = await Promise.all(
    [0, 1, 2].map(at => cluster.enter(at, 'port', 'short', { ...user, clientId: `short-${at}` })),
  )
  const waiting = await Promise.all([0, 1, 2].map(at => cluster.dial(at, 'port', 'short')))
  await instances.remove('short', ACTOR)
  for (const client of clients) await client.closed()
  // Its port was still open when it came, and its instance is gone when it says who it is.
  for (const client of waiting) assert.equal(await client.open(user), 0x88)
  for (const at of [0, 1, 2]) await (await cluster.dial(at, 'port', 'short')).closed()
})

test('a user that is removed on one node is out on another within a second, and cannot come back', async () => {
  const { users } = cluster.at(0).tenancy
  await users.create('a', 'bob', { secret: { password: 'p' }, isUnrestricted: true }, ACTOR)
  const bob = { username: 'bob', password: 'p', clientId: 'bob' }
  const client = await cluster.enter(2, 'name', 'a', bob)
  const startMs = performance.now()
  await users.remove('a', 'bob', ACTOR)
  await client.closed()
  assert.ok(performance.now() - startMs < 1000)
  assert.equal(client.frames.at(-1)?.body[0], 0x87)
  assert.equal(await cluster.knock(2, 'name', 'a', bob), 0x86)
})

test('Redis that has lost everything gets instances, users and keys back from the nodes', async () => {
  await cluster.redis.kill()
  await cluster.redis.restart()
  const deadlineMs = performance.now() + 20_000
  // Written from one node and read by a new one: it is in Redis, and not only in the memory of those that knew it.
  for (;;) {
    const made = cluster.at(0).tenancy.users.create('a', 'new', { secret: { password: 'p' } }, ACTOR)
    if ((await made.catch(() => undefined)) !== undefined) break
    assert.ok(performance.now() < deadlineMs, 'changes can be made again')
  }
  const fresh = await cluster.addNode()
  await poll(() => fresh.tenancy.users.find('a-b', 'ann') !== undefined, 'a new node to know everybody')
  assert.notEqual(fresh.tenancy.users.find('a', 'new'), undefined)
  assert.equal(fresh.tenancy.apiKeys.verify('a key of sixteen', 0)?.id, 'bootstrap')
  assert.equal(await cluster.knock(3, 'tls', 'a-b', ann('a-b', { clientId: 'back' })), 0)
  assert.equal(await cluster.knock(1, 'name', 'a', { username: 'new', password: 'p', clientId: 'new' }), 0)
})
