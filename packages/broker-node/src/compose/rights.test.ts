import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { type AclRule, ReasonCode } from '@midge/protocol-core'
import { FrontDoor } from '../admission/front-door.ts'
import { PasswordAuthenticator } from '../admission/password-authenticator.ts'
import { historyOf, instancesOf, queueOf } from '../admission/testing/claims.ts'
import { MemoryUserDirectory, type RuledUser } from '../admission/testing/memory-user-directory.ts'
import { Counters, DropReason } from '../counters.ts'
import {
  ackPacket,
  type ConnectOptions,
  connectPacket,
  DISCONNECT,
  PINGREQ,
  publishPacket,
  type RawClient,
} from '../engine/testing/raw-client.ts'
import { poll, startBroker, type TestBroker } from '../engine/testing/test-broker.ts'
import { MemoryLogger } from '../engine/testing/test-services.ts'

const PASSWORD = 'secret'
const HOUR = [0x11, 0, 0, 0x0e, 0x10]
const users = new MemoryUserDirectory()
let midge: TestBroker

before(async () => {
  const now = (): number => performance.now()
  const password = new PasswordAuthenticator({
    users,
    queue: queueOf(),
    slowQueue: queueOf(),
    history: historyOf(),
  })
  const door = new FrontDoor({
    methodsOf: () => [password],
    bans: { isBanned: () => false },
    instances: instancesOf(),
    users,
    rules: users,
    counters: new Counters(),
    logger: new MemoryLogger(),
    now,
  })
  await users.createUser('default', 'root', PASSWORD)
  await users.createUser('default', 'anna', PASSWORD)
  midge = await startBroker({ door })
})
after(() => midge.stop())
const clients: RawClient[] = []
beforeEach(() => allow([{ pattern: 'mine/%u/#', read: true, write: true }]))
afterEach(async () => {
  for (const client of clients.splice(0)) client.stream.destroy()
  await poll(() => midge.counters.connectionsCurrent === 0, 'the clients of the test to be gone')
})

/** What anna may do from here on. */
function allow(rules: readonly AclRule[]): void {
  users.putUser('default', { ...anna(), rules })
}

function anna(): RuledUser {
  const record = users.find('default', 'anna')
  assert.ok(record)
  return record
}

let lastId = 0

async function dial(version: 4 | 5): Promise<RawClient> {
  const client = await midge.dial(version)
  clients.push(client)
  return client
}

async function login(username: string, options: ConnectOptions = {}, version: 4 | 5 = 5): Promise<RawClient> {
  const client = await dial(version)
  const clientId = options.clientId ?? `${username}-${++lastId}`
  assert.equal(await client.open({ ...options, clientId, username, password: PASSWORD }), 0)
  return client
}

/** Everything the client was sent before the answer to a ping that is asked for now. */
async function topicsOf(client: RawClient): Promise<string[]> {
  const pongs = client.frames.filter(frame => frame.type === 13).length
  client.send(PINGREQ)
  await client.until(() => client.frames.filter(frame => frame.type === 13).length > pongs)
  return client.deliveries().map(delivery => delivery.topic)
}

const dropped = (reason: DropReason): number => midge.counters.dropped.get(reason) ?? 0

test('a publish that is not allowed is answered and dropped, and the connection goes on', async () => {
  const root = await login('root')
  await root.subscribe([{ filter: '#', options: 2 }])
  const before = dropped(DropReason.publishDenied)
  const v5 = await login('anna')
  v5.send(publishPacket('other', 'x', { qos: 1, packetId: 1 }), publishPacket('other', 'x', { qos: 2, packetId: 2 }))
  assert.deepEqual([...(await v5.expect(4)).body].slice(0, 3), [0, 1, ReasonCode.notAuthorized])
  assert.deepEqual([...(await v5.expect(5)).body].slice(0, 3), [0, 2, ReasonCode.notAuthorized])
  const v4 = await login('anna', {}, 4)
  v4.send(publishPacket('other', 'x', { version: 4, qos: 1, packetId: 7 }))
  assert.deepEqual([...(await v4.expect(4)).body], [0, 7])
  v4.send(publishPacket('other', 'x', { version: 4 }), publishPacket('other', 'x', { version: 4 }))
  v4.send(publishPacket('mine/anna/a', 'x', { version: 4, qos: 1, packetId: 8 }))
  assert.deepEqual([...(await v4.expect(4)).body], [0, 8])
  await root.until(() => root.deliveries().length > 0)
  assert.deepEqual(await topicsOf(root), ['mine/anna/a'])
  assert.equal(dropped(DropReason.publishDenied) - before, 5)
})

