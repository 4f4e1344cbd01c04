import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import { DEFAULT_INSTANCE, ReasonCode } from '@midge/protocol-core'
import { loadConfig } from '../config/load-config.ts'
import { Counters } from '../counters.ts'
import { MidgeBroker } from '../engine/aedes/broker.ts'
import { publishPacket, RawClient } from '../engine/testing/raw-client.ts'
import { poll, TEST_INFO } from '../engine/testing/test-broker.ts'
import { TestInstanceLimits } from '../engine/testing/test-limits.ts'
import { MemoryLogger } from '../engine/testing/test-services.ts'
import type { UsageLimits } from '../ports.ts'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { openBacking } from './open-backing.ts'

let redis: TestRedis
let clusters = 0

before(async () => {
  redis = await startRedis()
})
after(() => redis.stop())

/** A node of the engine on Redis, behind a socket. */
interface Node {
  broker: MidgeBroker
  counters: Counters
  port: number
}

async function startNode(t: TestContext, nodeId: string, plans: TestInstanceLimits, keyPrefix: string): Promise<Node> {
  const values = { nodeId, dataDir: ':memory:', redis: { url: redis.url, keyPrefix } }
  const { config } = loadConfig({ env: {}, values })
  const counters = new Counters()
  const logger = new MemoryLogger()
  const { store, directory, link, quotas, ...backing } = await openBacking(config, logger, counters)
  const own = { nodeId, limits: config.limits, counters, logger, store, directory, link, quotas }
  const broker = new MidgeBroker({ ...own, instanceLimits: plans })
  await backing.ready()
  await broker.start()
  const server = createServer(socket => broker.accept(socket, TEST_INFO))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.close()
    await broker.core.stop()
    await backing.stop()
  })
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return { broker, counters, port: address.port }
}

async function startThree(
  t: TestContext,
  limits: Partial<UsageLimits>,
): Promise<{ nodes: Node[]; plans: TestInstanceLimits }> {
  const plans = new TestInstanceLimits()
  plans.set(DEFAULT_INSTANCE, limits)
  const keyPrefix = `limits-${++clusters}`
  const nodes = await Promise.all(['a', 'b', 'c'].map(nodeId => startNode(t, nodeId, plans, keyPrefix)))
  return { nodes, plans }
}

/** Connects as the client, and goes away with the test. */
async function connect(
  t: TestContext,
  { port }: Node,
  options: Parameters<RawClient['open']>[0],
): Promise<{ client: RawClient; code: number }> {
  const client = await RawClient.dial(port)
  t.after(() => client.stream.destroy())
  return { client, code: await client.open(options) }
}

const at = <T>(items: readonly T[], i: number): T => {
  const item = items[i % items.length]
  assert.ok(item !== undefined)
  return item
}

describe('three nodes, one plan', () => {
  test('of 200 clients that connect at once exactly 10 are in, and one that comes back elsewhere stays in', async t => {
    const { nodes } = await startThree(t, { connections: 10 })
    const numbers = Array.from({ length: 200 }, (_, i) => i)
    const opened = await Promise.all(numbers.map(i => connect(t, at(nodes, i), { clientId: `c${i}` })))
    const inside = numbers.filter(i => opened[i]?.code === 0)
    assert.equal(inside.length, 10)
    for (const { code } of opened) assert.ok(code === 0 || code === ReasonCode.quotaExceeded, `0x${code.toString(16)}`)
    const again = await Promise.all(inside.map(i => connect(t, at(nodes, i + 1), { clientId: `c${i}` })))
    assert.deepEqual(
      again.map(({ code }) => code),
      inside.map(() => 0),
    )
    assert.equal((await connect(t, at(nodes, 0), { clientId: 'other' })).code, ReasonCode.quotaExceeded)
    again[0]?.client.stream.destroy()
    await poll(() => nodes.reduce((sum, { broker }) => sum + broker.core.connections.size, 0) === 9, 'one to be gone')
    assert.equal((await connect(t, at(nodes, 2), { clientId: 'other' })).code, 0)
  })

  test('of 60 sessions that are to outlive their connection exactly 7 do', async t => {
    const { nodes } = await startThree(t, { sessions: 7 })
    const options = (i: number): object => ({ clientId: `c${i}`, properties: [0x11, 0, 0, 0, 60] })
    const opened = await Promise.all(Array.from({ length: 60 }, (_, i) => connect(t, at(nodes, i), options(i))))
    assert.equal(opened.filter(({ code }) => code === 0).length, 7)
    assert.equal((await connect(t, at(nodes, 0), { clientId: 'clean' })).code, 0)
  })

  test('of 90 messages that are retained at once exactly 20 are', async t => {
    const { nodes } = await startThree(t, { retainedMessages: 20 })
    const clients = await Promise.all(nodes.map((node, i) => connect(t, node, { clientId: `c${i}` })))
    clients.forEach(({ client }, c) => {
      for (let n = 1; n <= 30; n++) {
        client.send(publishPacket(`${c}/${n}`, 'x', { qos: 1, retain: true, packetId: n }))
      }
    })
    const codes = await Promise.all(
      clients.map(async ({ client }) => {
        await client.until(() => client.frames.filter(({ type }) => type === 4).length === 30)
        return client.frames.filter(({ type }) => type === 4).map(({ body }) => body[2] ?? 0)
      }),
    )
    assert.equal(codes.flat().filter(code => code === 0).length, 20)
    const { client } = await connect(t, at(nodes, 0), { clientId: 'late' })
    await client.subscribe([{ filter: '#' }])
    await client.until(() => client.deliveries().length >= 20)
    const { broker } = at(nodes, 1)
    const page = await broker.core.services.store.matchRetained(DEFAULT_INSTANCE, '#', undefined, 100)
    assert.ok(page.messages.length <= 20)
  })

  test('publishers on all of them share the rate, within 2 %', async t => {
    const { nodes } = await startThree(t, { messagesInPerSecond: 500, burstSeconds: 1 })
    const { client: reader } = await connect(t, at(nodes, 0), { clientId: 'reader' })
    await reader.subscribe([{ filter: '#' }])
    const publishers = await Promise.all(nodes.map((node, i) => connect(t, node, { clientId: `p${i}` })))
    const packets = Buffer.concat(Array.from({ length: 4_000 }, () => publishPacket('t', 'x')))
    const startMs = performance.now()
    for (const { client } of publishers) client.send(packets)
    const count = (): number => nodes.reduce((sum, { counters }) => sum + (counters.messagesReceived[0] ?? 0), 0)
    const wait = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
    await wait(1_000)
    const [before, beforeMs] = [count(), performance.now()]
    await wait(4_000)
    const [after, afterMs] = [count(), performance.now()]
    const due = ((afterMs - beforeMs) / 1000) * 500
    // Steps of 20 ms a node are no error of the rate.
    assert.ok(Math.abs(after - before - due) <= due * 0.02 + 30, `${after - before} of ${due}`)
    const total = 500 + ((afterMs - startMs) / 1000) * 500
    assert.ok(after <= total * 1.02 + 30 && after >= total * 0.98 - 60, `${after} of ${total}`)
  })
})
