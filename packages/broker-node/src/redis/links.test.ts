import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { memoryLogger, testRoom } from '../testing/redis-room.ts'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { redisCli } from '../testing/redis-topologies.ts'
import { startProxy, type TcpProxy } from '../testing/tcp-proxy.ts'
import type { BlockingLink } from './blocking-link.ts'
import type { CommandLink } from './command-link.ts'
import { isDemoted } from './errors.ts'
import type { RedisRoom } from './room.ts'

/** The promise: whatever a server does, except answering, is noticed within this. */
const NOTICED_MS = 3_000
const BLOCK_MS = 1_000

let redis: TestRedis
let proxy: TcpProxy

before(async () => {
  redis = await startRedis()
  proxy = await startProxy(redis.port)
})
after(async () => {
  await proxy.stop()
  await redis.stop()
})

interface Links {
  room: RedisRoom
  commands: CommandLink
  log: string[]
  heard: string[]
  counts: { outages: number; deafnesses: number; listenings: number }
  stop(): Promise<void>
}

/** One link of each kind, all of them at work. */
async function openLinks(port: number): Promise<Links> {
  const log: string[] = []
  const heard: string[] = []
  const counts = { outages: 0, deafnesses: 0, listenings: 0 }
  const room = testRoom(`redis://127.0.0.1:${port}`, {
    logger: memoryLogger(log),
    onOutage: () => counts.outages++,
    onDeaf: () => counts.deafnesses++,
  })
  const commands = room.commandLink('commands', new Map())
  const stopped = new AbortController()
  const reading = readOn(room.blockingLink('reader', BLOCK_MS), stopped.signal)
  room.listener().listen('midge:news', true, {
    onMessage: message => heard.push(message.toString()),
    onListening: () => counts.listenings++,
  })
  await until('all links are up', () => room.health.state === 'up')
  const stop = async (): Promise<void> => {
    stopped.abort()
    await room.stop()
    await reading
  }
  return { room, commands, log, heard, counts, stop }
}

async function readOn(link: BlockingLink, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await link.whenReady(signal).catch(() => undefined)
    await link.call('XREAD', 'BLOCK', BLOCK_MS, 'STREAMS', 'none', '$').catch(() => undefined)
    await new Promise(resolve => setImmediate(resolve))
  }
}

/** @returns how long it took */
async function until(what: string, claim: () => boolean, timeoutMs = 8_000): Promise<number> {
  const startMs = performance.now()
  while (!claim()) {
    if (performance.now() - startMs > timeoutMs) assert.fail(`not in time: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  return performance.now() - startMs
}

const eventsOf = (log: string[]): (string | undefined)[] => log.map(line => /"event":"([^"]+)"/.exec(line)?.[1])

for (const [what, fail, heal] of [
  ['a connection is cut and stays open', () => proxy.freeze(), () => proxy.heal()],
  ['Redis hangs', () => redis.pause(), () => redis.resume()],
] as const) {
  test(`${what}: every link notices it within 3 s, as one outage, and works again after it`, async t => {
    const links = await openLinks(proxy.port)
    t.after(() => links.stop())
    fail()
    await until('noticed', () => links.room.health.state === 'down', NOTICED_MS)
    const [reply] = await links.commands.run([{ command: 'get', args: ['x'] }])
    assert.ok(reply instanceof Error)
    heal()
    await until('all links are up', () => links.room.health.state === 'up')
    assert.deepEqual(eventsOf(links.log), ['redis.lost', 'redis.restored'], links.log.join('\n'))
    assert.equal(links.counts.outages, 1)
    assert.equal(await links.commands.one({ command: 'set', args: ['x', '1'] }).then(String), 'OK')
    await links.commands.one({ command: 'publish', args: ['midge:news', what], near: '' })
    await until('heard', () => links.heard.includes(what))
  })
}

test('a server that was made a replica is noticed within 3 s although it answers', async t => {
  const links = await openLinks(redis.port)
  t.after(() => links.stop())
  await redisCli(redis.port, 'REPLICAOF', '127.0.0.1', '1')
  await until('noticed', () => links.room.health.state === 'down', NOTICED_MS)
  assert.match(links.log[0] ?? '', /READONLY|MASTERDOWN/)
  await redisCli(redis.port, 'REPLICAOF', 'NO', 'ONE')
  await until('all links are up', () => links.room.health.state === 'up')
  assert.deepEqual(eventsOf(links.log), ['redis.lost', 'redis.restored'])
})

test('a listener that brings nothing any more, while all else works, is made anew and counted', async t => {
  const links = await openLinks(proxy.port)
  t.after(() => links.stop())
  proxy.deafenSubscribers()
  await until('noticed', () => links.counts.deafnesses === 1, NOTICED_MS)
  assert.equal(await links.commands.one({ command: 'ping', args: [], near: '' }).then(String), 'PONG')
  await until('it listens again', () => links.counts.listenings === 2)
  await links.commands.one({ command: 'publish', args: ['midge:news', 'again'], near: '' })
  await until('heard', () => links.heard.includes('again'))
})

test('a broken connection that is back at once is no outage', async t => {
  const links = await openLinks(redis.port)
  t.after(() => links.stop())
  let ready = 0
  links.commands.onReady(() => ready++)
  await redisCli(redis.port, 'CLIENT', 'KILL', 'TYPE', 'normal')
  await redisCli(redis.port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until('all links are up again', () => ready === 1 && links.room.health.state === 'up')
  assert.deepEqual(links.log, [])
})

test('a user that may not listen is told so, and everything else works', async t => {
  await redisCli(redis.port, 'ACL', 'SETUSER', 'mute', 'on', '>pw', '~*', 'resetchannels', '+@all')
  const log: string[] = []
  const settings = { url: redis.url, username: 'mute', password: 'pw' }
  const room = testRoom(settings, { logger: memoryLogger(log) })
  t.after(() => room.stop())
  const commands = room.commandLink('commands', new Map())
  room.listener().listen('midge:news', true, { onMessage: () => undefined, onListening: () => undefined })
  await until('refused', () => eventsOf(log).includes('redis.channel_refused'))
  await until('up', () => room.health.state === 'up')
  assert.equal(await commands.one({ command: 'set', args: ['y', '1'] }).then(String), 'OK')
})

test('a demoted server is recognised by what scripts of any version say', () => {
  const texts = [
    "READONLY You can't write against a read only replica.",
    "READONLY You can't write against a read only replica. script: abc, on @user_script:1.",
    "ERR Error running script (call to f_abc): @user_script:7: @user_script: 7: -READONLY You can't write against a read only replica.",
    'LOADING Redis is loading the dataset in memory',
    'MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to no.',
  ]
  for (const text of texts) assert.ok(isDemoted(new Error(text)), text)
  for (const text of ['ERR READONLYish', 'NOSCRIPT No matching script', 'WRONGTYPE Operation against a key']) {
    assert.ok(!isDemoted(new Error(text)), text)
  }
})
