import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { connectClient, type TestClient } from '../support/clients.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { TestProcess } from '../support/test-process.ts'
import { until } from '../support/until.ts'

// The same path from the source and from `dist`, which is one folder deeper.
const EXAMPLE = ['../..', '../../..']
  .map(root => fileURLToPath(new URL(`${root}/packages/broker-node/examples/from-aedes.mjs`, import.meta.url)))
  .find(path => existsSync(path))

interface RunningExample {
  process: TestProcess
  connect(clientId: string, tenant: string, password?: string): Promise<TestClient>
}

async function run(t: TestContext, env: Record<string, string>): Promise<RunningExample> {
  assert.ok(EXAMPLE !== undefined)
  const example = new TestProcess('from-aedes.mjs', process.execPath, [EXAMPLE], { env: { PORT: '0', ...env } })
  t.after(() => example.kill9())
  const port = await until(
    'the example to listen',
    () => /listening on (\d+)/.exec(example.stdout)?.[1],
    15_000,
    () => example.tail(),
  )
  const connect = (clientId: string, tenant: string, password = 'secret'): Promise<TestClient> =>
    connectClient({ port: Number(port), clientId, username: tenant, password })
  return { process: example, connect }
}

describe('examples/from-aedes.mjs', () => {
  it('keeps tenants apart, raises its alarm, refuses a wrong password, and ends cleanly', async t => {
    const example = await run(t, {})
    const red = await example.connect('r', 'red')
    const blue = await example.connect('b', 'blue')
    for (const client of [red, blue]) await client.subscribe('#', 1)
    await red.publish('temperature', '20', 1)
    await red.publish('temperature', '35', 1)
    await red.untilReceived(3)
    assert.deepEqual(red.received.map(({ topic, text }) => `${topic} ${text}`).sort(), [
      'alarm too hot',
      'temperature 20',
      'temperature 35',
    ])
    assert.deepEqual(blue.received, [])
    await until('the acknowledgement', () => example.process.stdout.includes('r has alarm'))
    assert.match(example.process.stdout, /r of red is connected/)
    await assert.rejects(example.connect('x', 'red', 'wrong'), { code: 5 })
    example.process.kill()
    assert.deepEqual(await example.process.end(), { code: 0, signal: null })
    assert.match(example.process.stdout, /closed/)
  })

  it('as two nodes on one Redis: each hears the clients of the other', async t => {
    const redis = await startRedisServer()
    t.after(() => redis.stop())
    const first = await run(t, { REDIS_URL: redis.url })
    const second = await run(t, { REDIS_URL: redis.url })
    const sensor = await first.connect('sensor', 'red')
    const panel = await second.connect('panel', 'red')
    await panel.subscribe('alarm', 1)
    await sensor.publish('temperature', '35', 1)
    await panel.untilReceived(1)
    for (const { process: one } of [first, second]) {
      await until('both to hear it', () => one.stdout.includes('heard red/alarm'))
    }
    assert.deepEqual(panel.texts(), ['too hot'])
  })
})
