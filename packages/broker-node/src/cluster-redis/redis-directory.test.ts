import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { after, afterEach, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { RouteInterest, type Subscription } from '@midge/protocol-core'
import { Redis } from 'ioredis'
import { startRedis, type TestRedis } from '../testing/redis-server.ts'
import { FAST_TIMINGS, startNode, type TestNode, textMessage, until } from './testing/test-node.ts'
import type { ClusterTimings } from './timings.ts'

let redis: TestRedis
let admin: Redis
let nodes: TestNode[] = []
let children: ChildProcess[] = []

before(async () => {
  redis = await startRedis()
  admin = new Redis(redis.url)
})
after(async () => {
  admin.disconnect()
  await redis.stop()
})
afterEach(async () => {
  for (const child of children) {
    child.kill('SIGCONT')
    child.kill('SIGKILL')
  }
  children = []
  await Promise.all(nodes.map(node => node.stop()))
  nodes = []
  await admin.flushall()
})

async function join(nodeId: string, timings: Partial<ClusterTimings> = FAST_TIMINGS): Promise<TestNode> {
  const node = await startNode(redis.url, nodeId, timings)
  nodes.push(node)
  return node
}

/** A node in a process of its own, which can be killed. */
async function joinProcess(nodeId: string): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('./testing/node-process.js', import.meta.url))
  const child = fork(script, [redis.url, nodeId], { silent: true })
  children.push(child)
  child.stderr?.pipe(process.stderr)
  assert.ok(child.stdout)
  const [line] = await once(child.stdout, 'data')
  assert.match(String(line), /^ready/)
  return child
}

function subscriptionOf(topicFilter: string, more: Partial<Subscription> = {}): Subscription {
  return {
    topicFilter,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionId: 0,
    ...more,
  }
}

test('after settled() every node has the route and the stored subscription', async () => {
  const [a, b, c] = await Promise.all([join('a'), join('b'), join('c')])
  const timesMs: number[] = []
  for (let i = 0; i < 50; i++) {
    const startedAtMs = performance.now()
    a.cluster.directory.setRoute('default', `room[${i}]/+`, RouteInterest.all)
    const full = subscriptionOf(`$share/g/${i}/#`, { noLocal: true, retainHandling: 2, subscriptionId: 268_435_455 })
    a.cluster.directory.addStored('default', 'client', full)
    assert.equal(a.stored.has(`default client $share/g/${i}/#`), true)
    assert.equal(await a.cluster.directory.settled(), true)
    timesMs.push(performance.now() - startedAtMs)
    for (const node of [b, c]) {
      assert.equal(node.routes.get(`a default room[${i}]/+`), RouteInterest.all)
      assert.deepEqual(node.stored.get(`default client $share/g/${i}/#`), full)
    }
  }
  assert.equal(a.routes.size, 0, 'own routes are not told')
  timesMs.sort((x, y) => x - y)
  console.log(`barrier with 3 nodes in one process: median ${timesMs[25]?.toFixed(1)} ms`)
})

test('interest changes and withdrawals follow; odd names are plain names', async () => {
  const [a, b] = await Promise.all([join('a'), join('b')])
  const { directory } = a.cluster
  for (const filter of ['__proto__', 'constructor', '*', '', '/', 'größe/#']) {
    directory.setRoute('default', filter, RouteInterest.qos0)
    directory.addStored('default', filter, subscriptionOf(filter))
  }
  assert.equal(await directory.settled(), true)
  assert.equal(b.routes.size, 6)
  assert.equal(b.stored.size, 6)
  assert.equal(b.routes.get('a default __proto__'), RouteInterest.qos0)
  directory.setRoute('default', '__proto__', RouteInterest.all)
  directory.setRoute('default', '*', RouteInterest.none)
  directory.removeStored('default', '*', '*')
  assert.equal(await directory.settled(), true)
  assert.equal(b.routes.get('a default __proto__'), RouteInterest.all)
  assert.equal(b.routes.has('a default *'), false)
  assert.equal(b.stored.has('default * *'), false)
  assert.equal(a.stored.has('default * *'), false)
})

test('alone, the barrier costs the write', async () => {
  const a = await join('a')
  a.cluster.directory.setRoute('default', 'x', RouteInterest.all)
  const startedAtMs = performance.now()
  assert.equal(await a.cluster.directory.settled(), true)
  assert.ok(performance.now() - startedAtMs < 400)
  assert.equal(await admin.hlen('test:{cluster}:table:routes'), 1)
  assert.equal(await a.cluster.directory.settled(), true)
})

