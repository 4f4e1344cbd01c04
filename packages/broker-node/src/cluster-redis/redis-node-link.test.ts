import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { FrameWriter, PublishRun } from '@midge/protocol-core'
import { Redis } from 'ioredis'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { FAST_TIMINGS, startNode, type TestNode, textMessage, until } from './testing/test-node.ts'

let redis: TestRedis
let admin: Redis
let nodes: TestNode[] = []

before(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url)
})
after(async () => {
  admin.disconnect()
  await redis.stop()
})
afterEach(async () => {
  await Promise.all(nodes.map(node => node.stop()))
  nodes = []
  await admin.flushall()
})

async function join(nodeId: string): Promise<TestNode> {
  const node = await startNode(redis.url, nodeId)
  nodes.push(node)
  return node
}

async function joinBoth(): Promise<[TestNode, TestNode]> {
  const [a, b] = await Promise.all([join('a'), join('b')])
  await until(
    'a and b know each other',
    () => a.cluster.link.peers().includes('b') && b.cluster.link.peers().includes('a'),
  )
  return [a, b]
}

/** Ids of the connections of that role, when there are `count` of them. */
async function connectionsOf(role: string, count: number): Promise<string[]> {
  for (;;) {
    const clients = String(await admin.client('LIST'))
    const pattern = new RegExp(`^id=(\\d+) .*name=midge-${role} `, 'gm')
    const ids = [...clients.matchAll(pattern)].map(match => match[1] ?? '')
    if (ids.length === count) return ids
  }
}

/** A run of `count` QoS 0 frames of v3.1.1 with the topic `r/t` and the numbers from `first` on as payloads. */
function runOf(first: number, count: number): PublishRun {
  const topicBytes = Buffer.from('r/t')
  const frames: Buffer[] = []
  for (let i = first; i < first + count; i++) {
    const payload = Buffer.from(String(i))
    frames.push(Buffer.from([0x30, 2 + topicBytes.length + payload.length, 0, topicBytes.length]), topicBytes, payload)
  }
  const bytes = Buffer.concat(frames)
  const fields = { topicName: 'r/t', topicBytes, publisherId: 'p', isV5: false, start: 0, end: bytes.length, count }
  return new PublishRun({ ...fields, bytes })
}

test('runs and single messages arrive in the order in which they were sent', async () => {
  const [a, b] = await joinBoth()
  const expected: string[] = []
  for (let i = 0; i < 300; i++) {
    a.cluster.link.sendRun('b', 'default', runOf(expected.length, 1 + (i % 200)))
    for (let n = 0; n <= i % 200; n++) expected.push(String(expected.length))
    a.cluster.link.send('b', 'default', textMessage('r/t', String(expected.length)), [])
    expected.push(String(expected.length))
  }
  await a.cluster.link.flushed()
  await until('all messages', () => b.received.length >= expected.length)
  assert.deepEqual(
    b.received.map(message => message.payload),
    expected,
  )
})

test('messages arrive once and in order, many to a frame', async () => {
  const [a, b] = await joinBoth()
  for (let i = 0; i < 5_000; i++) a.cluster.link.send('b', 'default', textMessage(`t/${i % 7}`, String(i)), [])
  await a.cluster.link.flushed()
  await until('5000 messages', () => b.received.length >= 5_000)
  assert.deepEqual(
    b.received.map(message => message.payload),
    Array.from({ length: 5_000 }, (_, i) => String(i)),
  )
  assert.equal(a.cluster.link.framesSent, 25)
  assert.deepEqual(
    b.events.filter(event => event.startsWith('gap')),
    [],
  )
})

test('messages of one tick share a frame; groups, pokes and commands arrive', async () => {
  const [a, b] = await joinBoth()
  a.cluster.link.send('b', 'one', textMessage('x', '1'), ['$share/g/x'])
  a.cluster.link.send('b', 'two', textMessage('x', '2'), [])
  a.cluster.link.pokeGroup('b', 'one', '$share/g/x')
  void a.cluster.link.takeover('b', 'one', 'client', 7)
  a.cluster.link.kick('b', 'one', 'client', 0x98)
  a.cluster.link.drain('b')
  await until('all', () => b.events.includes('drain'))
  assert.deepEqual(b.events.slice(-4), ['grew one $share/g/x', 'takeover one client 7', 'kick one client 152', 'drain'])
  assert.equal(a.cluster.link.framesSent, 1)
  assert.deepEqual(b.received, [
    { instance: 'one', topicName: 'x', payload: '1', groups: ['$share/g/x'] },
    { instance: 'two', topicName: 'x', payload: '2', groups: [] },
  ])
})

