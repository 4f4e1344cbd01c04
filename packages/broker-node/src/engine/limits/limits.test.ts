import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { DEFAULT_INSTANCE, ReasonCode } from '@midge/protocol-core'
import { LocalQuotas } from '../../cluster-local/local-quotas.ts'
import type { UsageLimits } from '../../ports.ts'
import { publishPacket, type RawClient, subscribePacket } from '../testing/raw-client.ts'
import { poll, startBroker, type TestBroker, type TestBrokerOptions } from '../testing/test-broker.ts'
import { doorThat, letIn } from '../testing/test-door.ts'
import { TestInstanceLimits } from '../testing/test-limits.ts'

interface Limited extends TestBroker {
  plans: TestInstanceLimits
  quotas: LocalQuotas
  used(): Promise<number>
}

async function start(t: TestContext, limits: Partial<UsageLimits>, options: TestBrokerOptions = {}): Promise<Limited> {
  const plans = new TestInstanceLimits()
  plans.set(DEFAULT_INSTANCE, limits)
  const quotas = new LocalQuotas()
  const node = await startBroker({ instanceLimits: plans, quotas, ...options })
  t.after(() => node.stop())
  return { ...node, plans, quotas, used: () => quotas.usedSlots(DEFAULT_INSTANCE, 'connections') }
}

function textOf({ body }: { body: Buffer }): string {
  return body.toString('latin1')
}