test('a filter that can bring nothing is refused, one that can bring something is granted', async () => {
  const filters = [{ filter: 'other/#' }, { filter: 'mine/anna/+' }, { filter: '#' }, { filter: '$share/g/other' }]
  const v5 = await login('anna')
  assert.deepEqual(await v5.subscribe(filters), [ReasonCode.notAuthorized, 0, 0, ReasonCode.notAuthorized])
  const v4 = await login('anna', {}, 4)
  assert.deepEqual(await v4.subscribe(filters), [0x80, 0, 0, 0x80])
})

for (const qos of [0, 1, 2] as const) {
  test(`a wide filter brings only what may be read, at QoS ${qos}, alone and beside others, in runs and one by one`, async () => {
    const root = await login('root')
    const readers = [await login('anna'), await login('anna', {}, 4)]
    const others = [await login('root'), await login('root')]
    for (const client of [...readers, ...others]) await client.subscribe([{ filter: '#', options: qos }])
    const before = dropped(DropReason.forwardDenied)
    const packets: Buffer[] = []
    let packetId = 0
    for (const topic of ['other/a', 'mine/anna/a', 'mine/bert/a']) {
      for (let n = 0; n < 3; n++) packets.push(publishPacket(topic, 'x', { qos, packetId: ++packetId }))
    }
    root.send(Buffer.concat(packets))
    const [first] = others
    await first?.until(() => first.deliveries().length === 9)
    for (const reader of readers) {
      assert.deepEqual(await topicsOf(reader), ['mine/anna/a', 'mine/anna/a', 'mine/anna/a'])
    }
    assert.equal(dropped(DropReason.forwardDenied) - before, 12)
  })
}

test('retained messages that may not be read are not sent', async () => {
  const root = await login('root')
  for (const topic of ['mine/anna/kept', 'other/kept']) {
    root.send(publishPacket(topic, 'x', { qos: 1, retain: true, packetId: 1 }))
    await root.expect(4)
  }
  for (const properties of [[], HOUR]) {
    const reader = await login('anna', { properties })
    await reader.subscribe([{ filter: '+/kept/#' }, { filter: '+/+/kept', options: 1 }, { filter: 'other/+' }])
    await reader.until(() => reader.deliveries().length > 0)
    assert.deepEqual(await topicsOf(reader), ['mine/anna/kept'])
  }
  for (const topic of ['mine/anna/kept', 'other/kept']) root.send(publishPacket(topic, '', { retain: true }))
})

test('what waits in the queue of a session is held back as well, and leaves the queue', async () => {
  const options = { clientId: 'sleeper', clean: false, properties: HOUR }
  const first = await login('anna', options)
  await first.subscribe([{ filter: '#', options: 1 }])
  first.send(DISCONNECT)
  await first.closed()
  const root = await login('root')
  for (const [index, topic] of ['other/1', 'mine/anna/1', 'other/2', 'mine/anna/2', 'other/3'].entries()) {
    root.send(publishPacket(topic, 'x', { qos: 1, packetId: index + 1 }))
    await root.expect(4)
  }
  const again = await login('anna', options)
  for (const topic of ['mine/anna/1', 'mine/anna/2']) {
    const { topic: seen, packetId } = await again.delivery()
    assert.equal(seen, topic)
    again.send(ackPacket(0x40, packetId))
  }
  assert.deepEqual(await topicsOf(again), ['mine/anna/1', 'mine/anna/2'])
  again.send(DISCONNECT)
  await again.closed()
  const last = await login('anna', options)
  assert.deepEqual(await topicsOf(last), [])
  last.send(Buffer.from([0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]))
})