test('a takeover tells how the older connection ended, at once for a node that is not there, in time for a silent one', async () => {
  const [a, b] = await joinBoth()
  const ask = (nodeId: string): Promise<string> => a.cluster.link.takeover(nodeId, 'default', 'c', 1)
  for (const answer of ['goodbye', 'released', 'unknown'] as const) {
    b.onTakeover = () => answer
    assert.equal(await ask('b'), answer)
  }
  b.onTakeover = () => Promise.resolve('goodbye')
  assert.equal(await ask('b'), 'goodbye')

  const startMs = performance.now()
  assert.equal(await ask('nobody'), 'unknown')
  assert.ok(
    performance.now() - startMs < FAST_TIMINGS.takeoverAnswerMs / 2,
    'a node that is not registered is not waited for',
  )

  b.onTakeover = () => Promise.reject(new Error('a bug'))
  assert.equal(await ask('b'), 'unknown')
  assert.ok(b.log.some(line => line.includes('cluster.takeover_failed')))
  b.onTakeover = () => new Promise(() => undefined)
  const askedMs = performance.now()
  assert.equal(await ask('b'), 'unknown')
  assert.ok(performance.now() - askedMs >= FAST_TIMINGS.takeoverAnswerMs - 5)

  const left = ask('b')
  await b.stop()
  assert.equal(await left, 'unknown')
})

test('a question is answered by the node that is asked, and silence is no answer', async () => {
  const [a, b] = await joinBoth()
  const ask = (nodeId: string, question: string) => a.cluster.link.ask(nodeId, question)
  assert.equal(await ask('b', 'tea?'), 'yes to tea?')
  assert.equal(await ask('a', 'me?'), 'yes to me?')
  const long = 'x'.repeat(200_000)
  assert.equal((await ask('b', long))?.length, 'yes to '.length + long.length)
  const many = await Promise.all(Array.from({ length: 100 }, (_, index) => ask('b', String(index))))
  assert.deepEqual(
    many,
    many.map((_, index) => `yes to ${index}`),
  )
  const startMs = performance.now()
  assert.equal(await ask('nobody', 'tea?'), undefined)
  assert.equal(await ask('b', 'x'.repeat(300_000)), undefined)
  assert.ok(performance.now() - startMs < 500, 'nobody waits for a node that is not there')
  assert.equal(await ask('a', 'fail'), undefined)
  const left = ask('b', 'fail')
  await b.stop()
  assert.equal(await left, undefined)
})

test('commands arrive although Redis was away when they were given, and although the bus is silent', async () => {
  await admin.call('ACL', 'SETUSER', 'mute', 'on', '>pw', '~*', 'resetchannels', '+@all')
  const settings = { url: redis.url, username: 'mute', password: 'pw' }
  const [a, b] = await Promise.all(['a', 'b'].map(nodeId => startNode(settings, nodeId)))
  assert.ok(a && b)
  nodes.push(a, b)
  await until('they meet', () => [a, b].every(node => node.cluster.link.peers().length === 1))
  for (const node of [a, b]) assert.ok(node.log.some(line => line.includes('redis.channel_refused')))
  for (let epoch = 1; epoch <= 10; epoch++) {
    assert.equal(await a.cluster.link.takeover('b', 'default', 'c', epoch), 'released')
  }
  for (const id of await connectionsOf('cluster', 2)) await admin.client('KILL', 'ID', id)
  a.cluster.link.kick('b', 'default', 'c', 0x98)
  await until('the kick', () => b.events.includes('kick default c 152'))
})

test('a command of a later release is skipped and counted; what follows it arrives', async () => {
  const b = await join('b')
  const writer = new FrameWriter('x', 1)
  // What a later release might say: only this one's types forbid it.
  writer.appendCommand({ kind: 'dance' } as never)
  writer.append('default', textMessage('t', 'after'), [])
  await admin.xadd('test:inbox:{b}', 'NOMKSTREAM', '*', 'f', Buffer.from(writer.take()))
  await until('the message', () => b.received.length === 1)
  assert.deepEqual(
    b.events.filter(event => event.startsWith('unreadable')),
    ['unreadable unknown command'],
  )
})

test('the inbox goes on where it was after its connection was cut, with every message once', async () => {
  const [a, b] = await joinBoth()
  let sent = 0
  for (let round = 0; round < 5; round++) {
    const inboxes = await connectionsOf('inbox', 2)
    for (let i = 0; i < 300; i++) a.cluster.link.send('b', 'default', textMessage('t', String(sent++)), [])
    for (const id of inboxes) await admin.client('KILL', 'ID', id)
    for (let i = 0; i < 300; i++) a.cluster.link.send('b', 'default', textMessage('t', String(sent++)), [])
    await until('everything of this round', () => b.received.length >= sent)
  }
  assert.deepEqual(
    b.received.map(message => Number(message.payload)),
    Array.from({ length: sent }, (_, i) => i),
  )
})

