import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import type { Claim, LoginStep } from '../ports.ts'
import { PasswordAuthenticator, type PasswordAuthenticatorOptions } from './password-authenticator.ts'
import { REFUSED } from './refusals.ts'
import { claimOf, historyOf, queueOf } from './testing/claims.ts'
import { MemoryUserDirectory } from './testing/memory-user-directory.ts'

const users = new MemoryUserDirectory()
before(async () => {
  await users.createUser('default', 'anna', 'secret')
  await users.createUser('other', 'bert', 'secret')
})

function create(overrides: Partial<PasswordAuthenticatorOptions> = {}): Subject {
  const options = {
    users,
    queue: queueOf(),
    slowQueue: queueOf(),
    history: historyOf(),
    ...overrides,
  }
  const authenticator = new PasswordAuthenticator(options)
  return {
    authenticate: asked => {
      const login = authenticator.begin(asked)
      assert.ok(login)
      return login.step(undefined)
    },
  }
}

interface Subject {
  authenticate(claim: Claim): LoginStep | Promise<LoginStep>
}

function claim(username: string | undefined, password: string | undefined, rest: Partial<Claim> = {}): Claim {
  return claimOf({ username, password: password === undefined ? undefined : Buffer.from(password), ...rest })
}

function ok(username: string | undefined): LoginStep {
  return { kind: 'success', username, data: undefined }
}

test('the right password, wrong ones, and users of other instances', async () => {
  const authenticator = create()
  assert.deepEqual(await authenticator.authenticate(claim('anna', 'secret')), ok('anna'))
  for (const [username, password, refusal] of [
    ['anna', 'Secret', REFUSED.wrongPassword],
    ['anna', '', REFUSED.wrongPassword],
    ['bert', 'secret', REFUSED.unknownUser],
    ['__proto__', 'secret', REFUSED.unknownUser],
    ['', 'secret', REFUSED.unknownUser],
  ] as const) {
    assert.equal(await authenticator.authenticate(claim(username, password)), refusal, `${username}:${password}`)
    assert.equal(refusal.reasonCode, ReasonCode.badUserNameOrPassword)
  }
  assert.deepEqual(await authenticator.authenticate(claim('bert', 'secret', { instance: 'other' })), ok('bert'))
})

test('a claim without username, or without password, is none of its business', () => {
  const authenticator = new PasswordAuthenticator({
    users,
    queue: queueOf(),
    slowQueue: queueOf(),
    history: historyOf(),
  })
  for (const [username, password] of [
    ['anna', undefined],
    ['', undefined],
    [undefined, 'secret'],
    [undefined, undefined],
  ]) {
    assert.equal(authenticator.begin(claim(username, password)), undefined)
  }
})

test('a verified password is answered at once for as long as it may be remembered', async () => {
  let nowMs = 0
  const authenticator = create({ now: () => nowMs, cacheLifetimeMs: 1000 })
  const first = authenticator.authenticate(claim('anna', 'secret'))
  assert.ok(first instanceof Promise)
  await first
  assert.deepEqual(authenticator.authenticate(claim('anna', 'secret')), ok('anna'))
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
  assert.deepEqual(await authenticator.authenticate(claim('carl', 'old')), REFUSED.wrongPassword)
  assert.deepEqual(await authenticator.authenticate(claim('carl', 'new')), ok('carl'))
  changing.removeUser('default', 'carl')
  assert.deepEqual(await authenticator.authenticate(claim('carl', 'new')), REFUSED.unknownUser)
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
  const authenticator = create({ queue: queueOf({ waitingMax: 1 }) })
  const storm = Array.from({ length: 100 }, () => authenticator.authenticate(claim('anna', 'secret')))
  const waiting = authenticator.authenticate(claim('anna', 'wrong 1'))
  assert.equal(await authenticator.authenticate(claim('anna', 'wrong 2')), REFUSED.busy)
  for (const result of await Promise.all(storm)) assert.deepEqual(result, ok('anna'))
  assert.deepEqual(await waiting, REFUSED.wrongPassword)
  assert.deepEqual(await authenticator.authenticate(claim('anna', 'wrong 2')), REFUSED.wrongPassword)
})

test('the password may be overwritten by its owner while it waits', async () => {
  const authenticator = create()
  void authenticator.authenticate(claim('anna', 'x'))
  const reused = claim('anna', 'secret')
  const result = authenticator.authenticate(reused)
  reused.password?.fill(0)
  assert.deepEqual(await result, ok('anna'))
})

test('an unknown user costs a hash like a known one', async () => {
  const authenticator = create({ history: historyOf({ failuresMax: 100 }) })
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
  assert.deepEqual(await create({ users: imported }).authenticate(claim('dora', '')), REFUSED.wrongPassword)
})

test('after too many failures a user is not tried again from there for a while, and from elsewhere at once', async () => {
  let nowMs = 0
  const history = historyOf({ failuresMax: 2, backOffMsMax: 3000, now: () => nowMs })
  const authenticator = create({ history })
  const login = async (password: string, remoteAddress = '10.0.0.1'): Promise<LoginStep> =>
    authenticator.authenticate(claim('anna', password, { info: claimOf({}, remoteAddress).info }))
  assert.equal(await login('1'), REFUSED.wrongPassword)
  assert.equal(await login('2'), REFUSED.wrongPassword)
  assert.equal(await login('3'), REFUSED.wrongPassword)
  assert.equal(await login('secret'), REFUSED.backOff)
  assert.deepEqual(await login('secret', '10.0.0.2'), ok('anna'))
  // Whoever has the right password was verified lately, and is not made to wait for what others do.
  assert.deepEqual(await login('secret'), ok('anna'))
  for (const pauseMs of [1000, 2000, 3000, 3000]) {
    assert.equal(await login('x'), REFUSED.backOff)
    nowMs += pauseMs - 1
    assert.equal(await login('x'), REFUSED.backOff)
    nowMs += 1
    assert.equal(await login('x'), REFUSED.wrongPassword)
  }
})

test('an unknown user is made to wait like a known one', async () => {
  const authenticator = create({ history: historyOf({ failuresMax: 1 }) })
  for (const username of ['anna', 'nobody']) {
    const codes: unknown[] = []
    for (let round = 0; round < 3; round++) {
      const step = await authenticator.authenticate(claim(username, `wrong ${round}`))
      codes.push(step.kind === 'failure' ? step.reasonCode : step)
    }
    const { badUserNameOrPassword: bad, serverBusy: busy } = ReasonCode
    assert.deepEqual(codes, [bad, bad, busy], username)
  }
})

test('guesses that were sent together are not all tried', async () => {
  const authenticator = create({ history: historyOf({ failuresMax: 1 }) })
  const guesses = Array.from({ length: 20 }, (_, n) => authenticator.authenticate(claim('anna', `guess ${n}`)))
  const steps = await Promise.all(guesses)
  assert.equal(steps.filter(step => step === REFUSED.wrongPassword).length, 2)
  assert.equal(steps.filter(step => step === REFUSED.backOff).length, 18)
})

test('nothing is hashed for a client that has gone', async () => {
  const authenticator = create()
  const first = authenticator.authenticate(claim('anna', 'wrong 1'))
  const caller = { isGone: false }
  const gone = authenticator.authenticate(claim('anna', 'secret', { caller }))
  caller.isGone = true
  await first
  assert.equal(await gone, REFUSED.busy)
  assert.ok(authenticator.authenticate(claim('anna', 'secret')) instanceof Promise, 'it was not verified')
})
