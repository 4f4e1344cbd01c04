import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import { Counters } from '../counters.ts'
import type { AdmissionStep, Admitted, Claim, Logger, LoginMethod, LoginStep } from '../ports.ts'
import { CertificateAuthenticator } from './certificate-authenticator.ts'
import type { InstanceFinder } from './choose-instance.ts'
import { FrontDoor } from './front-door.ts'
import { REFUSED } from './refusals.ts'
import { claimOf, instancesOf } from './testing/claims.ts'
import { MemoryUserDirectory, type RuledUser } from './testing/memory-user-directory.ts'

interface Line {
  fields: Record<string, unknown>
  text: string
}

/** A logger that keeps its lines at info. */
function recordingLogger(lines: Line[]): Logger {
  const ignore = (): void => {}
  const logger: Logger = {
    trace: ignore,
    debug: ignore,
    info: (fields, text) => lines.push({ fields: { ...fields }, text }),
    warn: ignore,
    error: ignore,
    isLevelEnabled: () => true,
    child: () => logger,
  }
  return logger
}

function userOf(username: string, rest: Partial<RuledUser> = {}): RuledUser {
  return { username, passwordHash: '', scram: undefined, ...rest }
}

function always(step: LoginStep): LoginMethod {
  return { begin: () => ({ step: () => step }) }
}

const success = (username: string | undefined): LoginStep => ({ kind: 'success', username, data: undefined })

function open(
  methods: LoginMethod[],
  instances: InstanceFinder = instancesOf(),
): {
  door: FrontDoor
  users: MemoryUserDirectory
  counters: Counters
  lines: Line[]
  pass(ms: number): void
} {
  const lines: Line[] = []
  const counters = new Counters()
  const users = new MemoryUserDirectory()
  let nowMs = 0
  const door = new FrontDoor({
    methodsOf: () => methods,
    bans: { isBanned: () => false },
    instances,
    users,
    rules: users,
    counters,
    logger: recordingLogger(lines),
    now: () => nowMs,
  })
  return {
    door,
    users,
    counters,
    lines,
    pass: ms => {
      nowMs += ms
    },
  }
}

async function enter(door: FrontDoor, claim: Claim = claimOf({})): Promise<AdmissionStep> {
  return door.begin(claim).step(undefined)
}

async function admitted(door: FrontDoor, claim?: Claim): Promise<Admitted> {
  const step = await enter(door, claim)
  assert.ok(step.kind === 'admitted')
  return step.admitted
}

test('methods are asked in their order: not mine, then the next, and the first that decides', async () => {
  const asked: string[] = []
  const method = (name: string, step: LoginStep | Promise<LoginStep> | undefined): LoginMethod => ({
    begin: () => {
      asked.push(name)
      return step === undefined ? undefined : { step: () => step }
    },
  })
  const { door } = open([
    method('not mine', undefined),
    method('next', { kind: 'next' }),
    method('next, later', Promise.resolve({ kind: 'next' })),
    method('decides', success('anna')),
    method('never asked', success('bert')),
  ])
  assert.equal((await admitted(door)).username, 'anna')
  assert.deepEqual(asked, ['not mine', 'next', 'next, later', 'decides'])
  door.putFirst(method('first', success('carl')))
  assert.equal((await admitted(door)).username, 'carl')
})

test('an exchange stays with the method that began it', async () => {
  const heard: string[] = []
  const exchanging: LoginMethod = {
    begin: () => ({
      step: data => {
        heard.push(Buffer.from(data ?? []).toString())
        return heard.length < 3 ? { kind: 'continue', data: Buffer.from('go on') } : success('anna')
      },
    }),
  }
  const { door } = open([always({ kind: 'next' }), exchanging])
  const admission = door.begin(claimOf({ method: 'X' }))
  const kinds: string[] = []
  for (const data of ['1', '2', '3']) kinds.push((await admission.step(Buffer.from(data))).kind)
  assert.deepEqual(kinds, ['continue', 'continue', 'admitted'])
  assert.deepEqual(heard, ['1', '2', '3'])
})