test('a cut command connection costs nothing either: frames are repeated and recognised', async () => {
  const [a, b] = await joinBoth()
  let sent = 0
  for (let round = 0; round < 10; round++) {
    const ids = await connectionsOf('cluster', 2)
    for (let i = 0; i < 2_000; i++) a.cluster.link.send('b', 'default', textMessage('t', String(sent++)), [])
    await Promise.all(ids.map(id => admin.client('KILL', 'ID', id)))
    for (let i = 0; i < 100; i++) a.cluster.link.send('b', 'default', textMessage('t', String(sent++)), [])
    await until('everything of this round', () => b.received.length >= sent, {
      detail: () => [b.received.length, sent],
    })
  }
  assert.deepEqual(
    b.received.map(message => Number(message.payload)),
    Array.from({ length: sent }, (_, i) => i),
  )
})

test('a lost frame is told, a repeated one is not delivered again, an unreadable one is skipped', async () => {
  const b = await join('b')
  const writer = new FrameWriter('x', 1)
  const frames = ['1', '2', '3', '4'].map(payload => {
    writer.append('default', textMessage('t', payload), [])
    return Buffer.from(writer.take())
  })
  const [first, , third, fourth] = frames
  assert.ok(first && third && fourth)
  const strange = Buffer.from(first)
  strange[0] = 0xaf
  const damaged = fourth.subarray(0, fourth.length - 1)
  for (const frame of [first, first, strange, third, first, damaged]) {
    await admin.xadd('test:inbox:{b}', 'NOMKSTREAM', '*', 'f', frame)
  }
  await until('both unreadable ones', () => b.events.filter(event => event.startsWith('unreadable')).length === 2)
  assert.deepEqual(
    b.received.map(message => message.payload),
    ['1', '3'],
  )
  assert.deepEqual(
    b.events.filter(event => event.startsWith('gap')),
    ['gap x 1'],
  )
})

test('flushed() rejects while Redis does not answer; QoS 0 is dropped and counted at the bound; then all is well', async () => {
  const [a, b] = await joinBoth()
  redis.pause()
  a.cluster.link.send('b', 'default', textMessage('t', 'first', 1), [])
  await assert.rejects(a.cluster.link.flushed(), { code: 'MIDGE_STORE_UNAVAILABLE' })
  const megabyte = textMessage('t', 'x'.repeat(1024 * 1024), 0)
  for (let i = 0; i < 40; i++) a.cluster.link.send('b', 'default', megabyte, [])
  const dropped = a.events.filter(event => event === 'dropped b 1').length
  assert.ok(dropped >= 8 && dropped < 12, `${dropped} dropped`)
  redis.resume()
  await until('the rest', () => b.received.length === 41 - dropped, {
    timeoutMs: 20_000,
    detail: () => [b.received.length, dropped, a.events],
  })
  assert.equal(b.received[0]?.payload, 'first')
  await a.cluster.link.flushed()
})

test('a node id in use is refused; one whose lease ran out is not', async () => {
  const first = await join('same')
  await assert.rejects(startNode(redis.url, 'same'), { code: 'MIDGE_NODE_ID_IN_USE' })
  assert.equal(first.cluster.link.hasLease(), true)
  await first.stop()
  nodes = []
  // As after a crash: the registration is there, nobody beats.
  await admin.zadd('test:{cluster}:nodes', Date.now(), 'same')
  await admin.hset('test:{cluster}:node-owners', 'same', 'another-process')
  await join('same')
})

test('peers come and go with their nodes', async () => {
  const [a, b] = await joinBoth()
  const c = await join('c')
  await until('c is seen', () => a.events.includes('nodes b,c') && b.events.includes('nodes a,c'))
  assert.deepEqual(c.cluster.link.peers().sort(), ['a', 'b'])
  await c.stop()
  nodes = [a, b]
  await until('c has left', () => a.events.at(-1) === 'nodes b' || a.events.includes('gone c'))
  assert.deepEqual(
    a.events.filter(event => event.startsWith('dead')),
    [],
  )
})

test('100,000 messages from node to node', async () => {
  const [a, b] = await joinBoth()
  let count = 0
  b.onMessage = () => {
    count++
  }
  const message = textMessage('bench/topic/name', 'x'.repeat(64))
  const startedAt = performance.now()
  for (let i = 0; i < 100_000; i += 500) {
    for (let k = 0; k < 500; k++) a.cluster.link.send('b', 'default', message, [])
    await new Promise(resolve => setImmediate(resolve))
  }
  await until('all', () => count === 100_000, { timeoutMs: 30_000, detail: () => count })
  const seconds = (performance.now() - startedAt) / 1_000
  console.log(`${Math.round(100_000 / seconds)} msg/s, both nodes in one process`)
})