test('a shared subscription is no way around', async () => {
  const member = await login('anna')
  assert.deepEqual(await member.subscribe([{ filter: '$share/g/#', options: 1 }]), [1])
  const root = await login('root')
  for (const qos of [0, 1] as const) {
    for (const topic of ['other/s', 'mine/anna/s']) root.send(publishPacket(topic, 'x', { qos, packetId: 1 }))
  }
  await member.until(() => member.deliveries().length === 2)
  assert.deepEqual(await topicsOf(member), ['mine/anna/s', 'mine/anna/s'])
})

test('changed rights hold at once, for connections that are open', async () => {
  const root = await login('root')
  await root.subscribe([{ filter: 'w/+' }])
  const client = await login('anna')
  await client.subscribe([{ filter: '#' }])
  const publish = async (): Promise<number | undefined> => {
    client.send(publishPacket('w/1', 'x', { qos: 1, packetId: 1 }))
    return (await client.expect(4)).body[2]
  }
  assert.equal(await publish(), ReasonCode.notAuthorized)
  allow([{ pattern: 'w/#', read: false, write: true }])
  assert.equal(await publish(), undefined)
  // Neighbouring messages of a topic that is known: the fast way has to ask too.
  client.send(Buffer.concat([publishPacket('w/1', 'x'), publishPacket('w/1', 'x'), publishPacket('w/1', 'x')]))
  await root.until(() => root.deliveries().length === 4)
  allow([{ pattern: 'r/#', read: true, write: false }])
  client.send(Buffer.concat([publishPacket('w/1', 'x'), publishPacket('w/1', 'x'), publishPacket('w/1', 'x')]))
  assert.equal(await publish(), ReasonCode.notAuthorized)
  root.send(publishPacket('w/2', 'x'), publishPacket('r/1', 'x'))
  await client.until(() => client.deliveries().length > 0)
  const { rules: _rules, ...everything } = anna()
  users.putUser('default', everything)
  root.send(publishPacket('w/3', 'x'), publishPacket('w/3', 'x'))
  await client.until(() => client.deliveries().length > 2)
  assert.deepEqual(await topicsOf(client), ['r/1', 'w/3', 'w/3'])
  assert.equal(root.deliveries().length, 7)
})

test('a user that is removed may do nothing more', async () => {
  const record = anna()
  const client = await login('anna')
  await client.subscribe([{ filter: 'mine/anna/#' }])
  users.removeUser('default', 'anna')
  client.send(publishPacket('mine/anna/x', 'x', { qos: 1, packetId: 1 }))
  assert.equal((await client.expect(4)).body[2], ReasonCode.notAuthorized)
  users.putUser('default', record)
})

test('a will that may not be published is refused with CONNECT', async () => {
  for (const [topic, reasonCode] of [
    ['other', ReasonCode.notAuthorized],
    ['mine/anna/will', 0],
  ] as const) {
    const client = await dial(5)
    client.send(connectPacket({ clientId: 'w', username: 'anna', password: PASSWORD, will: { topic, payload: 'x' } }))
    assert.equal((await client.expect(2)).body[1], reasonCode)
  }
})

for (const [what, revoke] of [
  ['its rule', () => allow([{ pattern: 'other', read: true, write: true }])],
  ['its user', () => users.removeUser('default', 'anna')],
] as const) {
  test(`a will that waits for its delay is not published without ${what}`, async () => {
    const record = anna()
    const root = await login('root')
    await root.subscribe([{ filter: 'mine/#' }])
    const before = dropped(DropReason.publishDenied)
    const wills = [
      { user: 'anna', topic: 'mine/anna/will' },
      { user: 'root', topic: 'mine/root/will' },
    ]
    for (const { user, topic } of wills) {
      const will = { topic, payload: 'x', properties: [0x18, 0, 0, 0, 1] }
      const client = await login(user, { properties: HOUR, will })
      client.stream.destroy()
    }
    revoke()
    // Both are due together.
    await root.until(() => root.deliveries().length > 0)
    await poll(() => dropped(DropReason.publishDenied) > before, 'the will of anna to be dropped')
    assert.deepEqual(await topicsOf(root), ['mine/root/will'])
    users.putUser('default', record)
  })
}

