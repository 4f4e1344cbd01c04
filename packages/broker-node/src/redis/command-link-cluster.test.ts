import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { memoryLogger, testRoom } from '../testing/redis-room.ts'
import { poll, redisCli, startRedisCluster, type TestTopology } from '../testing/redis-topologies.ts'
import type { CommandLink } from './command-link.ts'
import { slotOfKey } from './slot.ts'

let redis: TestTopology
before(async () => {
  redis = await startRedisCluster()
})
after(() => redis.stop())

async function openLink(t: { after(fn: () => Promise<void>): void }, log: string[] = []): Promise<CommandLink> {
  const room = testRoom(redis.settings, { logger: memoryLogger(log) })
  t.after(() => room.stop())
  const link = room.commandLink('commands', new Map())
  await new Promise<void>(resolve => link.onReady(resolve))
  return link
}

/** Gives an empty slot to a server that does not have it. */
async function moveEmptySlot(slot: number): Promise<void> {
  const ports = redis.servers.map(({ port }) => port)
  const isElsewhere = await Promise.all(
    ports.map(async port => (await redisCli(port, 'GET', keyIn(slot))).startsWith('MOVED')),
  )
  const [source = 0, target = 0] = [ports[isElsewhere.indexOf(false)], ports[isElsewhere.indexOf(true)]]
  const [sourceId, targetId] = await Promise.all(
    [source, target].map(async port => (await redisCli(port, 'CLUSTER', 'MYID')).trim()),
  )
  const set = (port: number, how: string, id = ''): Promise<string> =>
    redisCli(port, 'CLUSTER', 'SETSLOT', String(slot), how, id)
  // Without these steps the servers would not agree whose claim is the newer one.
  await set(target, 'IMPORTING', sourceId)
  await set(source, 'MIGRATING', targetId)
  for (const port of [target, source]) await set(port, 'NODE', targetId)
}

/** @returns a key of that slot */
function keyIn(slot: number): string {
  for (let n = 0; ; n++) if (slotOfKey(`{t${n}}`) === slot) return `{t${n}}`
}

test('one batch goes to all servers, and every reply comes back to its call', async t => {
  const link = await openLink(t)
  const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`)
  const calls = keys.map((key, i) => ({ command: 'set', args: [key, i] }))
  assert.deepEqual(new Set((await link.all(calls)).map(String)), new Set(['OK']))
  const replies = await link.all(keys.map(key => ({ command: 'get', args: [key] })))
  assert.deepEqual(
    replies.map(Number),
    keys.map((_, i) => i),
  )
  assert.equal(link.keyPerServer(calls).length, 3)
  assert.equal(
    (await link.everywhere('DBSIZE')).map(Number).reduce((sum, size) => sum + size),
    keys.length,
  )
})

test('commands that a server refuses because their slot has moved take effect in their order', async t => {
  const link = await openLink(t)
  for (const slot of [100, 6_000, 12_000]) {
    const key = keyIn(slot)
    await moveEmptySlot(slot)
    const sent: Promise<unknown>[] = []
    for (let i = 0; i < 300; i++) {
      sent.push(link.one({ command: 'rpush', args: [key, i] }))
      await new Promise(resolve => setImmediate(resolve))
    }
    await Promise.all(sent)
    const list = (await link.one({ command: 'lrange', args: [key, 0, -1] })) as Buffer[]
    assert.deepEqual(
      list.map(Number),
      Array.from({ length: 300 }, (_, i) => i),
    )
  }
})

test('a server that is gone without anybody in its place is an outage, although the others answer', async t => {
  const ports = redis.servers.map(({ port }) => port)
  for (const port of ports) await redisCli(port, 'CONFIG', 'SET', 'cluster-require-full-coverage', 'no')
  const log: string[] = []
  const link = await openLink(t, log)
  await redis.servers[2]?.kill()
  await poll('it is noticed', () => Promise.resolve(log.some(line => line.includes('redis.lost'))))
  const calls = [1_000, 8_000, 15_000].map(slot => ({ command: 'set', args: [keyIn(slot), 1] }))
  const replies = await link.run(calls)
  assert.deepEqual(
    replies.map(reply => !(reply instanceof Error)),
    [true, true, false],
  )
})
