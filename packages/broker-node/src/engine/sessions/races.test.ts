import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { BrokerError, type CommitItem, type CommitResult, type OpenedSession, type Store } from '@midge/protocol-core'
import {
  ackPacket,
  DISCONNECT,
  disconnectPacket,
  publishPacket,
  subscribePacket,
  unsubscribePacket,
} from '../testing/raw-client.ts'
import { Gate, overriding, poll, startBroker, type TestBroker, type TestBrokerOptions } from '../testing/test-broker.ts'

/** Session Expiry Interval of 100 s. */
const KEEP = { properties: [0x11, 0, 0, 0, 100] }
const RESUME = { clean: false, ...KEEP }

async function start(t: TestContext, options: TestBrokerOptions = {}): Promise<TestBroker> {
  const made = await startBroker(options)
  t.after(() => made.stop())
  return made
}

test('a subscription whose client goes away while a hook decides leaves nothing behind', async t => {
  const asked = new Gate()
  const answer = new Gate()
  const node = await start(t, {
    authorizeSubscribe: (_client, subscription, done) => {
      asked.open()
      void answer.passed.then(() => done(null, subscription))
    },
  })
  const client = await node.dial()
  await client.open()
  client.send(subscribePacket(5, 1, [{ filter: 'a/#' }]))
  await asked.passed
  for (const connection of node.broker.core.connections) connection.stream.destroy()
  await poll(() => node.broker.core.connections.size === 0, 'the connection is gone')
  answer.open()
  await new Promise(resolve => setImmediate(resolve))
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(node.broker.core.routers.of('default').match('a/b').live.length, 0)
  assert.equal(node.counters.subscriptionsCurrent, 0)
})

test('a message is not lost while a stored session raises a subscription from QoS 0 to 1', async t => {
  const saving = new Gate()
  const saved = new Gate()
  let saves = 0
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        saveSubscriptions: async (...call: Parameters<Store['saveSubscriptions']>) => {
          if (++saves === 2) {
            saving.open()
            await saved.passed
          }
          await store.saveSubscriptions(...call)
        },
      }),
  })
  const client = await node.dial()
  await client.open({ clientId: 'kept', ...KEEP })
  await client.subscribe([{ filter: 'a' }])
  client.send(subscribePacket(5, 2, [{ filter: 'a', options: 1 }]))
  await saving.passed
  const publisher = await node.dial()
  await publisher.open({ clientId: 'publisher' })
  publisher.send(publishPacket('a', 'in between', { qos: 1 }))
  await publisher.expect(4)
  saved.open()
  await client.until(() => client.frames.some(found => found.type === 9 && found.body[1] === 2))
  publisher.send(publishPacket('a', 'after', { qos: 1 }))
  await client.until(() => client.deliveries().some(delivery => delivery.payload === 'after'))
  assert.deepEqual(
    client.deliveries().map(delivery => delivery.payload),
    ['in between', 'after'],
  )
})

test('a session that ends because its client left during CONNECT is withdrawn from the directory', async t => {
  const opening = new Gate()
  const opened = new Gate()
  let opens = 0
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        open: async request => {
          const result = await store.open(request)
          if (++opens === 2) {
            opening.open()
            await opened.passed
          }
          return result
        },
      }),
  })
  const first = await node.dial()
  await first.open({ clientId: 'kept', ...KEEP })
  await first.subscribe([{ filter: 'a', options: 1 }])
  first.send(DISCONNECT)
  await first.closed()
  await poll(() => node.counters.sessionsCurrent === 0, 'offline')
  const second = await node.dial()
  // Resumes, but wants the session to end with this connection.
  second.open({ clientId: 'kept', clean: false }).catch(() => undefined)
  await opening.passed
  for (const connection of node.broker.core.connections) connection.stream.destroy()
  await poll(() => node.broker.core.connections.size === 0, 'the connection is gone')
  opened.open()
  const router = node.broker.core.routers.of('default')
  await poll(() => router.storedSubscriptions('kept') === undefined, 'withdrawn')
})

