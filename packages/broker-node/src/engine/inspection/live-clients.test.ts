import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { FactsSlice } from '../../ports.ts'
import type { ConnectOptions, RawClient, SubscribeFilter } from '../testing/raw-client.ts'
import { poll, startBroker, type TestBroker } from '../testing/test-broker.ts'
import { doorThat, letIn } from '../testing/test-door.ts'
import { LiveClients } from './live-clients.ts'

const HOUR = [0x11, 0, 0, 0x0e, 0x10]

let midge: TestBroker
let live: LiveClients
before(async () => {
  midge = await startBroker({ door: doorThat(({ username = '' }) => letIn({ instance: username, username: 'ann' })) })
  live = new LiveClients(midge.broker.core)
})
after(() => midge.stop())

async function enter(instance: string, options: ConnectOptions, filters: SubscribeFilter[] = []): Promise<RawClient> {
  const client = await midge.dial(5)
  assert.equal(await client.open({ username: instance, ...options }), 0)
  if (filters.length > 0) await client.subscribe(filters)
  return client
}

function walk<T>(slice: (after: string | undefined) => FactsSlice<T>): T[] {
  const all: T[] = []
  let after: string | undefined
  do {
    const { items, next } = slice(after)
    all.push(...items)
    after = next
  } while (after !== undefined)
  return all
}

test('connections of an instance are shown in the order of client ids, while they are open', async () => {
  for (const clientId of ['b', 'ä', 'a', 'c']) await enter('one', { clientId, keepAliveSeconds: 60 }, [{ filter: 'x' }])
  await enter('one-2', { clientId: 'a' })
  const unfinished = await midge.dial(5)
  for (const countMax of [1, 2, 4, 100]) {
    const shown = walk(after => live.connections('one', after, countMax))
    assert.deepEqual(
      shown.map(({ clientId }) => clientId),
      ['a', 'b', 'c', 'ä'],
    )
  }
  const { connectedAtMs, ...facts } = live.connection('one', 'ä') ?? assert.fail()
  assert.ok(connectedAtMs <= Date.now() && connectedAtMs > Date.now() - 60_000)
  assert.deepEqual(facts, {
    ...{ clientId: 'ä', username: 'ann', address: '127.0.0.1', port: 1, transport: 'tcp', protocol: 5 },
    ...{ keepAliveSeconds: 60, sessionExpirySeconds: 0, subscriptionCount: 1 },
  })
  assert.deepEqual([live.count('one'), live.count('one-2'), live.count('none')], [4, 1, 0])
  assert.equal(live.connection('one-2', 'b'), undefined)
  unfinished.stream.destroy()
})

test('a client that has gone is shown no more, though its session is kept', async () => {
  const client = await enter('gone', { clientId: 'c', clean: false, properties: HOUR }, [{ filter: 'x/#', options: 1 }])
  client.stream.destroy()
  await poll(() => live.connection('gone', 'c') === undefined, 'gone')
  assert.equal(live.count('gone'), 0)
  const slice = { after: undefined, countMax: 10 }
  assert.deepEqual(
    live.storedSubscriptions('gone', slice).items.map(({ topicFilter }) => topicFilter),
    ['x/#'],
  )
})

test('each subscription is shown once, as a stored one or as one that ends with its connection', async () => {
  const filters = ['a', 'b/#', '$share/g/c'].map(filter => ({ filter, options: 1 }))
  for (const clientId of ['k1', 'k2']) await enter('subs', { clientId, clean: false, properties: HOUR }, filters)
  for (const clientId of ['c1', 'c2']) await enter('subs', { clientId }, filters)
  await enter('subs-2', { clientId: 'c1' }, filters)
  const named = (rows: { clientId: string; topicFilter: string }[]): string[] =>
    rows.map(({ clientId, topicFilter }) => `${clientId} ${topicFilter}`)
  const expected = (ids: string[]): string[] =>
    ids.flatMap(id => ['$share/g/c', 'a', 'b/#'].map(filter => `${id} ${filter}`))
  for (const countMax of [1, 2, 3, 6, 100]) {
    assert.deepEqual(
      named(walk(after => live.storedSubscriptions('subs', { after, countMax }))),
      expected(['k1', 'k2']),
    )
    assert.deepEqual(named(walk(after => live.cleanSubscriptions('subs', { after, countMax }))), expected(['c1', 'c2']))
    assert.deepEqual(named(walk(after => live.cleanSubscriptions('subs', { after, countMax }, 'c2'))), expected(['c2']))
    assert.deepEqual(named(walk(after => live.cleanSubscriptions('subs', { after, countMax }, 'k1'))), [])
    assert.deepEqual(
      named(walk(after => live.storedSubscriptions('subs', { after, countMax }, 'k2'))),
      expected(['k2']),
    )
  }
})
