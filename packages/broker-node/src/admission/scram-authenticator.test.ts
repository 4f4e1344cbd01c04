import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { before, test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import type { Login, LoginStep } from '../ports.ts'
import { REFUSED } from './refusals.ts'
import { ScramAuthenticator } from './scram-authenticator.ts'
import { deriveScramKeys, preparePassword } from './scram-keys.ts'
import { claimOf, historyOf } from './testing/claims.ts'
import { MemoryUserDirectory } from './testing/memory-user-directory.ts'
import type { UserDirectory } from './user-directory.ts'

const users = new MemoryUserDirectory()
before(async () => {
  await users.createUser('default', 'anna', 'secret')
  await users.createUser('default', 'a=b,c', 'p\u00e4ss')
})

const CLAIM = claimOf({ method: 'SCRAM-SHA-256' })
const WRONG = REFUSED.malformedExchange

function create(known: UserDirectory = users, history = historyOf()): ScramAuthenticator {
  return new ScramAuthenticator({ users: known, history })
}

function begin(authenticator = create()): Login {
  const login = authenticator.begin(CLAIM)
  assert.ok(login)
  return login
}

/** The client's half, written from RFC 5802 section 3 without a line of the server's. */
class Client {
  readonly bare: string
  readonly header: string
  constructor(username: string, header = 'n,,', nonce = 'rOprNGfwEbeRWgbNEkqO') {
    this.bare = `n=${username.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`
    this.header = header
  }

  first(): Buffer {
    return Buffer.from(this.header + this.bare)
  }

  final(serverFirst: Uint8Array, password: string, change: (withoutProof: string) => string = same => same): Answer {
    const text = Buffer.from(serverFirst).toString()
    const [nonce, salt, count] = text.split(',').map(attribute => attribute.slice(2))
    const withoutProof = change(`c=${Buffer.from(this.header).toString('base64')},r=${nonce}`)
    const authMessage = `${this.bare},${text},${withoutProof}`
    const salted = pbkdf2Sync(password, Buffer.from(salt ?? '', 'base64'), Number(count), 32, 'sha256')
    const hmac = (key: Buffer, value: string): Buffer => createHmac('sha256', key).update(value).digest()
    const clientKey = hmac(salted, 'Client Key')
    const signature = hmac(createHash('sha256').update(clientKey).digest(), authMessage)
    const proof = Buffer.alloc(32)
    for (let index = 0; index < 32; index++) proof[index] = (clientKey[index] ?? 0) ^ (signature[index] ?? 0)
    return {
      data: Buffer.from(`${withoutProof},p=${proof.toString('base64')}`),
      expected: `v=${hmac(hmac(salted, 'Server Key'), authMessage).toString('base64')}`,
    }
  }
}

interface Answer {
  data: Buffer
  expected: string
}

async function challenge(exchange: Login, client: Client): Promise<Uint8Array> {
  const step = await exchange.step(client.first())
  assert.ok(step.kind === 'continue')
  return step.data
}

for (const [name, password, header] of [
  ['anna', 'secret', 'n,,'],
  ['anna', 'secret', 'y,,'],
  ['anna', 'secret', 'n,a=anna,'],
  ['a=b,c', 'p\u00e4ss', 'n,,'],
] as const) {
  test(`${name} with the header ${header} proves the password and gets the server's proof`, async () => {
    const exchange = begin()
    const client = new Client(name, header)
    const serverFirst = await challenge(exchange, client)
    assert.match(
      Buffer.from(serverFirst).toString(),
      /^r=rOprNGfwEbeRWgbNEkqO[!-+\--~]{20,},s=[A-Za-z0-9+/]{22}==,i=\d{4,5}$/,
    )
    const { data, expected } = client.final(serverFirst, password)
    const step = await exchange.step(data)
    assert.ok(step.kind === 'success')
    assert.equal(step.username, name)
    assert.equal(Buffer.from(step.data ?? []).toString(), expected)
    assert.deepEqual(await exchange.step(data), WRONG)
  })
}

test('the example of RFC 7677 section 3 gives its keys', async () => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
  const known = new MemoryUserDirectory()
  const salted = pbkdf2Sync('pencil', salt, 4096, 32, 'sha256')
  const clientKey = createHmac('sha256', salted).update('Client Key').digest()
  known.putUser('default', {
    username: 'user',
    passwordHash: '',
    scram: {
      salt,
      iterationCount: 4096,
      storedKey: createHash('sha256').update(clientKey).digest(),
      serverKey: createHmac('sha256', salted).update('Server Key').digest(),
    },
  })
  const exchange = begin(create(known))
  const client = new Client('user')
  const text = Buffer.from(await challenge(exchange, client)).toString()
  assert.ok(text.endsWith(',s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'))
  const example = 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'
  const { data, expected } = client.final(Buffer.from(example), 'pencil')
  assert.ok(data.toString().endsWith(',p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='))
  assert.equal(expected, 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
})

test('a wrong password, a changed nonce and a changed binding are refused', async () => {
  const attempts: [string, (withoutProof: string) => string][] = [
    ['wrong', same => same],
    ['secret', text => `${text}x`],
    ['secret', text => text.replace(/^c=[^,]*/, 'c=eSws')],
  ]
  for (const [password, change] of attempts) {
    const exchange = begin()
    const client = new Client('anna')
    const { data } = client.final(await challenge(exchange, client), password, change)
    assert.equal(await exchange.step(data), REFUSED.wrongScramProof)
    assert.deepEqual(await exchange.step(data), WRONG)
  }
})

test('an unknown user sees what a known one sees: a steady salt, the same count, a refusal at the end', async () => {
  const authenticator = create()
  const parts: string[][] = []
  for (const name of ['nobody', 'nobody', 'somebody', 'anna']) {
    const exchange = begin(authenticator)
    const client = new Client(name)
    const serverFirst = await challenge(exchange, client)
    parts.push(Buffer.from(serverFirst).toString().split(',').slice(1))
    const step = await exchange.step(client.final(serverFirst, 'guess').data)
    assert.ok(step.kind === 'failure' && step.reasonCode === ReasonCode.notAuthorized)
  }
  const [first, again, other, known] = parts
  assert.deepEqual(first, again)
  assert.notDeepEqual(first?.[0], other?.[0])
  assert.equal(first?.[0]?.length, known?.[0]?.length)
  assert.equal(first?.[1], known?.[1])
})

test('every exchange has a nonce of its own', async () => {
  const client = new Client('anna')
  assert.notDeepEqual(await challenge(begin(), client), await challenge(begin(), client))
})

const FIRST: [string, string | Uint8Array | undefined, number][] = [
  ['nothing', undefined, ReasonCode.protocolError],
  ['an empty message', '', ReasonCode.protocolError],
  ['no header', 'n=anna,r=abc', ReasonCode.protocolError],
  ['an empty name', 'n,,n=,r=abc', ReasonCode.protocolError],
  ['a bad escape', 'n,,n=a=2cb,r=abc', ReasonCode.protocolError],
  ['no nonce', 'n,,n=anna', ReasonCode.protocolError],
  ['a reserved extension', 'n,,m=x,n=anna,r=abc', ReasonCode.protocolError],
  ['bytes that are not UTF-8', Buffer.from([0x6e, 0x2c, 0x2c, 0x6e, 0x3d, 0xff]), ReasonCode.protocolError],
  ['a message that is too long', `n,,n=anna,r=${'x'.repeat(5000)}`, ReasonCode.protocolError],
  ['channel binding', 'p=tls-exporter,,n=anna,r=abc', ReasonCode.badAuthenticationMethod],
  ['acting for another user', 'n,a=bert,n=anna,r=abc', ReasonCode.notAuthorized],
]

for (const [name, data, reasonCode] of FIRST) {
  test(`${name} as the first message is refused with 0x${reasonCode.toString(16)}`, async () => {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    const step: LoginStep = await begin().step(bytes)
    assert.ok(step.kind === 'failure' && step.reasonCode === reasonCode)
  })
}

test('a last message that is none is refused', async () => {
  for (const text of ['', 'c=biws', 'c=biws,r=x,p=!', 'r=x,c=biws,p=AAAA']) {
    const exchange = begin()
    await challenge(exchange, new Client('anna'))
    assert.deepEqual(await exchange.step(Buffer.from(text)), WRONG)
  }
})

test('other methods are not known', () => {
  assert.equal(create().begin({ ...CLAIM, method: 'SCRAM-SHA-1' }), undefined)
})

test('too few iterations are refused; the password itself is prepared', async () => {
  await assert.rejects(deriveScramKeys('x', Buffer.alloc(16), 4095), RangeError)
  assert.equal(preparePassword('I\u00adX \u2168\u00a0a'), 'IX IX a')
})

async function saltOf(directory: UserDirectory, username: string): Promise<string | undefined> {
  const text = Buffer.from(await challenge(begin(create(directory)), new Client(username))).toString()
  return /,s=([^,]+),/.exec(text)?.[1]
}

test('with one key two nodes show one salt for a name, before, while and after there is such a user', async () => {
  const key = Buffer.alloc(32, 7)
  const [one, two] = [new MemoryUserDirectory(), new MemoryUserDirectory()]
  one.useSaltKey(key)
  two.useSaltKey(key)
  const before = await saltOf(one, 'anna')
  await one.createUser('default', 'anna', 'secret')
  assert.equal(await saltOf(one, 'anna'), before)
  assert.equal(await saltOf(two, 'anna'), before)
  await one.createUser('default', 'anna', 'another')
  assert.equal(await saltOf(one, 'anna'), before)
  one.removeUser('default', 'anna')
  assert.equal(await saltOf(one, 'anna'), before)
  one.useSaltKey(Buffer.alloc(32, 8))
  assert.notEqual(await saltOf(one, 'anna'), before)
})

test('wrong proofs count as failed logins, of unknown users as well, and the wait begins before any salt is shown', async () => {
  for (const name of ['anna', 'nobody']) {
    const authenticator = create(users, historyOf({ failuresMax: 1 }))
    const client = new Client(name)
    for (let round = 0; round < 2; round++) {
      const exchange = begin(authenticator)
      const step = await exchange.step(client.final(await challenge(exchange, client), 'guess').data)
      assert.ok(step.kind === 'failure' && step.reasonCode === ReasonCode.notAuthorized)
    }
    assert.equal(await begin(authenticator).step(client.first()), REFUSED.backOff)
  }
})
