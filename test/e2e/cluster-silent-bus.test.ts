import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { watchNodes } from '../support/midge-node.ts'
import { until } from '../support/until.ts'

const SESSION_TAKEN_OVER = 0x8e
const TAKEOVERS = 10
/** The promise. */
const TAKEN_OVER_MS = 3_000

let cluster: MidgeCluster
before(async () => {
  cluster = await MidgeCluster.start(2)
})
after(() => cluster?.stop())
watchNodes(() => cluster?.nodes ?? [])

async function redis(...command: string[]): Promise<string> {
  const run = promisify(execFile)
  return (await run('redis-cli', ['-p', String(cluster.redis.port), ...command])).stdout
}

test('two connections of one client id do not live on although nodes hear no broadcast of each other', async () => {
  // Ends the subscriptions that it forbids.
  await redis('ACL', 'SETUSER', 'default', 'resetchannels', '&midge:poke:*')
  await until('the nodes to be back without the bus', async () => {
    const channels = (await redis('PUBSUB', 'CHANNELS')).trim().split('\n')
    return channels.length === 2 && channels.every(channel => channel.startsWith('midge:poke:'))
  })
  for (let n = 0; n < TAKEOVERS; n++) {
    const first = await cluster.raw(n % 2, 5, { clientId: `twice-${n}` })
    const startMs = performance.now()
    const second = await cluster.raw((n + 1) % 2, 5, { clientId: `twice-${n}` })
    await first.expectClose({ reason: SESSION_TAKEN_OVER })
    assert.ok(performance.now() - startMs < TAKEN_OVER_MS)
    await second.ping()
    await second.disconnect()
  }
})
