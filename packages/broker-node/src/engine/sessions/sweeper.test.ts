import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Message, StoredWill } from '@midge/protocol-core'
import { Routers } from '../routing/routers.ts'
import { overriding, poll } from '../testing/test-broker.ts'
import { subscription, type TestServices, testMessage, testServices } from '../testing/test-services.ts'
import { openStored } from '../testing/test-session.ts'
import { Sweeper } from './sweeper.ts'
import { WillPublisher } from './will-publisher.ts'

/** A sweeper on a store in memory, with a clock of its own. */
class Bench {
  nowMs = 1_000_000
  readonly services: TestServices
  readonly routers: Routers
  readonly sweeper: Sweeper
  readonly published: Message[] = []
  readonly checks: { nowMs: number; isLate: boolean }[] = []
  readonly left: string[] = []
  readonly announced: string[] = []
  takes = true

  constructor(services: TestServices) {
    this.services = { ...services, nowMs: () => this.nowMs }
    this.routers = new Routers(services)
    this.sweeper = new Sweeper({
      services: this.services,
      routers: this.routers,
      wills: new WillPublisher({
        services: this.services,
        publisher: {
          publish: async (_instance, message) => {
            this.published.push(message)
            return this.takes
          },
        },
      }),
      groups: {
        leave: async (_instance, filters) => void this.left.push(...filters),
        sweep: () => undefined,
        announce: (_instance, group) => this.announced.push(group),
      },
      connections: { checkTimeouts: (nowMs, isLate) => this.checks.push({ nowMs, isLate }) },
    })
  }
}

const WILL: StoredWill = {
  message: testMessage('will', 'gone'),
  willDelaySeconds: 0,
  messageExpirySeconds: 10,
}

async function closed(bench: Bench, request: { clientId: string; will?: StoredWill; expiry: number }): Promise<void> {
  const { clientId, will, expiry } = request
  const { session } = await openStored(bench.services, { clientId, will, sessionExpirySeconds: expiry })
  await bench.services.store.saveSubscriptions('default', clientId, session.epoch, [subscription(`${clientId}/+`)])
  const base = { instance: 'default', clientId, epoch: session.epoch, sentSeq: 0, ackedAhead: [], nowMs: bench.nowMs }
  await bench.services.store.close({ ...base, sessionExpirySeconds: expiry, will: 'fire' })
}

test('a will that is due is published once, with its expiry counted from then', async () => {
  const bench = new Bench(await testServices())
  await closed(bench, { clientId: 'c', will: WILL, expiry: 60 })
  bench.sweeper.poke()
  await poll(() => bench.services.counters.willsPublished === 1, 'the will')
  assert.equal(bench.published[0]?.expiresAtMs, bench.nowMs + 10_000)
  assert.equal(bench.services.hooks.publishedMessages.length, 1)
  bench.nowMs += 600_000
  bench.sweeper.poke()
  await poll(() => bench.left.length > 0, 'the expiry, in the sweep after')
  assert.equal(bench.published.length, 1)
})

test('a will that the store did not take becomes due again', async () => {
  const bench = new Bench(await testServices())
  bench.takes = false
  await closed(bench, { clientId: 'c', will: WILL, expiry: 600_000 })
  bench.sweeper.poke()
  await poll(() => bench.published.length === 1, 'the first try')
  assert.equal(bench.services.counters.willsPublished, 0)
  bench.takes = true
  bench.nowMs += 120_000
  bench.sweeper.poke()
  await poll(() => bench.services.counters.willsPublished === 1, 'the second')
})

test('a session that expires loses its subscriptions', async () => {
  const bench = new Bench(await testServices())
  await closed(bench, { clientId: 'c', expiry: 5 })
  bench.nowMs += 6000
  bench.sweeper.poke()
  await poll(() => bench.services.counters.sessionsExpired === 1, 'the expiry')
  assert.deepEqual(bench.left, ['c/+'])
})

test('without a lease nothing is claimed, and a sweep that fails hinders no later one', async () => {
  const services = await testServices()
  let sweeps = 0
  const store = overriding(services.store, {
    sweep: async () => {
      sweeps++
      throw new Error('down')
    },
  })
  let hasLease = false
  const link = new Proxy(services.link, {
    get: (target, name, self) => (name === 'hasLease' ? () => hasLease : Reflect.get(target, name, self)),
  })
  const bench = new Bench({ ...services, store, link })
  bench.sweeper.poke()
  await new Promise(setImmediate)
  assert.equal(sweeps, 0)
  hasLease = true
  for (const expected of [1, 2]) {
    bench.sweeper.poke()
    await poll(() => services.logger.lines.length === expected, `report ${expected}`)
  }
  assert.equal(sweeps, 2)
})

test('after a dead node its connections are ended in slices, and share groups are told', async () => {
  const services = await testServices()
  const found = [500, 3, 0]
  const bench = new Bench({
    ...services,
    store: overriding(services.store, { reapNode: async () => found.shift() ?? 0 }),
  })
  bench.routers.of('default').setRoute('n2', '$share/g/t', 2)
  bench.sweeper.reap('n3')
  await poll(() => bench.announced.length > 0, 'announced')
  assert.deepEqual(bench.announced, ['$share/g/t'])
  assert.deepEqual(services.logger.lines.at(-1)?.fields['connections'], 503)
})

test('connections are looked at every second; after a jump of the clock no client is to blame', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const bench = new Bench(await testServices())
  bench.sweeper.start()
  for (const passedMs of [0, 1000, 60_000, 1000]) {
    bench.nowMs += passedMs
    t.mock.timers.tick(1000)
  }
  await bench.sweeper.stop()
  t.mock.timers.tick(1000)
  assert.deepEqual(
    bench.checks.map(({ isLate }) => isLate),
    [true, false, true, false],
  )
})
