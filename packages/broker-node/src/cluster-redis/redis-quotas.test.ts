import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { QuotaStore } from '@midge/protocol-core'
import { quotaContract } from '@midge/protocol-core/testing'
import { startRedis } from '../testing/redis-server.ts'
import { startRedisCluster, type TestTopology } from '../testing/redis-topologies.ts'
import { FAST_TIMINGS, startNode, type TestNode } from './testing/test-node.ts'

const NODE_PROCESS = fileURLToPath(new URL('./testing/node-process.js', import.meta.url))
let single: TestTopology
let sharded: TestTopology
let clusters = 0

before(async () => {
  const server = await startRedis()
  single = { settings: { url: server.url }, servers: [server], stop: () => server.stop() }
  sharded = await startRedisCluster()
})
after(async () => {
  await single.stop()
  await sharded.stop()
})

for (const [name, topology] of [
  ['redis', () => single],
  ['redis cluster', () => sharded],
] as const) {
  quotaContract(name, async () => {
    const { cluster, stop } = await startNode(topology().settings, 'n', FAST_TIMINGS, `quota-${++clusters}`)
    return { quotas: cluster.quotas, dispose: stop }
  })
}

const TEN = [{ kind: 'connections', max: 10 }]

function take(node: TestNode, name: string): ReturnType<QuotaStore['takeSlots']> {
  return node.cluster.quotas.takeSlots({ instance: 'acme', name, claim: name, limits: TEN })
}

async function startThree(): Promise<TestNode[]> {
  const prefix = `quota-${++clusters}`
  const { url = '' } = single.settings
  return await Promise.all(['a', 'b', 'c'].map(id => startNode(url, id, FAST_TIMINGS, prefix)))
}

describe('three nodes', () => {
  test('of 200 that come at once on three nodes exactly 10 are counted', async t => {
    const nodes = await startThree()
    t.after(() => Promise.all(nodes.map(node => node.stop())))
    const wishes = Array.from({ length: 200 }, (_, i) => take(nodes[i % 3] as TestNode, `c${i}`))
    const answers = await Promise.all(wishes)
    assert.equal(answers.filter(({ isTaken }) => isTaken).length, 10)
  })

  test('the slots of a dead node are found when the limit is met, and those of the living stay', async t => {
    const { url = '' } = single.settings
    const [a, c] = await Promise.all([startNode(url, 'a'), startNode(url, 'c')])
    const child = spawn(process.execPath, [NODE_PROCESS, url, 'b', '4'], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(async () => {
      child.kill('SIGKILL')
      await Promise.all([a.stop(), c.stop()])
    })
    await once(child.stdout, 'data')
    for (let n = 0; n < 6; n++) assert.ok((await take(a, `a${n}`)).isTaken)
    assert.equal((await take(c, 'late')).isTaken, false)
    child.kill('SIGKILL')
    const deadline = Date.now() + 10_000
    while (!(await take(c, 'c0')).isTaken) {
      assert.ok(Date.now() < deadline, 'the slots of the dead node were not given up')
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    const more = await Promise.all([1, 2, 3, 4, 5].map(n => take(c, `c${n}`)))
    assert.equal(more.filter(({ isTaken }) => isTaken).length, 3)
    assert.equal(await a.cluster.quotas.usedSlots('acme', 'connections'), 10)
  })

  test('a process that comes back under its node id does not keep the slots of the one before', async t => {
    const prefix = `quota-${++clusters}`
    const { url = '' } = single.settings
    const first = await startNode(url, 'x', FAST_TIMINGS, prefix)
    for (let n = 0; n < 10; n++) assert.ok((await take(first, `old${n}`)).isTaken)
    await first.stop()
    const second = await startNode(url, 'x', FAST_TIMINGS, prefix)
    t.after(() => second.stop())
    assert.ok((await take(second, 'new')).isTaken)
    assert.equal(await second.cluster.quotas.usedSlots('acme', 'connections'), 1)
  })

  test('three nodes that lease at once share one rate, within 2 %', async t => {
    const nodes = await startThree()
    t.after(() => Promise.all(nodes.map(node => node.stop())))
    const wish = { bucket: 'messages', ratePerSecond: 3000, burst: 3000, want: 3000 }
    await nodes[0]?.cluster.quotas.leaseTokens('acme', [wish])
    const startMs = performance.now()
    const endMs = startMs + 2000
    const spend = async ({ cluster }: TestNode): Promise<number> => {
      let granted = 0
      while (performance.now() < endMs) {
        const [lease] = await cluster.quotas.leaseTokens('acme', [{ ...wish, want: 200 }])
        granted += lease?.granted ?? 0
        await new Promise(resolve => setTimeout(resolve, 10))
      }
      return granted
    }
    const shares = await Promise.all(nodes.map(spend))
    const sum = shares.reduce((a, b) => a + b, 0)
    const due = ((performance.now() - startMs) / 1000) * 3000
    assert.ok(Math.abs(sum - due) <= due * 0.02 + 60, `${shares.join(' + ')} = ${sum} of ${due}`)
  })
})
