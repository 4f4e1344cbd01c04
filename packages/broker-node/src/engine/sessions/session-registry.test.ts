import assert from 'node:assert/strict'
import { test } from 'node:test'
import { overriding, poll } from '../testing/test-broker.ts'
import { type TestServices, testServices } from '../testing/test-services.ts'
import { openStored, testSession } from '../testing/test-session.ts'
import { SessionRegistry } from './session-registry.ts'

async function start(): Promise<{ services: TestServices; registry: SessionRegistry }> {
  const services = await testServices()
  return { services, registry: new SessionRegistry(services) }
}

test('the newest session of a client id is the one, and the older connection is told', async () => {
  const { services, registry } = await start()
  const older = testSession(services, { epoch: 1 })
  const newer = testSession(services, { epoch: 2 })
  const other = testSession(services, { epoch: 1, instance: 'elsewhere' })
  for (const { session } of [older, other, newer]) assert.equal(registry.register(session), true)
  assert.equal(registry.sessionOf('default', 'c'), newer.session)
  assert.deepEqual(older.outlet.closed, [{ reasonCode: 0x8e, options: { isFenced: true } }])
  assert.equal(registry.register(older.session), false)
  registry.unregister(older.session)
  assert.equal(registry.sessionOf('default', 'c'), newer.session)
  assert.deepEqual([services.counters.sessionsCurrent, services.counters.sessionsTakenOver], [2, 1])
  assert.equal(other.outlet.isClosed, false)
})

test('a takeover by another node closes the session it names, never a newer one', async () => {
  const { services, registry } = await start()
  const { session, outlet } = testSession(services, { epoch: 5 })
  registry.register(session)
  assert.equal(await registry.release('default', 'c', 4), 'released')
  assert.equal(outlet.isClosed, false)
  assert.equal(await registry.release('default', 'c', 5), 'released')
  assert.deepEqual(outlet.closed, [{ reasonCode: 0x8e, options: { isFenced: true } }])
  assert.equal(await registry.release('default', 'never here', 5), 'released')
})

test('a takeover reads first what has come, and tells of a DISCONNECT until the store knows', async () => {
  const { services, registry } = await start()
  const { session, outlet } = testSession(services, { epoch: 5 })
  registry.register(session)
  outlet.isBehind = true
  const answer = registry.release('default', 'c', 5)
  await new Promise(resolve => setTimeout(resolve, 20))
  assert.equal(outlet.isClosed, false)
  // The step is done, and the packet behind it was DISCONNECT.
  outlet.isBehind = false
  outlet.isClosed = true
  registry.noteGoodbye(session)
  registry.unregister(session)
  assert.equal(await answer, 'goodbye')
  assert.deepEqual(outlet.closed, [])
  assert.equal(await registry.release('default', 'c', 5), 'goodbye')
  assert.equal(await registry.release('default', 'c', 6), 'released')
  registry.forgetGoodbye(session)
  assert.equal(await registry.release('default', 'c', 5), 'released')
})

test('a takeover that is faster than the answer of the store is not forgotten', async () => {
  const { services, registry } = await start()
  const { session } = testSession(services, { epoch: 5 })
  await registry.whileOpening('default', 'c', async () => {
    await registry.release('default', 'c', 5)
    assert.equal(registry.register(session), false)
    assert.equal(registry.isSettled, false)
  })
  assert.equal(registry.isSettled, true)
  assert.equal(registry.register(session), true)
})

test('growth announced while the store opens the session is handed to the opening', async () => {
  const { registry } = await start()
  await registry.whileOpening('default', 'c', async hints => {
    registry.noteGrowth('default', 'c', 3)
    registry.onQueueGrew('default', 'c', 9)
    registry.onQueueGrew('default', 'other', 99)
    assert.equal(hints.tailSeq, 9)
  })
})

test('the queues of online sessions are looked at again, and one failure hinders none', async () => {
  const memory = await testServices()
  const store = overriding(memory.store, {
    tailSeq: async (_instance, clientId) => {
      if (clientId === 'c') throw new Error('down')
      return 7
    },
  })
  const services = { ...memory, store }
  const registry = new SessionRegistry(services)
  const { session } = await openStored(services)
  const other = await openStored(services, { clientId: 'd' })
  for (const found of [session, other.session, testSession(services, { clientId: 'clean' }).session])
    registry.register(found)
  registry.refreshQueues()
  // Read up to the true tail: those entries have expired, or there never were any.
  await poll(() => other.session.queue?.nextSeq === 8, 'the true tail')
  assert.deepEqual(
    services.logger.lines.map(({ event }) => event),
    ['store.failure'],
  )
})

test('an ending is kept until the store knows of it and of those before it', async () => {
  const { services, registry } = await start()
  const { session } = testSession(services)
  const done: (() => void)[] = []
  const gate = (): Promise<void> => new Promise(resolve => done.push(resolve))
  void registry.trackEnding(session, gate())
  const second = registry.trackEnding(session, gate())
  assert.equal(registry.endingOf('default', 'c'), second)
  let isKnown = false
  void registry.endingOf('default', 'c')?.then(() => (isKnown = true))
  done[1]?.()
  await new Promise(setImmediate)
  assert.equal(isKnown, false)
  done[0]?.()
  await registry.allEnded()
  assert.equal(isKnown, true)
  assert.equal(registry.endingOf('default', 'c'), undefined)
})
