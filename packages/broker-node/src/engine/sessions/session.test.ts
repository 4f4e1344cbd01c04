import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TakenEntry } from '@midge/protocol-core'
import { formOf } from '../ground/delivery-form.ts'
import type { GroupMember } from '../ground/subscriber.ts'
import { UNLIMITED } from '../ground/usage.ts'
import { ScriptedOutlet } from '../testing/scripted-outlet.ts'
import { subscription, testMessage, testServices } from '../testing/test-services.ts'
import { openStored, testSession } from '../testing/test-session.ts'
import type { GroupWork } from './group-work.ts'
import { Session, type SessionFields } from './session.ts'

const QOS1 = formOf(1, false, undefined)
const QOS2 = formOf(2, false, undefined)

/** Share groups, as far as a session tells them anything. */
class Groups implements GroupWork {
  hasBacklog = false
  readonly acked: number[] = []
  readonly released: number[] = []
  rooms = 0
  ack(_member: GroupMember, _group: string, seq: number): void {
    this.acked.push(seq)
  }
  release(_member: GroupMember, _group: string, exchange: { seq: number }): void {
    this.released.push(exchange.seq)
  }
  onRoom(): void {
    this.rooms++
  }
}

async function open(
  fields: Partial<SessionFields> = {},
): Promise<{ session: Session; outlet: ScriptedOutlet; groups: Groups; dropped: () => number }> {
  const services = await testServices()
  const groups = new Groups()
  const outlet = new ScriptedOutlet()
  const session = new Session(
    { services, groups, ackFlushes: { add: () => undefined } },
    {
      instance: 'default',
      clientId: 'c',
      epoch: 1,
      isStored: false,
      outlet,
      expirySeconds: 0,
      hasWill: false,
      receiveMax: 2,
      queue: { headSeq: 1, tailSeq: 0, sentSeq: 0 },
      usage: UNLIMITED,
      ...fields,
    },
  )
  return { session, outlet, groups, dropped: () => [...services.counters.dropped.values()].reduce((a, b) => a + b, 0) }
}

test('what does not fit the window waits in order, and goes out as acknowledgements come', async () => {
  const { session, outlet } = await open()
  for (const payload of ['1', '2', '3', '4']) session.sendOrWait(testMessage('t', payload), QOS1)
  assert.deepEqual(outlet.payloads, ['1', '2'])
  assert.equal(session.windowRoom, 0)
  assert.equal(session.onPuback(outlet.sent[1]?.packetId ?? 0), 'done')
  session.pump()
  assert.deepEqual(outlet.payloads, ['1', '2', '3'])
  assert.equal(session.onPuback(999), 'unknown')
  assert.equal(session.hasBacklog, true)
})

test('nothing is sent while the socket is full, and a message that has expired meanwhile is dropped', async () => {
  const { session, outlet, dropped } = await open()
  outlet.acceptsQueued = false
  session.sendOrWait(testMessage('t', 'old', { expiresAtMs: Date.now() - 1 }), QOS1)
  session.sendOrWait(testMessage('t', 'new'), QOS1)
  assert.deepEqual(outlet.payloads, [])
  outlet.acceptsQueued = true
  session.pump()
  assert.deepEqual(outlet.payloads, ['new'])
  assert.equal(dropped(), 1)
})

test('a message the client cannot take costs no room of the window', async () => {
  const { session, outlet } = await open()
  outlet.takesPublish = false
  session.sendOrWait(testMessage('t', 'huge'), QOS1)
  assert.equal(session.windowRoom, 2)
})

test('QoS 2 holds its id until PUBCOMP, and answers out of place are told apart', async () => {
  const { session, outlet } = await open()
  session.sendOrWait(testMessage('t', 'x', { qos: 2 }), QOS2)
  const packetId = outlet.sent[0]?.packetId ?? 0
  assert.equal(session.onPuback(packetId), 'mismatch')
  assert.equal(session.onPubcomp(packetId), 'mismatch')
  assert.equal(session.onPubrec(packetId, 0), 'done')
  assert.deepEqual(outlet.pubrels, [packetId])
  assert.equal(session.windowRoom, 1)
  assert.equal(session.onPubcomp(packetId), 'done')
  assert.equal(session.windowRoom, 2)
  assert.equal(session.onPubrec(packetId, 0), 'unknown')
})

test('PUBREC with a failure ends the exchange', async () => {
  const { session, outlet } = await open()
  session.sendOrWait(testMessage('t', 'x', { qos: 2 }), QOS2)
  assert.equal(session.onPubrec(outlet.sent[0]?.packetId ?? 0, 0x87), 'done')
  assert.equal(session.windowRoom, 2)
  assert.deepEqual(outlet.pubrels, [])
})

