import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ControlPlane } from './control-plane.ts'
import { ensureFirstInstance, type FirstSecrets, type SecretsInForce } from './first-instance.ts'
import { MemoryRecords } from './testing/memory-records.ts'
import { startPlane } from './testing/test-plane.ts'

const GENERATED = { username: 'midge', isPasswordConfigured: false, isApiKeyConfigured: false }

function ensure(plane: ControlPlane, secrets: Partial<FirstSecrets>): Promise<SecretsInForce> {
  return ensureFirstInstance(
    plane,
    { ...GENERATED, password: 'p', apiKey: 'k', ...secrets },
    { actor: { kind: 'node', id: 'n' }, verify: async (hash, password) => hash === `hash of ${password}` },
  )
}

const hashOf = (plane: ControlPlane): string | undefined => plane.users.find('default', 'midge')?.proof?.hash

test('of three nodes that start at once on an empty store, the secrets of one hold, for all', async () => {
  const records = new MemoryRecords()
  const planes = await Promise.all([1, 2, 3].map(() => startPlane(records)))
  const results = await Promise.all(planes.map((plane, n) => ensure(plane, { password: `p${n}`, apiKey: `k${n}` })))
  assert.equal(results.filter(({ password }) => password).length, 1)
  assert.equal(results.filter(({ apiKey }) => apiKey).length, 1)
  const winner = results.findIndex(({ password }) => password)
  for (const plane of planes) {
    assert.equal(hashOf(plane), `hash of p${winner}`)
    assert.equal(plane.instances.find('default')?.settings.unlistedUsers, 'everything')
    assert.equal(plane.instances.limits('default').connections, null)
    const keyAt = results.findIndex(({ apiKey }) => apiKey)
    assert.equal(plane.apiKeys.verify(`k${keyAt}`, 0)?.scope, 'operator')
  }
  assert.deepEqual(await ensure(planes[0] ?? assert.fail(), { password: `p${winner}`, apiKey: 'other' }), {
    password: true,
    apiKey: false,
  })
})

test('a configured password and key hold always, and closing the older connections is left to the epoch', async () => {
  const plane = await startPlane(new MemoryRecords())
  await ensure(plane, {})
  const epoch = plane.users.find('default', 'midge')?.epoch ?? assert.fail()
  const configured = { isPasswordConfigured: true, isApiKeyConfigured: true }
  assert.deepEqual(await ensure(plane, { ...configured, password: 'q', apiKey: 'l' }), { password: true, apiKey: true })
  assert.equal(hashOf(plane), 'hash of q')
  assert.equal(plane.users.find('default', 'midge')?.epoch, epoch + 1)
  assert.equal(plane.apiKeys.verify('k', 0), undefined)
  assert.equal(plane.apiKeys.verify('l', 0)?.id, 'bootstrap')
  await ensure(plane, { ...configured, password: 'q', apiKey: 'l' })
  assert.equal(plane.users.find('default', 'midge')?.epoch, epoch + 1)
})

test('another first user is one more, and what was changed by the API stays', async () => {
  const plane = await startPlane(new MemoryRecords())
  await ensure(plane, {})
  await plane.users.change('default', 'midge', { secret: { password: 'new' } }, { kind: 'key', id: 'k' })
  assert.deepEqual(await ensure(plane, {}), { password: false, apiKey: true })
  assert.equal(hashOf(plane), 'hash of new')
  await ensure(plane, { username: 'homeassistant' })
  assert.equal(plane.users.find('default', 'homeassistant')?.isUnrestricted, true)
  assert.equal(plane.users.count('default'), 2)
})
