import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { RouteInterest } from '@midge/protocol-core'
import { startRedisCluster, type TestTopology } from '../testing/redis-topologies.ts'
import { startNode, textMessage, until } from './testing/test-node.ts'

let redis: TestTopology

before(async () => {
  redis = await startRedisCluster()
})
after(() => redis.stop())

test('nodes meet over a Redis Cluster: routes settle, messages arrive in order, a dead node is noticed', async t => {
  const nodes = await Promise.all(['a', 'b', 'c'].map(nodeId => startNode(redis.settings, nodeId)))
  t.after(() => Promise.all(nodes.map(node => node.stop())))
  const [a, b, c] = nodes
  assert.ok(a && b && c)
  await until('they meet', () => nodes.every(node => node.cluster.link.peers().length === 2))
  a.cluster.directory.setRoute('default', 'x/#', RouteInterest.all)
  assert.equal(await a.cluster.directory.settled(), true)
  for (const node of [b, c]) assert.ok(node.routes.has('a default x/#'))
  for (let i = 0; i < 1_000; i++) b.cluster.link.send('a', 'default', textMessage('x/1', String(i)), [])
  for (let i = 0; i < 1_000; i++) b.cluster.link.send('c', 'default', textMessage('x/1', String(i)), [])
  await b.cluster.link.flushed()
  await until('all messages', () => a.received.length >= 1_000 && c.received.length >= 1_000)
  for (const { received } of [a, c]) {
    assert.deepEqual(
      received.map(({ payload }) => payload),
      Array.from({ length: 1_000 }, (_, i) => String(i)),
    )
  }
  await c.stop()
  await until('c is gone', () => [a, b].every(node => node.events.includes('gone c')))
})
