import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { RedisRoom } from '../redis/room.ts'
import { memoryLogger } from '../testing/redis-room.ts'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { startProxy } from '../testing/tcp-proxy.ts'
import { type BroadcastBus, createBroadcastBus } from './broadcast-bus.ts'
import { clusterScripts } from './cluster-scripts.ts'
import { joinCluster, startNode, until } from './testing/test-node.ts'

const CHANNEL = 'test:own'

let redis: TestRedis
before(async () => {
  redis = await startRedis()
})
after(() => redis.stop())

async function publish(channel: string, message: string | Buffer): Promise<void> {
  // The message comes from standard input, where it may be any bytes.
  const cli = promisify(execFile)('redis-cli', ['-p', String(redis.port), '-x', 'PUBLISH', channel])
  cli.child.stdin?.end(message)
  await cli
}

/** A bus beside the one for control messages, over the links of a node. */
async function openBus({ room, log }: { room: RedisRoom; log: string[] }): Promise<BroadcastBus> {
  const commands = room.commandLink('own-bus', clusterScripts())
  await commands.whenReady(new AbortController().signal)
  return createBroadcastBus({
    commands,
    listener: room.listener(),
    channels: [{ name: CHANNEL, hasEcho: false }],
    channelOf: () => CHANNEL,
    logger: memoryLogger(log),
  })
}

interface Event {
  topic: string
  payload: unknown
}

function listen(mq: BroadcastBus, topic: string, into: Event[]): Promise<(message: object, done: () => void) => void> {
  const listener = (message: object, done: () => void): void => {
    const { topic, payload } = message as Event
    into.push({ topic, payload })
    done()
  }
  return new Promise(resolve => mq.on(topic, listener, () => resolve(listener)))
}

function emit(mq: BroadcastBus, topic: string, payload: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    mq.emit({ topic, payload, qos: 0, retain: false }, error => (error ? reject(error) : resolve()))
  })
}

test('events of an emitter reach all nodes once, by the topics of MQTT, with any bytes', async t => {
  const nodes = ['a', 'b'].map(nodeId => joinCluster(redis.url, nodeId))
  t.after(() => Promise.all(nodes.map(node => node.stop())))
  const [a, b] = await Promise.all(nodes.map(openBus))
  assert.ok(a && b)
  const [all, exact, deep, removed]: Event[][] = [[], [], [], []]
  assert.ok(all && exact && deep && removed)
  await Promise.all([
    listen(b, '#', all),
    listen(b, 'room[12]/+', exact),
    listen(b, '$SYS/+/heartbeat', deep),
    listen(a, '*', removed),
  ])
  const gone = await listen(b, 'constructor', removed)
  await new Promise<void>(resolve => b.removeListener('constructor', gone, resolve))
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
  const topics = ['room[12]/x', '$SYS/id/heartbeat', 'constructor', '__proto__', 'a/b/c', 'größe', 'x'.repeat(600)]
  for (const topic of topics) await emit(a, topic, bytes)
  await until('all events', () => all.length === topics.length)
  assert.deepEqual(
    all.map(({ topic }) => topic),
    topics,
  )
  for (const { payload } of all) assert.ok(Buffer.isBuffer(payload) && payload.equals(bytes))
  assert.deepEqual([exact.length, deep.length, removed.length], [1, 1, 0])
  await emit(b, 'back', 'text')
  await until('its own event', () => all.at(-1)?.topic === 'back')
  await Promise.all([a, b].map(mq => new Promise<void>(resolve => mq.close(resolve))))
})

test('what cannot be read on a channel ends nobody, and is told', async t => {
  const [a, b] = await Promise.all([startNode(redis.url, 'a'), startNode(redis.url, 'b')])
  t.after(() => Promise.all([a.stop(), b.stop()]))
  const mq = await openBus(a)
  const events: Event[] = []
  await listen(mq, '#', events)
  const junk = [
    '',
    'x',
    'null',
    '{"kind":',
    Buffer.from([0xc1]),
    Buffer.from([0x81]),
    Buffer.from([0x93, 1, 2]),
    Buffer.alloc(9, 0xff),
  ]
  // {"msg": {"topic": 5}} and {"msg": null} in msgpack: well-formed and of no use.
  junk.push(Buffer.from('81a36d736781a5746f70696305', 'hex'), Buffer.from('81a36d7367c0', 'hex'))
  for (const channel of ['test:bus:all', 'test:bus:node:a', CHANNEL]) {
    for (const message of junk) await publish(channel, message)
  }
  const peer = await openBus(b)
  await listen(peer, 'x', [])
  await emit(peer, 'works', 'still')
  await until('the event', () => events.some(({ topic }) => topic === 'works'))
  assert.ok(a.log.some(line => line.includes('cluster.broadcast_ignored')))
  a.cluster.directory.setRoute('default', 'x', 2)
  assert.equal(await a.cluster.directory.settled(), true)
})

test('a node that has gone deaf hears again within a few seconds, without losing its lease', async t => {
  const proxy = await startProxy(redis.port)
  const a = await startNode(`redis://127.0.0.1:${proxy.port}`, 'a')
  const b = await startNode(redis.url, 'b')
  t.after(async () => {
    await Promise.all([a.stop(), b.stop()])
    await proxy.stop()
  })
  const mq = await openBus(a)
  const events: Event[] = []
  await listen(mq, '#', events)
  const peer = await openBus(b)
  await listen(peer, '#', [])
  proxy.deafenSubscribers()
  await until('it is noticed', () => a.log.some(line => line.includes('redis.deaf')), { timeoutMs: 3_000 })
  await until('an event is heard', () => {
    void emit(peer, 'again', '')
    return events.length > 0
  })
  assert.ok(!a.events.includes('lease lost'))
})
