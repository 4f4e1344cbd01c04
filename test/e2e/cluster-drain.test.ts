import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { FrameWriter } from '@midge/protocol-core'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { watchNodes } from '../support/midge-node.ts'
import { until } from '../support/until.ts'

const SERVER_SHUTTING_DOWN = 0x8b

let cluster: MidgeCluster
before(async () => {
  cluster = await MidgeCluster.start(2)
})
after(() => cluster?.stop())
watchNodes(() => cluster?.nodes ?? [])

test('a node that is told to drain in its inbox goes out of service, once, and others stay', async () => {
  const [told, other] = [cluster.node(0), cluster.node(1)]
  const moved = await cluster.raw(0, 5, { clientId: 'moved' })
  const stays = await cluster.raw(1, 5, { clientId: 'stays' })
  const writer = new FrameWriter('a-tool', Date.now())
  for (let n = 0; n < 2; n++) writer.appendCommand({ kind: 'drain' })
  const port = String(cluster.redis.port)
  execFileSync('redis-cli', ['-p', port, '-x', 'XADD', `midge:inbox:{${told.name}}`, '*', 'f'], {
    input: writer.take(),
  })
  await moved.expectClose({ reason: SERVER_SHUTTING_DOWN })
  await until('the node to be out of service', async () => (await told.readyz()) === 503)
  await assert.rejects(cluster.raw(0, 5, { clientId: 'late' }))
  await stays.ping()
  assert.equal(await other.readyz(), 200)
  const again = await cluster.raw(1, 5, { clientId: 'moved' })
  await again.ping()
})
