import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { after, afterEach, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { BrokerError } from '@midge/protocol-core'
import { Redis } from 'ioredis'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { startProxy } from '../testing/tcp-proxy.ts'
import { FAST_TIMINGS, startNode, type TestNode, until } from './testing/test-node.ts'

let redis: TestRedis
let admin: Redis
let nodes: TestNode[] = []
let child: ChildProcess | undefined

before(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url)
})
after(async () => {
  admin.disconnect()
  await redis.stop()
})
afterEach(async () => {
  child?.kill('SIGCONT')
  child?.kill('SIGKILL')
  child = undefined
  await Promise.all(nodes.map(node => node.stop()))
  nodes = []
  await admin.flushall()
})

async function join(nodeId: string, url: string = redis.url): Promise<TestNode> {
  const node = await startNode(url, nodeId, FAST_TIMINGS)
  nodes.push(node)
  return node
}

test('whoever reads on another node after a write has resolved finds it', async () => {
  const [a, b, c] = await Promise.all([join('a'), join('b'), join('c')])
  for (let i = 0; i < 50; i++) {
    const key = `user\0one\0${i % 10}`
    const value = i % 3 === 2 ? undefined : `{"i":${i}}`
    assert.deepEqual(await a.cluster.records.write([{ key, value }]), { everywhere: true })
    for (const node of [a, b, c]) assert.equal(node.records.get(key), value)
  }
})

test('of nodes that create one record at the same time exactly one wins, 100 times', async () => {
  const [a, b] = await Promise.all([join('a'), join('b')])
  const all = [a, b]
  for (let i = 0; i < 100; i++) {
    const key = `race ${i}`
    const outcomes = await Promise.allSettled(
      all.map(({ cluster, nodeId }) =>
        cluster.records.write([
          { key, value: nodeId, expected: { value: undefined } },
          { key: `of ${nodeId} ${i}`, value: '1' },
        ]),
      ),
    )
    const won = all.filter((_, n) => outcomes[n]?.status === 'fulfilled').map(({ nodeId }) => nodeId)
    assert.equal(won.length, 1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.equal((outcome.reason as BrokerError).code, 'MIDGE_RECORD_CONFLICT')
    }
    for (const { records } of all) {
      assert.equal(records.get(key), won[0])
      for (const { nodeId } of all) assert.equal(records.has(`of ${nodeId} ${i}`), nodeId === won[0])
    }
  }
})

test('a node that stands still holds a write up for half a second, and has it when it goes on', async () => {
  const a = await join('a')
  const script = fileURLToPath(new URL('./testing/node-process.js', import.meta.url))
  child = fork(script, [redis.url, 'b'], { silent: true })
  assert.ok(child.stdout)
  assert.match(String(await once(child.stdout, 'data')), /^ready/)
  await until('the other node is known', () => a.cluster.link.peers().includes('b'))
  assert.deepEqual(await a.cluster.records.write([{ key: 'k', value: '1' }]), { everywhere: true })
  child.kill('SIGSTOP')
  const startedAtMs = performance.now()
  assert.deepEqual(await a.cluster.records.write([{ key: 'k', value: '2' }]), { everywhere: false })
  const tookMs = performance.now() - startedAtMs
  assert.ok(tookMs >= 450 && tookMs < 1_500, `${tookMs} ms`)
  assert.equal(a.records.get('k'), '2')
  child.kill('SIGCONT')
  const { everywhere } = await a.cluster.records.write([{ key: 'k', value: '3' }])
  assert.equal(everywhere, true)
})

test('a node that comes later has all records, and one that was cut off catches up', async t => {
  const a = await join('a')
  await a.cluster.records.write([{ key: 'old', value: '1' }])
  const proxy = await startProxy(redis.port)
  t.after(() => proxy.stop())
  const b = await join('b', `redis://127.0.0.1:${proxy.port}`)
  assert.deepEqual([...b.records], [['old', '1']])
  proxy.freeze()
  await a.cluster.records.write([
    { key: 'old', value: undefined },
    { key: 'new', value: '2' },
  ])
  proxy.heal()
  await until('caught up', () => b.records.get('new') === '2')
  assert.deepEqual([...b.records], [['new', '2']])
  assert.ok(!b.events.includes('records reset'))
})

test('when Redis loses its data every node is told, and goes on with what is written then', async () => {
  const [a, b] = await Promise.all([join('a'), join('b')])
  await a.cluster.records.write([
    { key: 'one', value: '1' },
    { key: 'two', value: '2' },
  ])
  await admin.flushall()
  await b.cluster.records.write([{ key: 'three', value: '3', expected: { value: undefined } }])
  await until('both have forgotten', () => [a, b].every(({ events }) => events.includes('records reset')))
  for (const { records } of [a, b]) assert.deepEqual([...records], [['three', '3']])
})

test('a write whose answer is lost is made once, and says so', async t => {
  const proxy = await startProxy(redis.port)
  t.after(() => proxy.stop())
  const a = await join('a', `redis://127.0.0.1:${proxy.port}`)
  const table = 'test:{cluster}:table:records'
  // A slow server: the script has run, and its answer does not come through any more.
  const written = a.cluster.records.write([{ key: 'k', value: '1', expected: { value: undefined } }])
  const deadlineMs = Date.now() + 5_000
  while ((await admin.hget(table, 'k')) === null) assert.ok(Date.now() < deadlineMs)
  proxy.freeze()
  proxy.heal()
  await written
  assert.equal(a.records.get('k'), '1')
  assert.equal(await admin.hget(`${table}:meta`, 'version'), '1')
})

test('a write is refused when Redis stays away, and nothing of it comes later', async t => {
  const proxy = await startProxy(redis.port)
  t.after(() => proxy.stop())
  const a = await join('a', `redis://127.0.0.1:${proxy.port}`)
  const b = await join('b')
  proxy.freeze()
  await assert.rejects(
    a.cluster.records.write([{ key: 'lost', value: '1' }]),
    (error: unknown) => error instanceof BrokerError && error.code === 'MIDGE_STORE_UNAVAILABLE',
  )
  proxy.heal()
  await a.cluster.records.write([{ key: 'later', value: '1' }])
  assert.deepEqual([...a.records], [['later', '1']])
  await until('the other node has it', () => b.records.has('later'))
  assert.equal(b.records.has('lost'), false)
})