test('DISCONNECT followed at once by a new CONNECT fires no will', async t => {
  const committing = new Gate()
  const committed = new Gate()
  let commits = 0
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        commit: async (items: CommitItem[]): Promise<CommitResult[]> => {
          if (++commits === 1) {
            committing.open()
            await committed.passed
          }
          return store.commit(items)
        },
      }),
  })
  const watcher = await node.dial()
  await watcher.open({ clientId: 'watcher' })
  await watcher.subscribe([{ filter: 'will' }])
  const first = await node.dial()
  await first.open({ clientId: 'same', ...KEEP, will: { topic: 'will', payload: 'gone' } })
  first.send(publishPacket('r', 'x', { qos: 1, retain: true }))
  await committing.passed
  first.send(DISCONNECT)
  await first.closed()
  const second = await node.dial()
  const answer = second.open({ clientId: 'same', ...RESUME })
  setTimeout(() => committed.open(), 50)
  assert.equal(await answer, 0)
  watcher.send(publishPacket('will', 'marker'))
  node.broker.core.pokeSweeper()
  await watcher.until(() => watcher.deliveries().some(delivery => delivery.payload === 'marker'))
  await new Promise(resolve => setTimeout(resolve, 50))
  assert.deepEqual(
    watcher.deliveries().map(delivery => delivery.payload),
    ['marker'],
  )
})

test('the end of a connection reaches the store when the store is back', async t => {
  let isDown = false
  let failures = 0
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        close: request => {
          if (!isDown) return store.close(request)
          failures++
          return Promise.reject(new BrokerError('MIDGE_STORE_UNAVAILABLE', 'down', { retryable: true }))
        },
      }),
  })
  const watcher = await node.dial()
  await watcher.open({ clientId: 'watcher' })
  await watcher.subscribe([{ filter: 'will' }])
  const client = await node.dial()
  await client.open({ clientId: 'mortal', will: { topic: 'will', payload: 'gone' } })
  isDown = true
  client.stream.destroy()
  await poll(() => failures > 0, 'the store refused')
  isDown = false
  assert.equal((await watcher.delivery()).payload, 'gone')
})

test('two connections of one client id: the later owner stays, the other is told', async t => {
  const gates = [new Gate(), new Gate()]
  let opens = 0
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        open: async request => {
          const gate = request.clientId === 'same' ? gates[opens++] : undefined
          const result = await store.open(request)
          await gate?.passed
          return result
        },
      }),
  })
  const early = await node.dial()
  const late = await node.dial()
  early.open({ clientId: 'same' }).catch(() => undefined)
  await poll(() => opens === 1, 'first open')
  const answer = late.open({ clientId: 'same' })
  await poll(() => opens === 2, 'second open')
  gates[1]?.open()
  assert.equal(await answer, 0)
  gates[0]?.open()
  await early.closed()
  assert.equal(node.counters.sessionsCurrent, 1)
  late.send(publishPacket('x', 'y', { qos: 1 }))
  await late.expect(4)
})

test('a connection that was overtaken while the store opened its session does not stay', async t => {
  const opening = new Gate()
  const opened = new Gate()
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        open: async (request): Promise<OpenedSession> => {
          const result = await store.open(request)
          if (request.clientId !== 'same') return result
          opening.open()
          await opened.passed
          return result
        },
      }),
  })
  const client = await node.dial()
  const answer = client.open({ clientId: 'same' })
  await opening.passed
  // Another node has opened the session since; its message is faster than the answer of the store.
  const { core } = node.broker
  void core.sessions.release('default', 'same', Number.MAX_SAFE_INTEGER)
  opened.open()
  await answer
  const last = await client.expect(14)
  assert.equal(last.body[0], 0x8e)
  await client.closed()
  assert.equal(core.sessions.sessionOf('default', 'same'), undefined)
  await poll(() => core.sessions.isSettled, 'no opening is kept')
})

test('a message announced while the store opens the session is delivered', async t => {
  let grown: (() => Promise<void>) | undefined
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        open: async request => {
          const result = await store.open(request)
          await grown?.()
          return result
        },
      }),
  })
  const first = await node.dial()
  await first.open({ clientId: 'kept', ...KEEP })
  await first.subscribe([{ filter: 'a', options: 1 }])
  first.send(DISCONNECT)
  await first.closed()
  await poll(() => node.counters.sessionsCurrent === 0, 'offline')
  const publisher = await node.dial()
  await publisher.open({ clientId: 'publisher' })
  grown = async () => {
    grown = undefined
    publisher.send(publishPacket('a', 'early', { qos: 1 }))
    await publisher.expect(4)
  }
  const second = await node.dial()
  await second.open({ clientId: 'kept', ...RESUME })
  assert.equal((await second.delivery()).payload, 'early')
})

