import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import type { RawClient } from '../engine/testing/raw-client.ts'
import { Gate, overriding, poll, startBroker, type TestBroker } from '../engine/testing/test-broker.ts'
import { doorThat, letIn } from '../engine/testing/test-door.ts'
import type { Instance } from '../tenancy/model/instance.ts'
import type { User } from '../tenancy/model/user.ts'
import type { TenancyObserver } from '../tenancy/tenancy.ts'
import { revocations } from './revocation.ts'

const ANNA: User = {
  username: 'anna',
  isUnrestricted: false,
  isEnabled: true,
  connectionsMax: null,
  createdAtMs: 0,
  epoch: 3,
}
const SITE: Instance = {
  id: 'site',
  number: 2,
  name: 'Site',
  plan: 'cat',
  region: 'local',
  tags: [],
  createdAtMs: 0,
  state: 'active',
  portBase: null,
  hosts: [],
  defaultUser: 'site',
  settings: { logins: [{ kind: 'users' }], protocols: [4, 5], unlistedUsers: 'rules' },
}

/** Opens, in the store, wait here while there is one. */
let gate: Gate | undefined
let midge: TestBroker
let observer: TenancyObserver

before(async () => {
  // The instance is what stands before the colon.
  const door = doorThat(({ username }) => {
    const [instance = '', name] = username?.split(':') ?? []
    return letIn({ instance, username: name })
  })
  midge = await startBroker({
    door,
    wrapStore: store =>
      overriding(store, {
        open: async request => {
          await gate?.passed
          return store.open(request)
        },
      }),
  })
  observer = revocations(midge.broker.core)
})
after(() => midge.stop())

async function login(who: string, clientId: string, version: 4 | 5 = 5): Promise<RawClient> {
  const client = await midge.dial(version)
  assert.equal(await client.open({ clientId, username: who, password: 'x' }), 0)
  return client
}

async function isThere(client: RawClient): Promise<boolean> {
  client.send(Buffer.from([0xc0, 0]))
  await client.expect(13)
  return true
}

for (const [what, change] of [
  ['removed', undefined],
  ['disabled', { ...ANNA, isEnabled: false, epoch: 4 }],
  ['given another password', { ...ANNA, epoch: 4 }],
] as const) {
  test(`a user that is ${what} is gone at once, in its instance, and nobody else is`, async () => {
    const v5 = await login('site:anna', 'a')
    const v4 = await login('site:anna', 'b', 4)
    const others = [await login('site:bert', 'c'), await login('other:anna', 'a')]
    observer.onUser?.('site', ANNA, change)
    assert.equal((await v5.expect(14)).body[0], ReasonCode.notAuthorized)
    await Promise.all([v5.closed(), v4.closed()])
    assert.equal(v4.frames.filter(frame => frame.type === 14).length, 0)
    for (const other of others) assert.ok(await isThere(other))
    for (const other of others) other.stream.destroy()
  })
}

test('other changes of a user, and a new one, close nothing', async () => {
  const client = await login('site:anna', 'a')
  observer.onUser?.('site', undefined, ANNA)
  observer.onUser?.('site', ANNA, { ...ANNA, isUnrestricted: true, note: 'x', connectionsMax: 3 })
  observer.onInstance?.(SITE, { ...SITE, name: 'Other', plan: 'koala' })
  assert.ok(await isThere(client))
  client.stream.destroy()
})

for (const [what, change] of [
  ['suspended', { ...SITE, state: 'suspended' }],
  ['removed', undefined],
] as const) {
  test(`an instance that is ${what} has no clients`, async () => {
    const clients = [await login('site:anna', 'a'), await login('site:bert', 'b')]
    const other = await login('other:anna', 'a')
    observer.onInstance?.(SITE, change)
    for (const client of clients) {
      assert.equal((await client.expect(14)).body[0], ReasonCode.administrativeAction)
      await client.closed()
    }
    assert.ok(await isThere(other))
    other.stream.destroy()
  })
}

test('a client that is just being let in does not slip through', async () => {
  gate = new Gate()
  const client = await midge.dial(5)
  const answer = client.open({ clientId: 'late', username: 'site:anna', password: 'x' })
  const isBound = (): boolean => [...midge.broker.core.connections].some(one => one.clientId === 'late')
  await poll(isBound, 'CONNECT to be handled')
  observer.onUser?.('site', ANNA, undefined)
  gate.open()
  gate = undefined
  await assert.rejects(answer)
  await poll(() => midge.counters.sessionsCurrent === 0, 'no session to be left')
})

test('very many are closed in slices, between which others have their turn', async () => {
  const clients: RawClient[] = []
  for (let n = 0; n < 450; n++) clients.push(await login('site:anna', `many-${n}`, 4))
  const closing = midge.broker.core.closeClients({ instance: 'site', username: 'anna' }, { reasonCode: 0, reason: 'x' })
  await new Promise(resolve => setImmediate(resolve))
  assert.ok(midge.counters.connectionsCurrent > 0)
  assert.equal(await closing, 450)
  await Promise.all(clients.map(client => client.closed()))
})