test('the barrier waits for a node that does not answer, up to the cap', async () => {
  const a = await join('a', { ...FAST_TIMINGS, leaseMs: 8_000, deadMs: 15_000 })
  const child = await joinProcess('p')
  await until('p is there', () => a.routes.has('p default from/p'))
  a.cluster.directory.setRoute('default', 'one', RouteInterest.all)
  assert.equal(await a.cluster.directory.settled(), true)
  child.kill('SIGSTOP')
  a.cluster.directory.setRoute('default', 'two', RouteInterest.all)
  const startedAtMs = performance.now()
  assert.equal(await a.cluster.directory.settled(), false)
  const waitedMs = performance.now() - startedAtMs
  assert.ok(waitedMs > 450 && waitedMs < 900, `${waitedMs} ms`)
  child.kill('SIGCONT')
  await until('p has caught up', () => a.cluster.link.peers().includes('p'))
  const deadlineMs = Date.now() + 5_000
  while (!(await a.cluster.directory.settled())) assert.ok(Date.now() < deadlineMs)
})

test('who comes late sees everything', async () => {
  const [a, b] = await Promise.all([join('a'), join('b')])
  for (let i = 0; i < 3_000; i++) {
    a.cluster.directory.setRoute('default', `a/${i}`, RouteInterest.all)
    b.cluster.directory.addStored('default', `client-${i}`, subscriptionOf(`b/${i}`, { qos: 2 }))
  }
  assert.deepEqual(await Promise.all([a.cluster.directory.settled(), b.cluster.directory.settled()]), [true, true])
  const c = await join('c')
  assert.equal(c.cluster.directory.inSync(), true)
  assert.equal(c.routes.size, 3_000)
  assert.equal(c.stored.size, 3_000)
  assert.equal(c.stored.get('default client-7 b/7')?.qos, 2)
})

test('a thousand random changes on three nodes end in equal tables', async () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  console.log(`seed ${seed}`)
  let state = seed
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  const three = await Promise.all([join('a'), join('b'), join('c')])
  for (let i = 0; i < 1_000; i++) {
    const node = three[random(3)]
    if (node === undefined) continue
    const { directory } = node.cluster
    const name = `t/${random(25)}`
    const kind = random(4)
    if (kind === 0) directory.setRoute('default', name, random(3) as RouteInterest)
    else if (kind === 1) directory.removeStored('default', 'client', name)
    // The same row from several nodes at once: only the order of the log can make them agree.
    else directory.addStored('default', 'client', subscriptionOf(name, { subscriptionId: 1 + random(1_000) }))
    if (random(10) === 0) await new Promise(resolve => setImmediate(resolve))
    if (i === 500) await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  }
  // A table with changes on their way has no summary, so equal ones are also settled.
  const areEqual = (): boolean => {
    const [first, ...others] = three.map(node => node.cluster.directory.summaries())
    if (first?.routes === undefined || first.stored === undefined) return false
    return others.every(other => other.routes === first.routes && other.stored === first.stored)
  }
  await until('equal tables', areEqual, { detail: () => three.map(node => node.cluster.directory.summaries()) })
  const [a, b, c] = three.map(node => [...node.stored].map(entry => JSON.stringify(entry)).sort())
  assert.deepEqual(a, b)
  assert.deepEqual(b, c)
  const truth = await admin.hgetall('test:{cluster}:table:stored')
  assert.equal(Object.keys(truth).length, a?.length)
  const routesOf = (nodeId: string): string[] =>
    three.flatMap(node => [...node.routes.keys()].filter(key => key.startsWith(`${nodeId} `)))
  const inRedis = Object.keys(await admin.hgetall('test:{cluster}:table:routes'))
  assert.equal(inRedis.length * 2, routesOf('a').length + routesOf('b').length + routesOf('c').length)
})

test('a node that dies is buried by exactly one other, and forgotten by all', async () => {
  const three = await Promise.all([join('a'), join('b'), join('c')])
  const child = await joinProcess('p')
  await until('p is there', () => three.every(node => node.routes.has('p default from/p')))
  child.kill('SIGKILL')
  await until('p is gone everywhere', () => three.every(node => node.events.includes('gone p')))
  await until('its routes are removed', () => three.every(node => node.cluster.directory.sizes().routes === 0))
  const dead = three.flatMap(node => node.events.filter(event => event.startsWith('dead')))
  assert.deepEqual(dead, ['dead p'])
  assert.equal(
    three.some(node => node.routes.size > 0),
    false,
  )
  assert.equal(await admin.exists('test:inbox:{p}'), 0)
  for (const node of three) node.cluster.directory.setRoute('default', 'after', RouteInterest.all)
  assert.deepEqual(await Promise.all(three.map(node => node.cluster.directory.settled())), [true, true, true])
})

