import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { testRoom } from '../testing/redis-room.ts'
import { redisCli, startRedisCluster, type TestTopology } from '../testing/redis-topologies.ts'
import type { CommandLink } from './command-link.ts'
import { slotOfKey } from './slot.ts'

let redis: TestTopology
before(async () => {
  redis = await startRedisCluster()
})
after(() => redis.stop())

async function openLink(t: { after(fn: () => Promise<void>): void }): Promise<CommandLink> {
  const room = testRoom(redis.settings)
  t.after(() => room.stop())
  const link = room.commandLink('commands', new Map())
  await new Promise<void>(resolve => link.onReady(resolve))
  return link
}

/** Gives an empty slot to a server that does not have it. */
async function moveEmptySlot(slot: number): Promise<void> {
  const ports = redis.servers.map(({ port }) => port)
  const owner = await Promise.all(
    ports.map(async port => (await redisCli(port, 'GET', keyIn(slot))).startsWith('MOVED')),
  )
  const to = owner.indexOf(true)
  const id = (await redisCli(ports[to] ?? 0, 'CLUSTER', 'MYID')).trim()
  for (const port of [ports[to] ?? 0, ...ports]) await redisCli(port, 'CLUSTER', 'SETSLOT', String(slot), 'NODE', id)
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