test('a share group without members is deleted, whichever way its last member left', async t => {
  const deleted: string[] = []
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        deleteGroup: (instance, group) => {
          deleted.push(group)
          return store.deleteGroup(instance, group)
        },
      }),
  })
  const client = await node.dial()
  await client.open({ clientId: 'member', ...KEEP })
  await client.subscribe([
    { filter: '$share/g/a', options: 1 },
    { filter: '$share/g/b', options: 1 },
  ])
  client.send(unsubscribePacket(5, 3, ['$share/g/a']))
  await client.expect(11)
  await poll(() => deleted.includes('$share/g/a'), 'deleted after UNSUBSCRIBE')
  client.send(DISCONNECT)
  await client.closed()
  await poll(() => node.counters.sessionsCurrent === 0, 'offline')
  const again = await node.dial()
  await again.open({ clientId: 'member', clean: true })
  await poll(() => deleted.includes('$share/g/b'), 'deleted after clean start')
})

test('a member that leaves while its messages are read again keeps them', async t => {
  const reading = new Gate()
  const read = new Gate()
  let isGated = false
  const acked: number[] = []
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        heldOfGroup: async (...call: Parameters<Store['heldOfGroup']>) => {
          const held = await store.heldOfGroup(...call)
          if (isGated) {
            reading.open()
            await read.passed
          }
          return held
        },
        ackGroup: (...call: Parameters<Store['ackGroup']>) => {
          acked.push(...call[3])
          return store.ackGroup(...call)
        },
      }),
  })
  const first = await node.dial()
  await first.open({ clientId: 'member', ...KEEP })
  await first.subscribe([{ filter: '$share/g/a', options: 2 }])
  first.send(publishPacket('a', 'precious', { qos: 2, packetId: 9 }))
  await first.until(() => first.deliveries().length === 1)
  first.stream.destroy()
  await poll(() => node.counters.sessionsCurrent === 0, 'offline')
  isGated = true
  const second = await node.dial()
  await second.open({ clientId: 'member', ...RESUME })
  await reading.passed
  for (const connection of node.broker.core.connections) connection.stream.destroy()
  await poll(() => node.broker.core.connections.size === 0, 'the connection is gone')
  read.open()
  isGated = false
  const third = await node.dial()
  await third.open({ clientId: 'member', ...RESUME })
  await third.until(() => third.deliveries().length === 1)
  assert.deepEqual(acked, [])
})

test('PUBREL for a message that is still being stored is answered after PUBREC', async t => {
  const committing = new Gate()
  const committed = new Gate()
  const node = await start(t, {
    wrapStore: store =>
      overriding(store, {
        commit: async items => {
          committing.open()
          await committed.passed
          return store.commit(items)
        },
      }),
  })
  const client = await node.dial()
  await client.open({ clientId: 'kept', ...KEEP })
  client.send(
    publishPacket('a', 'x', { qos: 2, packetId: 5 }),
    publishPacket('a', 'x', { qos: 2, packetId: 5, dup: true }),
  )
  client.send(ackPacket(0x62, 5))
  await committing.passed
  committed.open()
  assert.equal((await client.next()).type, 5)
  assert.equal((await client.next()).type, 7)
  assert.equal(client.frames.length, 3)
})

test('DISCONNECT with reason 0x04 publishes the will, with 0 it does not', async t => {
  const node = await start(t)
  const watcher = await node.dial()
  await watcher.open({ clientId: 'watcher' })
  await watcher.subscribe([{ filter: 'will/+' }])
  for (const [name, bye] of [
    ['quiet', DISCONNECT],
    ['loud', disconnectPacket(4)],
  ] as const) {
    const client = await node.dial()
    await client.open({ clientId: name, will: { topic: `will/${name}`, payload: 'gone' } })
    client.send(bye)
    await client.closed()
  }
  assert.equal((await watcher.delivery()).topic, 'will/loud')
})

test('a client that another node has closed is told the reason, and no other is touched', async t => {
  const node = await start(t)
  const [kicked, other] = [await node.dial(), await node.dial()]
  await kicked.open({ clientId: 'kicked' })
  await other.open({ clientId: 'other' })
  node.broker.core.kick('default', 'kicked', 0x98)
  node.broker.core.kick('default', 'nobody', 0x98)
  assert.equal((await kicked.expect(14)).body[0], 0x98)
  await kicked.closed()
  other.send(publishPacket('x', 'y', { qos: 1 }))
  await other.expect(4)
})