test('what nobody takes is refused', async () => {
  const { door } = open([always({ kind: 'next' })])
  const plain = await enter(door)
  assert.deepEqual(plain, { kind: 'refused', reasonCode: ReasonCode.notAuthorized, text: 'not authorized' })
  const unknown = await enter(door, claimOf({ method: 'X' }))
  assert.ok(unknown.kind === 'refused' && unknown.reasonCode === ReasonCode.badAuthenticationMethod)
})

test('a login that is decided at once costs no promise', () => {
  const { door } = open([always({ kind: 'next' }), always(success(undefined))])
  assert.ok(!(door.begin(claimOf({})).step(undefined) instanceof Promise))
})

test('the client is told no more about a wrong password than about an unknown user, the log the reason', async () => {
  const told: AdmissionStep[] = []
  for (const failure of [REFUSED.wrongPassword, REFUSED.unknownUser]) {
    const { door, lines, counters } = open([always(failure)])
    const username = 'a'.repeat(500)
    told.push(await enter(door, claimOf({ clientId: 'c', username })))
    assert.equal(counters.authenticationFailures, 1)
    assert.deepEqual(lines, [
      {
        fields: {
          event: 'client.refused',
          connectionId: '1',
          instance: 'default',
          remoteAddress: '127.0.0.1',
          clientId: 'c',
          username: 'a'.repeat(128),
          reasonCode: failure.reasonCode,
          suppressedCount: 0,
        },
        text: `login refused: ${failure.reason}`,
      },
    ])
  }
  assert.deepEqual(told[0], told[1])
})

test('busy and back-off are told apart by counters only', async () => {
  const { door, counters } = open([always(REFUSED.busy)])
  const busy = await enter(door)
  door.putFirst(always(REFUSED.backOff))
  assert.deepEqual(await enter(door), busy)
  const { authenticationsBusy, authenticationBackOffs, authenticationFailures } = counters
  assert.deepEqual([authenticationsBusy, authenticationBackOffs, authenticationFailures], [1, 1, 0])
})

test('a storm from one network is one line in ten seconds, and others have theirs', async () => {
  const { door, lines, pass } = open([always(REFUSED.wrongPassword)])
  for (let n = 0; n < 100; n++) await enter(door)
  await enter(door, claimOf({}, '10.0.0.2'))
  pass(10_000)
  await enter(door)
  assert.deepEqual(
    lines.map(({ fields }) => [fields['remoteAddress'], fields['suppressedCount']]),
    [
      ['127.0.0.1', 0],
      ['10.0.0.2', 0],
      ['127.0.0.1', 99],
    ],
  )
})

test('a storm from very many networks is bounded too', async () => {
  const { door, lines } = open([always(REFUSED.wrongPassword)])
  for (let n = 0; n < 3000; n++) await enter(door, claimOf({}, `10.0.${n >> 8}.${n & 255}`))
  assert.equal(lines.length, 1001)
})

test('rights are those of the record, as it is now', async () => {
  const { door, users } = open([always(success('anna'))])
  users.putUser('default', userOf('anna', { rules: [{ pattern: '%u/%c', read: true, write: false }] }))
  const { permissions } = await admitted(door, claimOf({ clientId: 'c1' }))
  const ask = (): unknown[] => [
    permissions.allowsAll,
    permissions.mayReceive('anna/c1'),
    permissions.mayPublish('anna/c1', 0, false),
    permissions.maySubscribe('anna/+', 0),
    permissions.maySubscribe('bert/+', 0),
  ]
  assert.deepEqual(ask(), [false, true, false, true, false])
  const before = permissions.version
  users.putUser('other', userOf('anna'))
  assert.equal(permissions.version, before)
  users.putUser('default', userOf('anna'))
  assert.ok(permissions.version > before)
  assert.deepEqual(ask(), [true, true, true, true, true])
  users.removeUser('default', 'anna')
  assert.deepEqual(ask(), [false, false, false, false, false])
})

test('a rule that can never fit a topic is not taken', () => {
  const users = new MemoryUserDirectory()
  const rules = [{ pattern: 'a/#/b', read: true, write: true }]
  assert.throws(() => users.putUser('default', userOf('anna', { rules })), RangeError)
  assert.equal(users.find('default', 'anna'), undefined)
})