function taken(seq: number, packetId: number, fields: Partial<TakenEntry> = {}): TakenEntry {
  return { seq, packetId, qos: 1, released: false, message: testMessage('t', `${seq}`), ...fields }
}

test('messages of a share group go out under reserved ids, at the granted QoS, and are acknowledged to the group', async () => {
  const { session, outlet, groups } = await open({ receiveMax: 3 })
  session.subscribe(subscription('$share/g/t', { qos: 1, subscriptionId: 7 }))
  const [first = 0, second = 0, ...rest] = session.reserveGroupIds(10)
  assert.deepEqual([rest.length, session.windowRoom], [1, 0])
  session.returnGroupId(rest[0] ?? 0)
  session.sendTaken('$share/g/t', taken(1, first, { qos: 2 }), false)
  session.sendTaken('$share/g/t', taken(2, second), false)
  assert.deepEqual(
    outlet.sent.map(({ qos, packetId, subscriptionIds }) => [qos, packetId, subscriptionIds]),
    [
      [1, first, [7]],
      [1, second, [7]],
    ],
  )
  session.onPuback(second)
  assert.deepEqual(groups.acked, [2])
  assert.equal(session.windowRoom, 2)
})

test('what a resumed member still holds is sent again with DUP, or owed its PUBREL', async () => {
  const { session, outlet, groups } = await open()
  session.sendTaken('$share/g/t', taken(1, 11, { qos: 2 }), true)
  session.sendTaken('$share/g/t', taken(2, 12, { qos: 2, released: true }), true)
  assert.deepEqual([outlet.sent[0]?.dup, outlet.pubrels], [true, [12]])
  session.onPubrec(11, 0)
  assert.deepEqual(groups.released, [1])
})

test('room in the window is told to the groups only while some of them wait for it', async () => {
  const { session, groups } = await open()
  session.pump()
  assert.equal(groups.rooms, 0)
  groups.hasBacklog = true
  session.pump()
  assert.equal(groups.rooms, 1)
})

test('whoever waits for room is woken by room, and by the end', async () => {
  const { session, outlet } = await open()
  outlet.acceptsQueued = false
  let woken = false
  const waiting = session.whenRoom().then(() => (woken = true))
  session.pump()
  await Promise.resolve()
  assert.equal(woken, false)
  outlet.acceptsQueued = true
  session.pump()
  await waiting
  outlet.acceptsQueued = false
  const last = session.whenRoom()
  outlet.isClosed = true
  session.onClosed()
  await last
})

test('replays run one after the other, one that fails stops none, and live messages are known while they run', async () => {
  const { session, outlet } = await open()
  const order: string[] = []
  let done: () => void = () => undefined
  session.noteLiveRetained('before')
  session.queueReplay(async () => {
    order.push('first')
    await new Promise<void>(resolve => (done = resolve))
    throw new Error('store')
  })
  session.queueReplay(async () => void order.push('second'))
  await new Promise(setImmediate)
  session.noteLiveRetained('live')
  assert.deepEqual(order, ['first'])
  assert.deepEqual([session.wasDeliveredLive('before'), session.wasDeliveredLive('live')], [false, true])
  done()
  await new Promise(setImmediate)
  assert.deepEqual(order, ['first', 'second'])
  assert.equal(outlet.failures.length, 1)
  assert.equal(session.wasDeliveredLive('live'), false)
})

test('the outlet is told what the client has acknowledged for good: PUBACK, and PUBCOMP but not PUBREC', async () => {
  const { session, outlet } = await open()
  session.sendOrWait(testMessage('t', '1'), QOS1)
  session.sendOrWait(testMessage('t', '2'), QOS2)
  const [first = 0, second = 0] = outlet.sent.map(({ packetId }) => packetId)
  session.onPuback(first)
  session.onPubrec(second, 0)
  assert.deepEqual(outlet.acknowledged, [first])
  session.onPubcomp(second)
  assert.deepEqual(outlet.acknowledged, [first, -second])
})

test('while somebody wants to know of acknowledgements, no packet id is given away for a shared frame', async () => {
  const services = await testServices()
  const { session } = testSession(services)
  assert.notEqual(session.takeIdForQos1(), 0)
  services.hooks.observesAck = true
  assert.equal(session.takeIdForQos1(), 0)
})

test('a message to one client alone goes through the queue of a stored session and survives its connection', async () => {
  const services = await testServices()
  const { session, outlet } = await openStored(services)
  await session.send(testMessage('t', 'zero', { qos: 0 }))
  await session.send(testMessage('t', 'one', { qos: 1 }))
  assert.deepEqual(outlet.payloads, ['zero', 'one'])
  const { instance, clientId, epoch } = session
  const kept = await services.store.readQueue(instance, clientId, epoch, 1, 10)
  assert.deepEqual(
    kept.map(({ message }) => Buffer.from(message.payload).toString()),
    ['one'],
  )
})
