import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { DEFAULT_INSTANCE, ReasonCode } from '@midge/protocol-core'
import type { UsageLimits } from '../../ports.ts'
import { PINGREQ, publishPacket, type RawClient } from '../testing/raw-client.ts'
import { startBroker, type TestBroker } from '../testing/test-broker.ts'
import { TestInstanceLimits } from '../testing/test-limits.ts'

interface Limited extends TestBroker {
  plans: TestInstanceLimits
}

async function start(t: TestContext, limits: Partial<UsageLimits>): Promise<Limited> {
  const plans = new TestInstanceLimits()
  plans.set(DEFAULT_INSTANCE, limits)
  const node = await startBroker({ instanceLimits: plans })
  t.after(() => node.stop())
  return { ...node, plans }
}

async function connected(node: Limited, clientId: string): Promise<RawClient> {
  const client = await node.dial()
  assert.equal(await client.open({ clientId }), 0)
  return client
}

async function subscriber(node: Limited, options = 0): Promise<RawClient> {
  const client = await connected(node, `sub ${options}`)
  await client.subscribe([{ filter: '#', options }])
  return client
}

function flood(count: number, payload = 'x'): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => publishPacket('t', payload)))
}

/** Waits for as many deliveries. @returns how many milliseconds it took */
async function arrival(client: RawClient, count: number): Promise<number> {
  const startMs = performance.now()
  while (client.deliveries().length < count) await client.until(() => client.deliveries().length >= count)
  return performance.now() - startMs
}

test('a publisher beyond the rate is read no further until it is within it again, and nothing is lost', async t => {
  const node = await start(t, { messagesInPerSecond: 100, burstSeconds: 1 })
  const reader = await subscriber(node)
  const client = await connected(node, 'pub')
  client.send(flood(300))
  // A burst of 100, then one every 10 ms.
  const tookMs = await arrival(reader, 300)
  assert.ok(tookMs >= 1900 && tookMs <= 2600, `${tookMs} ms`)
  assert.ok(node.counters.publishersHeldBack > 0)
  client.send(PINGREQ)
  await client.expect(13)
})

test('clients of an instance share its rate', async t => {
  const node = await start(t, { messagesInPerSecond: 100, burstSeconds: 1 })
  const reader = await subscriber(node)
  const clients = await Promise.all(['a', 'b', 'c'].map(clientId => connected(node, clientId)))
  for (const client of clients) client.send(flood(100))
  const tookMs = await arrival(reader, 300)
  assert.ok(tookMs >= 1900 && tookMs <= 2600, `${tookMs} ms`)
})

test('bytes are counted as they are on the wire', async t => {
  const node = await start(t, { bytesInPerSecond: 10_000, burstSeconds: 1 })
  const reader = await subscriber(node)
  const client = await connected(node, 'pub')
  const packet = publishPacket('t', 'x'.repeat(1000)).length
  client.send(flood(30, 'x'.repeat(1000)))
  const tookMs = await arrival(reader, 30)
  const dueMs = ((30 * packet - 10_000) / 10_000) * 1000
  assert.ok(tookMs >= dueMs - packet / 10 - 50 && tookMs <= dueMs + 600, `${tookMs} of ${dueMs} ms`)
})

test('a client that is read no further gets its PINGRESP, once', async t => {
  const node = await start(t, { messagesInPerSecond: 1, burstSeconds: 1 })
  const client = await connected(node, 'pub')
  client.send(flood(4), PINGREQ, publishPacket('t', 'last', { qos: 1 }))
  const startMs = performance.now()
  await client.expect(13)
  assert.ok(performance.now() - startMs < 2_500)
  assert.ok((node.counters.messagesReceived[0] ?? 0) < 4, 'it had to wait for nothing')
  await client.expect(4)
  client.send(PINGREQ)
  await client.expect(13)
  assert.equal(client.frames.filter(({ type }) => type === 13).length, 2)
})

test('what would take longer than 10 s is said with 0x96, with the wait', async t => {
  const node = await start(t, { bytesInPerSecond: 1_000, burstSeconds: 1 })
  const client = await connected(node, 'pub')
  const startMs = performance.now()
  client.send(publishPacket('t', 'x'.repeat(100_000)), publishPacket('t', 'x'))
  while (!client.isClosed) {
    assert.ok(performance.now() - startMs < 15_000, 'not closed')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  assert.ok(performance.now() - startMs >= 9_900)
  const goodbye = client.frames.at(-1)
  assert.deepEqual([goodbye?.type, goodbye?.body[0]], [14, ReasonCode.messageRateTooHigh])
  assert.match(String(goodbye?.body), /plan cat: 1000 bytes in a second, wait (8|9)\d s/)
  assert.equal(node.counters.limitsMet.get('plan_rate'), 1)
})

test('beyond the rate to clients QoS 0 is dropped and counted, QoS 1 waits in its queue', async t => {
  const node = await start(t, { messagesOutPerSecond: 50, burstSeconds: 1 })
  const client = await connected(node, 'pub')
  const reader = await subscriber(node, 0)
  client.send(flood(200), PINGREQ)
  await client.expect(13)
  await new Promise(resolve => setTimeout(resolve, 100))
  const got = reader.deliveries().length
  assert.ok(got >= 50 && got <= 110, `${got} were delivered`)
  assert.equal((node.counters.dropped.get('plan_rate') ?? 0) + got, 200)
  reader.stream.destroy()
  const careful = await subscriber(node, 1)
  const startMs = performance.now()
  for (let n = 1; n <= 100; n++) client.send(publishPacket('t', `${n}`, { qos: 1, packetId: n }))
  let acknowledged = 0
  while (acknowledged < 100) {
    const { packetId, payload } = await careful.delivery()
    assert.equal(payload, `${++acknowledged}`)
    careful.send(Buffer.from([0x40, 2, packetId >>> 8, packetId & 255]))
  }
  const tookMs = performance.now() - startMs
  assert.ok(tookMs >= 900, `${tookMs} ms`)
})

test('a plan that is changed lets those go on who wait, and holds others back', async t => {
  const node = await start(t, { messagesInPerSecond: 1, burstSeconds: 1 })
  const reader = await subscriber(node)
  const client = await connected(node, 'pub')
  client.send(flood(500))
  await arrival(reader, 1)
  node.plans.set(DEFAULT_INSTANCE, {})
  assert.ok((await arrival(reader, 500)) < 1000)
  node.plans.set(DEFAULT_INSTANCE, { messagesInPerSecond: 100, burstSeconds: 1 })
  await new Promise(resolve => setTimeout(resolve, 250))
  client.send(flood(300))
  const tookMs = await arrival(reader, 800)
  assert.ok(tookMs >= 1900, `${tookMs} ms`)
})

test('a rate that is not reached holds nobody back', async t => {
  const node = await start(t, { messagesInPerSecond: 1_000_000, bytesInPerSecond: 1_000_000_000 })
  const reader = await subscriber(node)
  const client = await connected(node, 'pub')
  client.send(flood(50_000))
  await arrival(reader, 50_000)
  assert.equal(node.counters.publishersHeldBack, 0)
})
