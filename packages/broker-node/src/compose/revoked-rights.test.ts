import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import {
  ackPacket,
  type ConnectOptions,
  PINGREQ,
  publishPacket,
  type RawClient,
  subscribePacket,
} from '../engine/testing/raw-client.ts'
import type { Actor, NewRule } from '../tenancy/tenancy.ts'
import { TenantCluster } from './testing/tenant-cluster.ts'

const ACTOR: Actor = { kind: 'key', id: 'test' }
const HOUR = [0x11, 0, 0, 0x0e, 0x10]
/** The promise: in force on every node so long after the call has returned. */
const IN_FORCE_MS = 1000
const SITE = 'site'
const MINE: NewRule = { type: 'pattern', pattern: 'mine/%u/#', read: true, write: true }

let cluster: TenantCluster

before(async () => {
  cluster = await TenantCluster.start(3)
  const { instances } = cluster.node.tenancy
  await instances.create({ id: SITE, name: SITE, plan: 'unlimited' }, ACTOR)
  await cluster.node.tenancy.users.create(SITE, 'root', { secret: { password: 'root' }, isUnrestricted: true }, ACTOR)
})
after(() => cluster?.stop())
beforeEach(async () => {
  await cluster.node.tenancy.users.create(SITE, 'anna', { secret: { password: 'anna' } }, ACTOR)
  await cluster.node.tenancy.users.create(SITE, 'bert', { secret: { password: 'bert' } }, ACTOR)
})
afterEach(async () => {
  cluster.dropClients()
  const { rules, users } = cluster.node.tenancy
  const { items } = rules.list(SITE, { countMax: 100 })
  if (items.length > 0)
    await rules.remove(
      SITE,
      items.map(({ id }) => id),
      ACTOR,
    )
  for (const name of ['anna', 'bert']) if (users.find(SITE, name) !== undefined) await users.remove(SITE, name, ACTOR)
})

let lastId = 0
const enter = (index: number, username: string, options: ConnectOptions = {}): Promise<RawClient> =>
  cluster.enter(index, 'name', SITE, { username, password: username, clientId: `c-${++lastId}`, ...options })

async function topicsOf(client: RawClient): Promise<string[]> {
  const pongs = client.frames.filter(({ type }) => type === 13).length
  client.send(PINGREQ)
  await client.until(() => client.frames.filter(({ type }) => type === 13).length > pongs)
  return client.deliveries().map(({ topic }) => topic)
}

/** The next packet of a type, whatever else comes before it. */
async function answer(client: RawClient, type: number): Promise<Buffer> {
  for (;;) {
    const frame = await client.next()
    if (frame.type === type) return frame.body
  }
}

/** @returns the reason code of PUBACK, `undefined` for none */
async function publish(client: RawClient, topic: string, retain = false): Promise<number | undefined> {
  client.send(publishPacket(topic, 'x', { qos: 1, packetId: 1, version: client.version, retain }))
  return (await answer(client, 4))[2]
}

/** @returns the code of SUBACK */
async function subscribe(client: RawClient, filter: string): Promise<number | undefined> {
  client.send(subscribePacket(client.version, 1, [{ filter, options: 1 }]))
  return (await answer(client, 9)).at(-1)
}

for (const [what, revoke] of [
  ['removed', () => cluster.at(0).tenancy.users.remove(SITE, 'anna', ACTOR)],
  ['disabled', () => cluster.at(0).tenancy.users.change(SITE, 'anna', { isEnabled: false }, ACTOR)],
  [
    'given another password',
    () => cluster.at(0).tenancy.users.change(SITE, 'anna', { secret: { password: 'b' } }, ACTOR),
  ],
] as const) {
  test(`a user that is ${what} on one node is disconnected from the others within a second, and not let in again`, async () => {
    const clients = [await enter(1, 'anna'), await enter(2, 'anna'), await enter(2, 'anna', { version: 4 })]
    const other = await enter(1, 'bert')
    await revoke()
    const answeredAtMs = performance.now()
    for (const client of clients) await client.closed()
    assert.ok(performance.now() - answeredAtMs < IN_FORCE_MS, `${performance.now() - answeredAtMs} ms`)
    for (const client of clients.slice(0, 2)) {
      assert.equal(client.frames.find(({ type }) => type === 14)?.body[0], ReasonCode.notAuthorized)
    }
    const again = { username: 'anna', password: 'anna' }
    for (const index of [0, 1, 2]) assert.notEqual(await cluster.knock(index, 'name', SITE, again), 0)
    assert.deepEqual(await topicsOf(other), [])
  })
}

