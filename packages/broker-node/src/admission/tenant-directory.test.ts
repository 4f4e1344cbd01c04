import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Actor } from '../tenancy/tenancy.ts'
import { MemoryRecords } from '../tenancy/testing/memory-records.ts'
import { startPlane } from '../tenancy/testing/test-plane.ts'
import { verifyPassword } from './password-hash.ts'
import { PasswordProofs } from './password-proofs.ts'
import { deriveScramKeys } from './scram-keys.ts'
import { TenantDirectory } from './tenant-directory.ts'

const ACTOR: Actor = { kind: 'key', id: 'k' }

test('a user of the control plane proves its password by hash and by SCRAM, in its own instance only', async () => {
  const proofs = new PasswordProofs()
  const plane = await startPlane(new MemoryRecords(), { prove: (...of) => proofs.prove(...of) })
  for (const id of ['a', 'a-b']) await plane.instances.create({ id, name: id, plan: 'cat' }, ACTOR)
  await plane.users.create('a', 'ann', { secret: { password: 'one' } }, ACTOR)
  await plane.users.create('a-b', 'ann', { secret: { password: 'two' } }, ACTOR)
  await plane.users.create('a', 'card', {}, ACTOR)
  const users = new TenantDirectory(plane.tables, proofs)
  const hash = users.find('a', 'ann')?.passwordHash ?? assert.fail()
  assert.equal(await verifyPassword(hash, Buffer.from('one')), true)
  assert.equal(await verifyPassword(hash, Buffer.from('two')), false)
  const expected = await deriveScramKeys('one', users.scramSaltOf('a', 'ann'))
  const keys = users.find('a', 'ann')?.scram
  assert.deepEqual(keys?.storedKey, expected.storedKey)
  assert.deepEqual(Buffer.from(keys?.salt ?? []), Buffer.from(expected.salt))
  assert.notDeepEqual(users.scramSaltOf('a', 'ann'), users.scramSaltOf('a-b', 'ann'))
  assert.equal(users.find('a', 'card')?.passwordHash, undefined)
  assert.equal(users.find('none', 'ann'), undefined)
  await plane.users.change('a', 'ann', { isEnabled: false }, ACTOR)
  assert.equal(users.find('a', 'ann'), undefined)
  assert.equal(users.isDisabled('a', 'ann'), true)
  assert.equal(users.isDisabled('a-b', 'ann'), false)
})