test('who has no record may do everything, until there is one', async () => {
  const { door, users } = open([always(success('device-7'))])
  const { permissions } = await admitted(door)
  assert.equal(permissions.allowsAll, true)
  users.putUser('default', userOf('device-7', { rules: [] }))
  assert.equal(permissions.mayReceive('a'), false)
})

test('the Common Name of a certificate is the username when it can be one', async () => {
  const certificate = (certCommonName: string | undefined): Claim => {
    const { info } = claimOf({})
    return claimOf({ info: { ...info, certCommonName } })
  }
  const { door } = open([new CertificateAuthenticator(), always(success('by password'))])
  assert.equal((await admitted(door, certificate('device-7'))).username, 'device-7')
  assert.equal((await admitted(door, certificate(undefined))).username, 'by password')
  assert.equal((await admitted(door, { ...certificate('device-7'), method: 'X' })).username, 'by password')
  for (const name of ['', 'a\nb', 'x'.repeat(257)]) {
    const step = await enter(door, certificate(name))
    assert.ok(step.kind === 'refused' && step.reasonCode === ReasonCode.notAuthorized)
  }
})

test('an instance that is suspended, gone, or does not take the protocol, asks nobody who they are', async () => {
  const asked: string[] = []
  const method: LoginMethod = {
    begin: claim => {
      asked.push(claim.instance)
      return { step: () => success('anna') }
    },
  }
  const { settings } = instancesOf({ x: {} }).instances.get('x') ?? assert.fail()
  const { door, lines } = open(
    [method],
    instancesOf({ default: {}, off: { state: 'suspended' }, five: { settings: { ...settings, protocols: [5] } } }),
  )
  const { info } = claimOf({})
  for (const [claim, reasonCode] of [
    [claimOf({ username: 'off:anna' }), ReasonCode.serverUnavailable],
    [claimOf({ info: { ...info, remoteAddress: '10.0.0.1', boundInstance: 'gone' } }), ReasonCode.serverUnavailable],
    [claimOf({ username: 'five:anna', info: { ...info, remoteAddress: '10.0.0.2' } }), 0x84],
  ] as const) {
    const step = await enter(door, claim)
    assert.deepEqual([step.kind, step.kind === 'refused' && step.reasonCode], ['refused', reasonCode])
  }
  assert.deepEqual(asked, [])
  assert.match(lines.map(({ text }) => text).join(), /suspended.*removed.*version of MQTT/)
  assert.equal((await admitted(door, claimOf({ username: 'five:anna', protocolVersion: 5 }))).instance, 'five')
})

test('whoever is disabled or changed while its password is compared does not get in', async () => {
  for (const happens of ['disabled', 'removed', 'changed', 'suspended'] as const) {
    let decide = (_step: LoginStep): void => assert.fail('nobody waits')
    const slow: LoginMethod = { begin: () => ({ step: () => new Promise(resolve => (decide = resolve)) }) }
    let state: 'active' | 'suspended' = 'active'
    let user: RuledUser | undefined = userOf('anna', { epoch: 1 })
    let isDisabled = false
    const { users } = open([])
    const door = new FrontDoor({
      methodsOf: () => [slow],
      bans: { isBanned: () => false },
      instances: { ...instancesOf(), instances: { get: id => instancesOf({ [id]: { state } }).instances.get(id) } },
      users: { find: () => user, isDisabled: () => isDisabled, scramSaltOf: () => new Uint8Array() },
      rules: users,
      counters: new Counters(),
      logger: recordingLogger([]),
      now: () => 0,
    })
    const step = enter(door, claimOf({ username: 'anna' }))
    if (happens === 'disabled') isDisabled = true
    if (happens === 'removed') user = undefined
    if (happens === 'changed') user = userOf('anna', { epoch: 2 })
    if (happens === 'suspended') state = 'suspended'
    decide(success('anna'))
    assert.equal((await step).kind, 'refused', happens)
  }
})
