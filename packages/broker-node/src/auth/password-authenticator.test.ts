import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import type { Credentials } from '../ports.ts'
import { PasswordAuthenticator, type PasswordAuthenticatorOptions } from './password-authenticator.ts'
import { MemoryUserDirectory } from './user-directory.ts'

const users = new MemoryUserDirectory()
before(async () => {
  await users.createUser('default', 'anna', 'secret')
  await users.createUser('other', 'bert', 'secret')
})

function create(overrides: Partial<PasswordAuthenticatorOptions> = {}): PasswordAuthenticator {
  return new PasswordAuthenticator({ users, anonymousAllowed: false, ...overrides })
}

function claim(
  username: string | undefined,
  password: string | undefined,
  rest: Partial<Credentials> = {},
): Credentials {
  return {
    instance: 'default',
    clientId: 'c',
    username,
    password: password === undefined ? undefined : Buffer.from(password),
    certCommonName: undefined,
    remoteAddress: '127.0.0.1',
    ...rest,
  }
}

const BAD = { ok: false, reasonCode: ReasonCode.badUserNameOrPassword }
const DENIED = { ok: false, reasonCode: ReasonCode.notAuthorized }
const BUSY = { ok: false, reasonCode: ReasonCode.serverBusy }

test('the right password, wrong ones, and users of other instances', async () => {
  const authenticator = create()
  assert.deepEqual(await authenticator.authenticate(claim('anna', 'secret')), { ok: true, username: 'anna' })
  for (const [username, password] of [
    ['anna', 'Secret'],
    ['anna', ''],
    ['anna', undefined],
    ['bert', 'secret'],
    ['__proto__', 'secret'],
    ['', 'secret'],
    ['', undefined],
    [undefined, 'secret'],
  ] as const) {
    assert.deepEqual(await authenticator.authenticate(claim(username, password)), BAD, `${username}:${password}`)
  }
  assert.deepEqual(await authenticator.authenticate(claim('bert', 'secret', { instance: 'other' })), {
    ok: true,
    username: 'bert',
  })
})

test('anonymous clients only when allowed; wrong credentials are refused all the same', async () => {
  assert.deepEqual(create().authenticate(claim(undefined, undefined)), DENIED)
  const open = create({ anonymousAllowed: true })
  assert.deepEqual(open.authenticate(claim(undefined, undefined)), { ok: true, username: undefined })
  assert.deepEqual(await open.authenticate(claim('anna', 'wrong')), BAD)
  assert.deepEqual(await open.authenticate(claim('nobody', 'x')), BAD)
})

test('the Common Name is the username only when the setting says so', async () => {
  const withCert = claim('anna', 'wrong', { certCommonName: 'device-7' })
  assert.deepEqual(create({ certCnAsUsername: true }).authenticate(withCert), { ok: true, username: 'device-7' })
  assert.deepEqual(await create().authenticate(withCert), BAD)
})

test('a verified password is answered at once for as long as it may be remembered', async () => {
  let nowMs = 0
  const authenticator = create({ now: () => nowMs, cacheLifetimeMs: 1000 })
  const first = authenticator.authenticate(claim('anna', 'secret'))
  assert.ok(first instanceof Promise)
  await first
  assert.deepEqual(authenticator.authenticate(claim('anna', 'secret')), { ok: true, username: 'anna' })
  assert.ok(authenticator.authenticate(claim('anna', 'secres')) instanceof Promise)
  nowMs = 1000
  assert.ok(authenticator.authenticate(claim('anna', 'secret')) instanceof Promise)
})

test('a wrong password is not remembered as anything', async () => {
  const authenticator = create()
  await authenticator.authenticate(claim('anna', 'wrong'))
  assert.ok(authenticator.authenticate(claim('anna', 'wrong')) instanceof Promise)
})

test('a changed password and a removed user take effect at once', async () => {
  const changing = new MemoryUserDirectory()
  await changing.createUser('default', 'carl', 'old')
  const authenticator = create({ users: changing })
  await authenticator.authenticate(claim('carl', 'old'))
  await changing.createUser('default', 'carl', 'new')
  assert.deepEqual(await authenticator.authenticate(claim('carl', 'old')), BAD)
  assert.deepEqual(await authenticator.authenticate(claim('carl', 'new')), { ok: true, username: 'carl' })
  changing.removeUser('default', 'carl')
  assert.deepEqual(await authenticator.authenticate(claim('carl', 'new')), BAD)
})

test('the cache forgets the least recently used beyond its bound', async () => {
  const many = new MemoryUserDirectory()
  for (const name of ['u0', 'u1', 'u2']) await many.createUser('default', name, 'p')
  const authenticator = create({ users: many, cacheEntriesMax: 2 })
  const isCached = (name: string): boolean => !(authenticator.authenticate(claim(name, 'p')) instanceof Promise)
  await authenticator.authenticate(claim('u0', 'p'))
  await authenticator.authenticate(claim('u1', 'p'))
  assert.ok(isCached('u0'))
  await authenticator.authenticate(claim('u2', 'p'))
  assert.ok(isCached('u0'))
  assert.ok(!isCached('u1'))
})

test('equal credentials that arrive together share one hash; too many different ones are told "busy"', async () => {
  const authenticator = create({ hashJobsMax: 1, hashWaitersMax: 1 })
  const storm = Array.from({ length: 100 }, () => authenticator.authenticate(claim('anna', 'secret')))
  const waiting = authenticator.authenticate(claim('anna', 'wrong 1'))
  assert.deepEqual(authenticator.authenticate(claim('anna', 'wrong 2')), BUSY)
  for (const result of await Promise.all(storm)) assert.deepEqual(result, { ok: true, username: 'anna' })
  assert.deepEqual(await waiting, BAD)
  assert.deepEqual(await authenticator.authenticate(claim('anna', 'wrong 2')), BAD)
})

test('the password may be overwritten by its owner while it waits', async () => {
  const authenticator = create({ hashJobsMax: 1 })
  void authenticator.authenticate(claim('anna', 'x'))
  const reused = claim('anna', 'secret')
  const result = authenticator.authenticate(reused)
  reused.password?.fill(0)
  assert.deepEqual(await result, { ok: true, username: 'anna' })
})

test('an unknown user costs a hash like a known one', async () => {
  const authenticator = create()
  await authenticator.authenticate(claim('warm', 'up'))
  const measure = async (username: string): Promise<number> => {
    const times: number[] = []
    for (let round = 0; round < 5; round++) {
      const startMs = performance.now()
      await authenticator.authenticate(claim(username, `wrong ${round}`))
      times.push(performance.now() - startMs)
    }
    return Math.min(...times)
  }
  const known = await measure('anna')
  const unknown = await measure('nobody')
  // Without the decoy the unknown one would take microseconds.
  assert.ok(unknown > known / 4, `known ${known} ms, unknown ${unknown} ms`)
})

test('an imported hash that cannot be read matches nothing', async () => {
  const imported = new MemoryUserDirectory()
  imported.putUser('default', { username: 'dora', passwordHash: '$6$nonsense', scram: undefined })
  assert.deepEqual(await create({ users: imported }).authenticate(claim('dora', '')), BAD)
})