test('rules that look at QoS and RETAIN are asked for every message, in whatever order these come', async () => {
  allow([
    { pattern: 'q/#', read: false, write: true, qos: [1] },
    { pattern: 'r/#', read: false, write: true, retain: true },
    { pattern: 'plain', read: false, write: true },
  ])
  const root = await login('root')
  await root.subscribe([{ filter: '+/x' }, { filter: 'plain' }])
  const client = await login('anna')
  const before = dropped(DropReason.publishDenied)
  const q0 = publishPacket('q/x', 'q0')
  const q1 = publishPacket('q/x', 'q1', { qos: 1, packetId: 1 })
  const kept = publishPacket('r/x', 'r1', { retain: true })
  const fleeting = publishPacket('r/x', 'r0')
  // Neighbours of one topic would be handed on together.
  client.send(Buffer.concat([q1, q0, q0, q1, q0, kept, fleeting, fleeting, kept]))
  client.send(Buffer.concat([publishPacket('plain', 'p'), publishPacket('plain', 'p'), publishPacket('plain', 'p')]))
  await root.until(() => root.deliveries().length >= 7)
  await topicsOf(client)
  // The order is kept within one QoS.
  const payloads = root.deliveries().map(({ payload }) => payload)
  assert.deepEqual(payloads.sort(), ['p', 'p', 'p', 'q1', 'q1', 'r1', 'r1'])
  assert.equal(dropped(DropReason.publishDenied) - before, 5)
  root.send(publishPacket('r/x', '', { retain: true }))
})

test('a denial comes before what is allowed at its priority, and after what is allowed before it', async () => {
  allow([
    { pattern: '#', read: true, write: true },
    { pattern: 'secret/#', read: true, write: true, effect: 'deny' },
    { pattern: 'secret/%u', read: true, write: false, priority: -1 },
  ])
  const client = await login('anna')
  const filters = ['secret/x', 'secret/anna', 'secret/#', '#'].map(filter => ({ filter }))
  assert.deepEqual(await client.subscribe(filters), [ReasonCode.notAuthorized, 0, 0, 0])
  client.send(publishPacket('secret/anna', 'x', { qos: 1, packetId: 1 }))
  assert.equal((await client.expect(4)).body[2], ReasonCode.notAuthorized)
  const root = await login('root')
  root.send(publishPacket('secret/x', 'x'), publishPacket('secret/anna', 'x'), publishPacket('open', 'x'))
  await client.until(() => client.deliveries().some(({ topic }) => topic === 'open'))
  assert.deepEqual([...new Set(await topicsOf(client))], ['secret/anna', 'open'])
})

test('a friend of an OwnTracks user has the fixed filters of the app and sees one phone', async () => {
  allow([
    { pattern: 'owntracks/%u/#', read: true, write: true },
    { pattern: 'owntracks/jane/nokia', read: true, write: false },
  ])
  const root = await login('root')
  for (const topic of ['owntracks/jane/nokia', 'owntracks/jane/tablet']) {
    root.send(publishPacket(topic, 'kept', { qos: 1, retain: true, packetId: 1 }))
    await root.expect(4)
  }
  const friend = await login('anna', { clientId: 'annaphone', clean: false }, 4)
  const filters = ['owntracks/+/+', 'owntracks/+/+/event', 'owntracks/+/+/info'].map(filter => ({ filter, options: 2 }))
  // Of the events of others there is nothing, but the friend's own would match.
  assert.deepEqual(await friend.subscribe(filters), [2, 2, 2])
  await friend.until(() => friend.deliveries().length > 0)
  for (const topic of ['owntracks/jane/tablet', 'owntracks/jane/nokia/event', 'owntracks/jane/nokia']) {
    root.send(publishPacket(topic, 'live'))
  }
  await friend.until(() => friend.deliveries().length > 1)
  assert.deepEqual(await topicsOf(friend), ['owntracks/jane/nokia', 'owntracks/jane/nokia'])
  for (const topic of ['owntracks/jane/nokia', 'owntracks/jane/tablet']) {
    root.send(publishPacket(topic, '', { retain: true }))
  }
})