async function isUsed(node: Limited, count: number): Promise<void> {
  const deadline = Date.now() + 5000
  while ((await node.used()) !== count) {
    assert.ok(Date.now() < deadline, `${await node.used()} of ${count} are counted`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

async function connected(node: Limited, clientId: string, version: 3 | 4 | 5 = 5): Promise<RawClient> {
  const client = await node.dial(version)
  assert.equal(await client.open({ clientId }), 0)
  return client
}

test('a connection beyond the plan is told which limit, late, and never that it is not authorized', async t => {
  const node = await start(t, { connections: 2 })
  const first = await connected(node, 'a')
  await connected(node, 'b')
  for (const version of [5, 4] as const) {
    const client = await node.dial(version)
    const startMs = performance.now()
    assert.equal(await client.open({ clientId: 'c' }), version === 5 ? ReasonCode.quotaExceeded : 3)
    assert.ok(performance.now() - startMs >= 950, 'the answer came at once')
    if (version === 5)
      assert.match(textOf(client.frames[0] ?? { body: Buffer.alloc(0) }), /plan cat: 2 of 2 connections/)
    await client.closed()
  }
  assert.equal(node.counters.limitsMet.get('plan_connections'), 2)
  const [line, more] = node.logger.lines.filter(({ event }) => event === 'plan.limit')
  assert.deepEqual([line?.fields['instance'], line?.fields['limit']], [DEFAULT_INSTANCE, 'plan_connections'])
  assert.equal(more, undefined)
  first.stream.destroy()
  await isUsed(node, 1)
  await connected(node, 'c')
})

test('who connects again over a dead socket takes its own place', async t => {
  const node = await start(t, { connections: 1 })
  const dead = await connected(node, 'a')
  await connected(node, 'a')
  await dead.closed()
  assert.equal(await node.used(), 1)
  const other = await node.dial()
  assert.equal(await other.open({ clientId: 'b' }), ReasonCode.quotaExceeded)
})

test('a refused connection gives its place back, whatever it was refused for', async t => {
  const node = await start(t, { connections: 2, sessions: 0 })
  const stored = await node.dial()
  assert.equal(await stored.open({ clientId: 'a', properties: [0x11, 0, 0, 0, 60] }), ReasonCode.quotaExceeded)
  await isUsed(node, 0)
})

test('a user may have as many connections as it is allowed', async t => {
  const door = doorThat(({ username }) => letIn({ username, plan: { connectionsMax: 1 } }))
  const node = await start(t, {}, { door })
  const anna = await node.dial()
  assert.equal(await anna.open({ clientId: '1', username: 'anna' }), 0)
  const again = await node.dial()
  assert.equal(await again.open({ clientId: '2', username: 'anna' }), ReasonCode.quotaExceeded)
  assert.match(textOf(again.frames[0] ?? { body: Buffer.alloc(0) }), /user anna: 1 of 1 connections/)
  const bert = await node.dial()
  assert.equal(await bert.open({ clientId: '3', username: 'bert' }), 0)
})

test('connections that are there when a limit comes count, and a changed plan holds within a second', async t => {
  const node = await start(t, {})
  const clients = await Promise.all(['a', 'b', 'c'].map(clientId => connected(node, clientId)))
  assert.equal(await node.used(), 0)
  node.plans.set(DEFAULT_INSTANCE, { connections: 3 })
  const startMs = performance.now()
  await isUsed(node, 3)
  assert.ok(performance.now() - startMs < 1000)
  const refused = await node.dial()
  assert.equal(await refused.open({ clientId: 'd' }), ReasonCode.quotaExceeded)
  clients[0]?.stream.destroy()
  await isUsed(node, 2)
  await connected(node, 'd')
  node.plans.set(DEFAULT_INSTANCE, { connections: 4 })
  await poll(() => node.broker.core.connections.size === 3, 'the end of the refused')
  await new Promise(resolve => setTimeout(resolve, 150))
  await connected(node, 'e')
})

test('connects beyond the rate are refused until there is room again', async t => {
  const node = await start(t, { connectsPerSecond: 1 })
  const answers = await Promise.all(
    Array.from({ length: 15 }, async (_, i) => {
      const client = await node.dial()
      const code = await client.open({ clientId: `c${i}` })
      return { code, text: textOf(client.frames[0] ?? { body: Buffer.alloc(0) }) }
    }),
  )
  const refused = answers.filter(({ code }) => code !== 0)
  assert.equal(refused.length, 5)
  for (const { code, text } of refused) {
    assert.equal(code, ReasonCode.connectionRateExceeded)
    assert.match(text, /plan cat: 1 connections a second, wait 1 s/)
  }
  assert.equal(node.counters.limitsMet.get('connect_rate'), 5)
})

test('subscriptions beyond the plan get 0x97, and 0x80 before v5; what is there may be changed', async t => {
  const node = await start(t, { subscriptionsPerSession: 2 })
  for (const version of [5, 4] as const) {
    const client = await connected(node, `c${version}`, version)
    const filters = ['a', 'b', 'c'].map(filter => ({ filter }))
    const full = version === 5 ? ReasonCode.quotaExceeded : 0x80
    assert.deepEqual(await client.subscribe(filters), [0, 0, full])
    client.send(subscribePacket(version, 78, [{ filter: 'a', options: 1 }]))
    assert.equal((await client.expect(9)).body.at(-1), 1)
  }
})

test('CONNACK tells the largest packet of the plan, and a larger one ends the connection with 0x95', async t => {
  const node = await start(t, { packetBytes: 100 })
  const client = await connected(node, 'a')
  assert.ok(client.frames[0]?.body.includes(Buffer.from([0x27, 0, 0, 0, 100])), 'Maximum Packet Size')
  client.send(publishPacket('t', 'x'.repeat(80), { qos: 1 }))
  await client.expect(4)
  client.send(publishPacket('t', 'x'.repeat(100), { qos: 1 }))
  assert.equal((await client.expect(14)).body[0], ReasonCode.packetTooLarge)
  const old = await connected(node, 'b', 4)
  old.send(publishPacket('t', 'x'.repeat(100), { version: 4 }))
  await old.closed()
})

test('a session lives no longer than the plan lets it, and CONNACK says so', async t => {
  const node = await start(t, { sessionExpirySeconds: 50 })
  const client = await node.dial()
  assert.equal(await client.open({ clientId: 'a', properties: [0x11, 0, 0, 1, 0] }), 0)
  assert.ok(client.frames[0]?.body.includes(Buffer.from([0x11, 0, 0, 0, 50])), 'Session Expiry Interval')
  const session = node.broker.core.sessions.sessionOf(DEFAULT_INSTANCE, 'a')
  assert.equal(session?.expirySeconds, 50)
  // DISCONNECT may not lengthen it either.
  client.send(Buffer.from([0xe0, 7, 0, 5, 0x11, 0, 0, 1, 0]))
  await client.closed()
  assert.equal(session?.expirySeconds, 50)
})

test('what cannot be retained goes to its subscribers, and a v5 publisher is told at QoS 1', async t => {
  const node = await start(t, { retainedMessages: 1 })
  const client = await connected(node, 'a')
  await client.subscribe([{ filter: '#' }])
  client.send(publishPacket('first', 'x', { qos: 1, retain: true }))
  assert.equal((await client.expect(4)).body[2] ?? 0, 0)
  await client.delivery()
  client.send(publishPacket('second', 'x', { qos: 1, retain: true }))
  const { body } = await client.expect(4)
  assert.equal(body[2], ReasonCode.quotaExceeded)
  assert.match(textOf({ body }), /retained messages are full/)
  assert.equal((await client.delivery()).topic, 'second')
  client.send(publishPacket('second', 'x', { qos: 2, retain: true, packetId: 9 }))
  assert.equal((await client.expect(5)).body[2] ?? 0, 0)
  assert.equal(node.counters.dropped.get('retained_full'), 2)
  assert.equal(node.counters.limitsMet.get('plan_retained'), 2)
  const late = await connected(node, 'b')
  await late.subscribe([{ filter: '#' }])
  assert.equal((await late.delivery()).topic, 'first')
})

test('the queue of a session is as long as the plan says', async t => {
  const node = await start(t, { queueMessages: 3 })
  const away = await node.dial()
  const stored = { clientId: 'away', properties: [0x11, 0, 0, 0, 60], clean: false }
  await away.open(stored)
  await away.subscribe([{ filter: 't', options: 1 }])
  away.stream.destroy()
  await poll(() => node.broker.core.connections.size === 0, 'the end')
  const client = await connected(node, 'a')
  for (let n = 1; n <= 5; n++) {
    client.send(publishPacket('t', `${n}`, { qos: 1, packetId: n }))
    await client.expect(4)
  }
  const back = await node.dial()
  await back.open(stored)
  await back.until(() => back.deliveries().length === 3)
  assert.deepEqual(
    back.deliveries().map(({ payload }) => payload),
    ['1', '2', '3'],
  )
  assert.equal(node.counters.dropped.get('queue_full'), 2)
})
