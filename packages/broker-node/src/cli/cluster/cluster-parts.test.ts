import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { BrokerError } from '@midge/protocol-core'
import { loadConfig } from '../../config/load-config.ts'
import { runCluster } from '../cluster.ts'
import { Child } from './child.ts'
import { findFreePorts } from './free-port.ts'
import { startLocalRedis } from './local-redis.ts'
import {
  type ClusterPlan,
  nodeEnvironment,
  nodeScriptPath,
  renderNodeScript,
  startNodeProcess,
} from './node-process.ts'
import { renderSummary } from './summary.ts'

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'midge-cluster-test-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const PLAN: ClusterPlan = {
  dataDir: '/tmp/nowhere',
  redisUrl: 'redis://user:hidden@redis:6379',
  username: 'midge',
  password: 'it\'s $HOME "quoted"',
  apiKey: 'a key of sixteen or more',
  logLevel: 'info',
  nodes: [{ id: 'node-1', tcpPort: 1111, httpPort: 2222 }],
}
const NODE = { id: 'node-1', tcpPort: 1111, httpPort: 2222 }

test('findFreePorts() gives different ports', async () => {
  assert.equal(new Set(await findFreePorts(20)).size, 20)
})

test('a node gets a configuration that its own schema accepts', () => {
  const { config } = loadConfig({ env: nodeEnvironment(PLAN, NODE) })
  assert.equal(config.nodeId, 'node-1')
  assert.equal(config.redis.url, PLAN.redisUrl)
  assert.deepEqual(config.listeners.tcp, { host: '127.0.0.1', port: 1111, proxyProtocol: true })
  assert.equal(config.listeners.tls.port + config.listeners.ws.port + config.listeners.wss.port, 0)
  assert.equal(config.bootstrap.password, PLAN.password)
  assert.equal(config.bootstrap.apiKey, PLAN.apiKey)
})

test('the script of a node sets exactly its environment, whatever the password contains', () => {
  const script = renderNodeScript(PLAN, NODE)
  assert.match(script, /^exec '.*' '.*bin\/midge\.js' start$/m)
  const output = execFileSync('sh', ['-c', script.replace(/^exec .*$/m, 'env')], { encoding: 'utf8' })
  for (const [name, value] of Object.entries(nodeEnvironment(PLAN, NODE))) {
    assert.ok(output.split('\n').includes(`${name}=${value}`), name)
  }
})

test('only the owner can read the script', async t => {
  const plan = { ...PLAN, dataDir: temporaryFolder(t) }
  const child = await startNodeProcess(plan, NODE)
  child.kill()
  await child.exited
  assert.equal(statSync(nodeScriptPath(plan, NODE)).mode & 0o077, 0)
})

test('a child is ended by its pid; one that does not listen is killed after its grace', async t => {
  const logFile = join(temporaryFolder(t), 'log')
  const polite = await Child.start({ name: 'polite', command: 'sleep', args: ['60'], logFile })
  await polite.stop(10_000)
  assert.equal(await polite.exited, 'SIGTERM')
  const deaf = await Child.start({
    name: 'deaf',
    command: 'sh',
    args: ['-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done'],
    logFile,
  })
  while (deaf.logTail() !== 'ready') await new Promise(resolve => setTimeout(resolve, 5))
  await deaf.stop(100)
  assert.equal(await deaf.exited, 'SIGKILL')
  assert.equal(deaf.isRunning, false)
})

test('the local Redis keeps what it must keep', async t => {
  const folder = temporaryFolder(t)
  const [port = 0] = await findFreePorts(1)
  const redis = await startLocalRedis(folder, port)
  t.after(() => redis.stop(5000))
  const client = connect({ port, host: '127.0.0.1' })
  const ask = async (command: string): Promise<string> => {
    client.write(`${command}\r\n`)
    return String((await once(client, 'data'))[0])
  }
  assert.match(await ask('CONFIG GET maxmemory-policy'), /noeviction/)
  assert.match(await ask('CONFIG GET appendonly'), /yes/)
  assert.match(await ask('CONFIG GET appendfsync'), /everysec/)
  client.destroy()
  await redis.stop(5000)
  assert.equal(redis.isRunning, false)
})

test('a missing redis-server is one line that says what to install', async t => {
  const path = process.env['PATH']
  process.env['PATH'] = temporaryFolder(t)
  try {
    await assert.rejects(startLocalRedis(temporaryFolder(t), 1), (error: unknown) => {
      assert.ok(error instanceof BrokerError)
      assert.equal(error.code, 'MIDGE_STORE_UNAVAILABLE')
      assert.match(error.message, /apt-get install redis-server.*brew install redis.*--redis/)
      assert.ok(!error.message.includes('\n'))
      return true
    })
  } finally {
    process.env['PATH'] = path
  }
})

test('a taken --port is told before anything starts, and nothing is left behind', async t => {
  const taken = createServer()
  taken.listen(0, '0.0.0.0')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const previous = process.env['TMPDIR']
  const folder = temporaryFolder(t)
  process.env['TMPDIR'] = folder
  try {
    await assert.rejects(runCluster({ nodes: 1, port }), (error: unknown) => {
      assert.ok(error instanceof BrokerError)
      assert.equal(error.code, 'MIDGE_PORT_IN_USE')
      assert.match(error.message, new RegExp(`Port ${port} .*--port`))
      return true
    })
  } finally {
    if (previous === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = previous
  }
  assert.deepEqual(readdirSync(folder), [])
})

test('the summary hides the password of Redis and shows how to try', () => {
  const text = renderSummary({ plan: PLAN, host: '0.0.0.0', port: 1883, balancer: 'HAProxy', children: [] })
  assert.ok(!text.includes('hidden'))
  assert.match(text, /redis:\/\/user:\*\*\*@redis:6379/)
  assert.match(text, /mosquitto_sub -h 127\.0\.0\.1 -p 1883 -u midge/)
  assert.match(text, /node-1 .* 127\.0\.0\.1:1111 \(PROXY\) +http:\/\/127\.0\.0\.1:2222/)
})