test('a rule that is made or removed on one node holds on the others at once, for clients that are connected', async () => {
  const { rules } = cluster.at(0).tenancy
  const root = await enter(2, 'root')
  const anna = await enter(1, 'anna')
  assert.equal(await subscribe(anna, '#'), ReasonCode.notAuthorized)
  assert.equal(await publish(anna, 'mine/anna/x'), ReasonCode.notAuthorized)
  const [made] = await rules.create(SITE, [MINE], ACTOR)
  assert.equal(await subscribe(anna, '#'), 1)
  await subscribe(root, 'mine/#')
  assert.notEqual(await publish(anna, 'mine/anna/x'), ReasonCode.notAuthorized)
  await anna.until(() => anna.deliveries().length === 1)
  await publish(root, 'mine/anna/y')
  await anna.until(() => anna.deliveries().length === 2)
  await rules.remove(SITE, [made?.id ?? ''], ACTOR)
  // Known topics on a known connection: what it remembers of them is void.
  assert.equal(await publish(anna, 'mine/anna/x'), ReasonCode.notAuthorized)
  await publish(root, 'mine/anna/y')
  await publish(root, 'mine/anna/z', true)
  assert.deepEqual(await topicsOf(anna), ['mine/anna/x', 'mine/anna/y'])
  assert.equal(await subscribe(anna, 'mine/#'), ReasonCode.notAuthorized)
  root.send(publishPacket('mine/anna/z', '', { qos: 1, packetId: 2, retain: true }))
  await answer(root, 4)
})

test('what may be read is asked at every delivery: from other nodes, retained, shared and kept in a queue', async () => {
  await cluster.at(0).tenancy.rules.create(SITE, [MINE], ACTOR)
  const root = await enter(0, 'root')
  const stored = { clientId: 'sleeper', clean: false, properties: HOUR }
  const sleeper = await enter(1, 'anna', stored)
  await subscribe(sleeper, '#')
  sleeper.stream.destroy()
  await sleeper.closed()
  const reader = await enter(2, 'anna')
  const member = await enter(2, 'anna')
  await subscribe(reader, '#')
  await subscribe(member, '$share/g/#')
  for (const topic of ['other', 'mine/anna/a', 'mine/bert/a']) await publish(root, topic, true)
  await reader.until(() => reader.deliveries().length > 0)
  await member.until(() => member.deliveries().length > 0)
  const late = await enter(1, 'anna')
  await subscribe(late, '#')
  await late.until(() => late.deliveries().length > 0)
  const back = await enter(0, 'anna', stored)
  await back.until(() => back.deliveries().length > 0)
  for (const client of [reader, member, late, back]) {
    for (const { packetId } of client.deliveries()) client.send(ackPacket(0x40, packetId))
    assert.deepEqual(await topicsOf(client), ['mine/anna/a'])
  }
  for (const topic of ['other', 'mine/anna/a', 'mine/bert/a']) {
    root.send(publishPacket(topic, '', { qos: 1, packetId: 2, retain: true }))
    await answer(root, 4)
  }
})

test('a client id that another user has on any node is refused on all of them', async () => {
  const stored = { clientId: 'phone', clean: false, properties: HOUR }
  const anna = await enter(0, 'anna', stored)
  for (const index of [0, 1, 2]) {
    for (const clean of [false, true]) {
      const bert = { ...stored, username: 'bert', password: 'bert', clean }
      assert.equal(await cluster.knock(index, 'name', SITE, bert), ReasonCode.clientIdentifierNotValid)
    }
  }
  assert.deepEqual(await topicsOf(anna), [])
  anna.stream.destroy()
  const old = { clientId: 'phone', clean: true, version: 4, username: 'bert', password: 'bert' } as const
  assert.equal(await cluster.knock(2, 'name', SITE, old), 2)
  const again = await enter(1, 'anna', { ...stored, clean: true, properties: [] })
  again.send(Buffer.from([0xe0, 0]))
  await again.closed()
  assert.equal(await cluster.knock(2, 'name', SITE, { ...old, version: 5 }), 0)
})

test('a will whose user goes during its delay is not published, by whichever node', async () => {
  await cluster.at(0).tenancy.rules.create(SITE, [MINE], ACTOR)
  const root = await enter(0, 'root')
  await subscribe(root, 'mine/#')
  // When that of bert is there, that of anna would be there as well.
  for (const [name, delaySeconds] of [
    ['anna', 1],
    ['bert', 4],
  ] as const) {
    const will = { topic: `mine/${name}/will`, payload: 'x', properties: [0x18, 0, 0, 0, delaySeconds] }
    const client = await enter(1, name, { properties: HOUR, will })
    client.stream.destroy()
    await client.closed()
  }
  await cluster.at(2).tenancy.users.remove(SITE, 'anna', ACTOR)
  await root.until(() => root.deliveries().length > 0)
  assert.deepEqual(await topicsOf(root), ['mine/bert/will'])
})
