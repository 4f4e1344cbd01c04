import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerError, type CloseRequest, type Store } from '@midge/protocol-core'
import { Routers } from '../routing/routers.ts'
import { overriding } from '../testing/test-broker.ts'
import { subscription, type TestServices, testServices } from '../testing/test-services.ts'
import { openStored, type TestSession } from '../testing/test-session.ts'
import { SessionEnds } from './session-ends.ts'
import { SessionRegistry } from './session-registry.ts'

/** Ends of sessions on a store in memory; what else they ask for is kept in its order. */
class Bench {
  readonly services: TestServices
  readonly routers: Routers
  readonly registry: SessionRegistry
  readonly ends: SessionEnds
  readonly asked: string[] = []
  readonly closes: CloseRequest[] = []

  constructor(services: TestServices, close?: Store['close']) {
    const store = overriding(services.store, {
      close: async request => {
        this.asked.push('close')
        this.closes.push(request)
        return (close ?? (async () => services.store.close(request)))(request)
      },
    })
    this.services = { ...services, store }
    this.routers = new Routers(services)
    this.registry = new SessionRegistry(services)
    this.ends = new SessionEnds({
      services: this.services,
      sessions: this.registry,
      routers: this.routers,
      publisher: { settled: async () => void this.asked.push('settled') },
      groups: {
        flushAcks: () => this.asked.push('acks'),
        leave: async (_instance, filters) => void this.asked.push(`leave ${[...filters].join()}`),
      },
      sweeper: { poke: () => this.asked.push('poke') },
    })
  }

  async open(topicFilter: string): Promise<TestSession> {
    const opened = await openStored(this.services)
    const { session } = opened
    session.subscribe(subscription(topicFilter, { qos: 1 }))
    this.routers.of('default').addLive(session, subscription(topicFilter, { qos: 1 }))
    this.services.counters.subscriptionsCurrent++
    this.registry.register(session)
    return opened
  }
}

async function start(close?: Store['close']): Promise<Bench> {
  return new Bench(await testServices(), close)
}

test('routes are gone at once; the store hears after everything that was published before', async () => {
  const bench = await start()
  const { session } = await bench.open('$share/g/t')
  const ended = bench.ends.end(session, 'error')
  assert.equal(bench.routers.of('default').group('$share/g/t'), undefined)
  assert.equal(bench.registry.sessionOf('default', 'c'), undefined)
  assert.equal(bench.services.counters.subscriptionsCurrent, 0)
  await ended
  assert.deepEqual(bench.asked, ['settled', 'acks', 'close', 'leave $share/g/t'])
  assert.equal(bench.closes[0]?.will, 'fire')
})

test('a goodbye discards the will; another end lets the sweeper look for it', async () => {
  const bench = await start()
  const said = await openStored(bench.services, { clientId: 'said' })
  await bench.ends.end(said.session, 'goodbye')
  assert.equal(bench.closes[0]?.will, 'discard')
  assert.equal(bench.asked.includes('poke'), false)
  const message = { topicName: 'w', topicBytes: new Uint8Array(), payload: new Uint8Array() }
  const will = { willDelaySeconds: 0, messageExpirySeconds: -1 }
  const lost = await openStored(bench.services, {
    clientId: 'lost',
    will: {
      ...will,
      message: { ...message, qos: 0, retain: false, properties: new Uint8Array(), expiresAtMs: 0, publisherId: '' },
    },
  })
  await bench.ends.end(lost.session, 'error')
  assert.equal(bench.asked.includes('poke'), true)
})

test('of a fenced session the store is told nothing', async () => {
  const bench = await start()
  const { session } = await bench.open('t')
  await bench.ends.end(session, 'fenced')
  assert.deepEqual(bench.asked, [])
  assert.equal(bench.routers.of('default').match('t').isEmpty, true)
})

test('a store that does not answer is told again until it knows, with the time of the end', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let isDown = true
  const bench = await start(async () => {
    if (isDown) throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'down')
    return []
  })
  const { session } = await bench.open('t')
  const ended = bench.ends.end(session, 'error')
  for (const waitMs of [100, 200, 400]) {
    await new Promise(setImmediate)
    t.mock.timers.tick(waitMs)
  }
  isDown = false
  await ended
  assert.equal(bench.closes.length, 4)
  assert.equal(new Set(bench.closes.map(({ nowMs }) => nowMs)).size, 1)
  assert.equal(bench.services.logger.lines.filter(({ event }) => event === 'store.failure').length, 1)
})

test('a node that stops waits for no store, and any other failure is reported once', async () => {
  const bench = await start(async () => {
    throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'down')
  })
  bench.ends.stopRetrying()
  const { session } = await bench.open('t')
  await bench.ends.end(session, 'error')
  assert.equal(bench.closes.length, 1)
  assert.equal(bench.services.logger.lines.length, 1)
})

test('a session that nobody came for is closed, and its subscriptions are withdrawn', async () => {
  const bench = await start()
  const { session } = await openStored(bench.services, { sessionExpirySeconds: 0 })
  await bench.services.store.saveSubscriptions('default', 'c', session.epoch, [subscription('a'), subscription('b')])
  await bench.ends.abandon(session, 'fire')
  assert.deepEqual(bench.asked, ['close', 'leave a,b', 'poke'])
})
