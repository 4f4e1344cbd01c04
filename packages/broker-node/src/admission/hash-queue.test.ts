import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Counters } from '../counters.ts'
import { type HashClaim, type HashQueue, Standing } from './hash-queue.ts'
import { queueOf } from './testing/claims.ts'

function claim(network: string, standing: Standing = Standing.fresh): HashClaim {
  return { network, bytes: 50, standing: () => standing, isWanted: () => true }
}

/** Occupies the only place; what is asked for meanwhile has to wait. */
function occupy(queue: HashQueue): { free(): void } {
  let free = (): void => {}
  void queue.run(claim('occupant'), () => new Promise<void>(resolve => (free = resolve)))
  return { free: () => free() }
}

/** Lets all jobs run and tells in which order they did. */
async function orderOf(queue: HashQueue, claims: [name: string, claim: HashClaim][]): Promise<string[]> {
  const order: string[] = []
  const occupant = occupy(queue)
  const jobs = claims.map(([name, asked]) => queue.run(asked, async () => order.push(name)))
  occupant.free()
  await Promise.all(jobs)
  return order
}

test('networks take turns, whatever each has sent, the newest first', async () => {
  const order = await orderOf(queueOf(), [
    ['a1', claim('a')],
    ['a2', claim('a')],
    ['a3', claim('a')],
    ['b1', claim('b')],
    ['b2', claim('b')],
    ['c1', claim('c')],
  ])
  assert.deepEqual(order, ['c1', 'b1', 'a1', 'b2', 'a2', 'a3'])
})

test('the better standing goes first, and the worst has one turn in four', async () => {
  const claims: [string, HashClaim][] = []
  for (let n = 0; n < 4; n++) {
    claims.push([`doubtful ${n}`, claim(`d${n}`, Standing.doubtful)])
    claims.push([`fresh ${n}`, claim(`f${n}`, Standing.fresh)])
    claims.push([`known ${n}`, claim(`k${n}`, Standing.known)])
  }
  assert.deepEqual(await orderOf(queueOf(), claims), [
    'known 3',
    'known 2',
    'known 1',
    'doubtful 3',
    'known 0',
    'fresh 3',
    'fresh 2',
    'doubtful 2',
    'fresh 1',
    'fresh 0',
    'doubtful 1',
    'doubtful 0',
  ])
})

test('what was sent before a network failed waits behind the others all the same', async () => {
  const queue = queueOf()
  const occupant = occupy(queue)
  const order: string[] = []
  let standing: Standing = Standing.fresh
  const flooder = { ...claim('flooder'), standing: () => standing }
  const flood = ['1', '2', '3'].map(name => queue.run(flooder, async () => order.push(name)))
  const others = ['a', 'b'].map(name => queue.run(claim(name), async () => order.push(name)))
  standing = Standing.doubtful
  occupant.free()
  await Promise.all([...flood, ...others])
  assert.deepEqual(order, ['b', 'a', '1', '2', '3'])
})

test('a full room gives the place of the busiest to whoever has less or stands better', async () => {
  const counters = new Counters()
  const queue = queueOf({ waitingMax: 4, counters })
  const occupant = occupy(queue)
  const order: string[] = []
  const ask = (name: string, asked: HashClaim): Promise<number | undefined> =>
    queue.run(asked, async () => order.push(name))
  const flood = ['1', '2', '3', '4'].map(name => ask(name, claim('flooder')))
  assert.equal(await ask('5', claim('flooder')), undefined)
  const other = ask('other', claim('other'))
  assert.equal(await flood[3], undefined)
  const known = ask('known', claim('flooder', Standing.known))
  assert.equal(await flood[2], undefined)
  assert.equal(await ask('doubtful', claim('third', Standing.doubtful)), undefined)
  assert.equal(counters.hashesWaitingCurrent, 4)
  occupant.free()
  await Promise.all([other, known, ...flood])
  assert.deepEqual(order, ['known', 'other', '1', '2'])
  assert.equal(counters.hashesWaitingCurrent, 0)
})

test('large claims hold a bounded number of bytes, small ones are taken all the same', async () => {
  const queue = queueOf()
  const occupant = occupy(queue)
  const mebibytes = (count: number): HashClaim => ({ ...claim('a'), bytes: count * 1024 * 1024 })
  const taken = [queue.run(mebibytes(40), async () => 'first'), queue.run(mebibytes(24), async () => 'second')]
  assert.equal(await queue.run({ ...claim('b'), bytes: 16 * 1024 }, async () => 'too much'), undefined)
  taken.push(queue.run(claim('b'), async () => 'small'))
  occupant.free()
  assert.deepEqual(await Promise.all(taken), ['first', 'second', 'small'])
  const again = occupy(queue)
  const last = queue.run(mebibytes(64), async () => 'room again')
  again.free()
  assert.equal(await last, 'room again')
})

test('a job that nobody wants any more costs nothing', async () => {
  const queue = queueOf()
  const occupant = occupy(queue)
  let isWanted = true
  let ran = 0
  const gone = queue.run({ ...claim('a'), isWanted: () => isWanted }, async () => ran++)
  const next = queue.run(claim('a'), async () => 'next')
  isWanted = false
  occupant.free()
  assert.equal(await next, 'next')
  assert.equal(await gone, undefined)
  assert.equal(ran, 0)
})

test('nobody waits longer than the bound, even when the pool never comes free', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let nowMs = 0
  const counters = new Counters()
  const queue = queueOf({ waitMsMax: 1000, now: () => nowMs, counters })
  occupy(queue)
  const waiting = queue.run(claim('a'), async () => 'too late')
  nowMs = 999
  t.mock.timers.tick(250)
  assert.equal(counters.hashesWaitingCurrent, 1)
  nowMs = 1000
  t.mock.timers.tick(250)
  assert.equal(await waiting, undefined)
  assert.equal(counters.hashesWaitingCurrent, 0)
})

test('a job that fails gives its place on', async () => {
  const queue = queueOf()
  const failing = queue.run(claim('a'), () => Promise.reject(new Error('no memory')))
  const next = queue.run(claim('a'), async () => 'next')
  await assert.rejects(failing, /no memory/)
  assert.equal(await next, 'next')
})