test('what a hook writes into a message has to be allowed as well, and is asked for as the message of that client', async () => {
  const { broker } = midge
  const { authorizePublish } = broker
  const root = await login('root')
  await root.subscribe([{ filter: '#' }])
  const client = await login('anna')
  broker.authorizePublish = (_client, packet, callback) => {
    packet.topic = packet.topic.replace('mine/anna/to/', '')
    callback(null)
  }
  try {
    const answers: (number | undefined)[] = []
    for (const topic of ['mine/anna/to/other', 'mine/anna/to/mine/anna/x', 'other']) {
      client.send(publishPacket(topic, 'x', { qos: 1, packetId: 1 }))
      answers.push((await client.expect(4)).body[2])
    }
    assert.deepEqual(answers, [ReasonCode.notAuthorized, undefined, ReasonCode.notAuthorized])
    await root.until(() => root.deliveries().length > 0)
    assert.deepEqual(await topicsOf(root), ['mine/anna/x'])
  } finally {
    broker.authorizePublish = authorizePublish
  }
})

test('what a hook writes into a will has to be allowed as well', async () => {
  const { broker } = midge
  const { authorizePublish } = broker
  broker.authorizePublish = (_client, packet, callback) => {
    packet.topic = 'other'
    callback(null)
  }
  try {
    const client = await dial(5)
    const will = { topic: 'mine/anna/will', payload: 'x' }
    client.send(connectPacket({ clientId: 'w', username: 'anna', password: PASSWORD, will }))
    assert.equal((await client.expect(2)).body[1], ReasonCode.notAuthorized)
  } finally {
    broker.authorizePublish = authorizePublish
  }
})

test('with permissions RETAIN of a delivery is what the subscription says', async () => {
  const root = await login('root')
  const [plain, asPublished] = [await login('anna'), await login('anna')]
  await plain.subscribe([{ filter: '#' }])
  // Retain As Published. v5 [MQTT-3.3.1-13]
  await asPublished.subscribe([{ filter: '#', options: 8 }])
  root.send(publishPacket('mine/anna/r', 'x', { qos: 1, retain: true, packetId: 1 }))
  await root.expect(4)
  assert.equal((await plain.delivery()).retain, false)
  assert.equal((await asPublished.delivery()).retain, true)
  const late = await login('anna')
  await late.subscribe([{ filter: '#' }])
  assert.equal((await late.delivery()).retain, true)
  root.send(publishPacket('mine/anna/r', '', { retain: true }))
})

test('a client id that preConnect has written is the one that rules, wills and its session know', async () => {
  const { broker } = midge
  const { preConnect } = broker
  allow([{ pattern: 'dev/%c', read: true, write: true }])
  broker.preConnect = (_client, packet, callback) => {
    if ('clientId' in packet) packet.clientId = 'written'
    callback(null, true)
  }
  try {
    const client = await login('anna', { clientId: 'asked', will: { topic: 'dev/written', payload: 'x' } })
    const codes = await client.subscribe([{ filter: 'dev/written' }, { filter: 'dev/asked' }])
    assert.deepEqual(codes, [0, ReasonCode.notAuthorized])
    client.send(publishPacket('dev/written', 'x'))
    assert.equal((await client.delivery()).topic, 'dev/written')
    assert.ok(broker.core.sessions.sessionOf('default', 'written') !== undefined)
  } finally {
    broker.preConnect = preConnect
  }
})