test('a node that stood still is buried, and comes back with its routes', async () => {
  const a = await join('a')
  const child = await joinProcess('p')
  await until('p is there', () => a.routes.has('p default from/p'))
  child.kill('SIGSTOP')
  await until('p is buried', () => a.events.includes('dead p') && a.routes.size === 0)
  child.kill('SIGCONT')
  await until('p is back', () => a.routes.has('p default from/p') && a.cluster.link.peers().includes('p'))
  // Its second life counts its frames anew, and so does ours towards it.
  a.cluster.link.send('p', 'default', textMessage('from/a', 'hello'), [])
  await until('the echo', () => a.received.some(message => message.payload === 'hello'))
  a.cluster.directory.setRoute('default', 'x', RouteInterest.all)
  assert.equal(await a.cluster.directory.settled(), true)
})

test('a pause of Redis costs the lease, and nobody is buried for it', async () => {
  const three = await Promise.all([join('a'), join('b'), join('c')])
  redis.pause()
  await until('all leases are lost', () => three.every(node => node.events.includes('lease lost')))
  assert.equal(
    three.some(node => node.cluster.link.hasLease()),
    false,
  )
  assert.equal(
    three.some(node => node.cluster.directory.inSync()),
    false,
  )
  // Longer than a death takes.
  const pausedAtMs = Date.now()
  await until('long enough', () => Date.now() - pausedAtMs > 2 * FAST_TIMINGS.deadMs)
  redis.resume()
  await until('all are back', () =>
    three.every(node => node.cluster.link.hasLease() && node.cluster.directory.inSync()),
  )
  const backAtMs = Date.now()
  await until('time to bury somebody', () => Date.now() - backAtMs > 2 * FAST_TIMINGS.leaseMs)
  for (const node of three) {
    assert.deepEqual(
      node.events.filter(event => /dead|gone/.test(event)),
      [],
    )
    assert.equal(node.events.filter(event => event === 'lease lost').length, 1)
  }
})

test('after a reset of Redis the nodes register again and write their routes again', async () => {
  const [a, b] = await Promise.all([join('a'), join('b')])
  a.cluster.directory.setRoute('default', 'kept', RouteInterest.all)
  a.cluster.directory.addStored('default', 'client', subscriptionOf('lost'))
  assert.equal(await a.cluster.directory.settled(), true)
  await admin.flushall()
  await until('the route is in Redis again', () => b.cluster.directory.sizes().stored === 0)
  await until('b has it', () => b.routes.has('a default kept') && a.cluster.link.peers().includes('b'))
  await until('Redis has it', () => a.cluster.link.hasLease() && b.cluster.link.hasLease())
  assert.equal(a.stored.size, 0)
  a.cluster.directory.setRoute('default', 'next', RouteInterest.all)
  await until('settled', () => b.routes.has('a default next'))
  a.cluster.link.send('b', 'default', textMessage('t', 'after the reset'), [])
  await until('messages flow', () => b.received.length === 1)
})

test('a peer that differs is noticed by its digest', async () => {
  const [a, b] = await Promise.all([join('a'), join('b')])
  a.cluster.directory.addStored('default', 'client', subscriptionOf('one'))
  assert.equal(await a.cluster.directory.settled(), true)
  // Behind everybody's back: no version, no log. A node that loads now differs from the others.
  await admin.hset('test:{cluster}:table:stored', 'default\0client\0smuggled', '1,0,0,0,0')
  const c = await join('c')
  assert.equal(c.stored.size, 2)
  await until('a and b have it too', () => a.stored.size === 2 && b.stored.size === 2)
})

test('routes of a former process of the same node id are withdrawn', async () => {
  const child = await joinProcess('p')
  const a = await join('a', { ...FAST_TIMINGS, deadMs: 60_000 })
  await until('its route', () => a.routes.has('p default from/p'))
  child.kill('SIGKILL')
  await once(child, 'exit')
  const p = await join('p')
  p.cluster.directory.setRoute('default', 'new', RouteInterest.all)
  assert.equal(await p.cluster.directory.settled(), true)
  await until('only the new one', () => [...a.routes.keys()].join() === 'p default new')
})
