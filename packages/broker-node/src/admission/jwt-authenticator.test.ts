import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import type { Claim, LoginStep } from '../ports.ts'
import { type LoginSourceOf, loginSource } from '../tenancy/model/login-source.ts'
import { isToken, JwtAuthenticator } from './jwt-authenticator.ts'
import { REFUSED } from './refusals.ts'
import { claimOf, historyOf, queueOf } from './testing/claims.ts'
import { closeServers, localCaller, serveHttp } from './testing/http-servers.ts'

const SECRET = 'a secret that is long enough for HS256'
const HOUR = 3600
const nowSeconds = Math.floor(Date.now() / 1000)
after(closeServers)

let nowMs = 0

function create(settings: object, failuresMax = 1000): (claim: Partial<Claim>) => Promise<LoginStep> {
  const source = loginSource.parse({ kind: 'jwt', ...settings }) as LoginSourceOf<'jwt'>
  const authenticator = new JwtAuthenticator(source, {
    caller: localCaller(),
    queue: queueOf(),
    history: historyOf({ failuresMax }),
    now: () => nowMs,
    nowMs: () => Date.now(),
  })
  return async claim => {
    const login = authenticator.begin(claimOf(claim))
    assert.ok(login)
    return login.step(undefined)
  }
}

async function shared(
  payload: JWTPayload,
  header: { alg: string } = { alg: 'HS256' },
  secret = SECRET,
): Promise<Buffer> {
  const token = await new SignJWT({ sub: 'anna', exp: nowSeconds + HOUR, ...payload })
    .setProtectedHeader(header)
    .sign(new TextEncoder().encode(secret))
  return Buffer.from(token)
}

function codeOf(step: LoginStep): number | undefined {
  return step.kind === 'failure' ? step.reasonCode : undefined
}

const bySecret = { secret: SECRET, algorithms: ['HS256'] }

test('a good token lets its user in, with its rules, until it expires', async () => {
  const login = create(bySecret)
  const acl = [{ pattern: 'dev/%u/#', read: true, write: false }]
  const step = await login({ password: await shared({ acl }) })
  assert.deepEqual(step, {
    kind: 'success',
    username: 'anna',
    data: undefined,
    grant: {
      rules: [{ pattern: 'dev/%u/#', read: true, write: false, effect: 'allow', priority: 0 }],
      expiresAtMs: (nowSeconds + HOUR) * 1000,
    },
  })
  const staying = create({ ...bySecret, disconnectAfterExpiry: false })
  const other = await staying({ username: 'anna', password: await shared({}) })
  assert.ok(other.kind === 'success' && other.grant?.expiresAtMs === undefined)
})

test('every token that is not good is refused like a wrong password', async () => {
  const login = create({ ...bySecret, issuer: 'us', audience: 'mqtt' })
  const good = { iss: 'us', aud: 'mqtt' }
  const token = async (payload: JWTPayload): Promise<Buffer> => shared({ ...good, ...payload })
  assert.equal((await login({ password: await token({}) })).kind, 'success')
  const text = (await token({})).toString()
  const [header = '', body = '', signature = ''] = text.split('.')
  const unsigned = Buffer.from('{"alg":"none"}').toString('base64url')
  for (const [what, password] of [
    ['expired', await token({ exp: nowSeconds - 60 })],
    ['not yet', await token({ nbf: nowSeconds + 60 })],
    ['issuer', await token({ iss: 'them' })],
    ['audience', await token({ aud: 'web' })],
    ['no issuer', await shared({ aud: 'mqtt' })],
    ['another secret', await shared(good, { alg: 'HS256' }, `${SECRET}!`)],
    ['another algorithm', await shared(good, { alg: 'HS512' })],
    ['unsigned', Buffer.from(`${unsigned}.${body}.`)],
    ['unsigned with a signature', Buffer.from(`${unsigned}.${body}.${signature}`)],
    ['header that is none', Buffer.from(`eyJxx.${body}.${signature}`)],
    ['changed', Buffer.from(`${header}.${Buffer.from('{"sub":"root"}').toString('base64url')}.${signature}`)],
    ['no user', await token({ sub: '' })],
    ['user that is no text', await token({ sub: 7 as unknown as string })],
    ['client id', await token({ client_id: 'another' })],
    ['rules', await token({ acl: [{ pattern: 'a/#/b', read: true, write: true }] })],
    ['too many rules', await token({ acl: new Array(65).fill({ pattern: 'a', read: true, write: true }) })],
  ] as const) {
    assert.equal(codeOf(await login({ password })), ReasonCode.badUserNameOrPassword, what)
  }
  assert.equal(await login({ username: 'bert', password: await token({}) }), REFUSED.tokenUser)
  assert.equal((await login({ password: await token({ client_id: 'c' }) })).kind, 'success')
})

test('what is no token is none of its business', () => {
  for (const text of ['', 'secret', 'eyJ', 'eyJ.a', 'xyJ.a.b', `eyJ.${'a'.repeat(9000)}.b`])
    assert.ok(!isToken(Buffer.from(text)))
  assert.ok(isToken(Buffer.from('eyJhbGciOiJIUzI1NiJ9.e30.abc')))
})

test('a public key is never taken for a shared secret, and settings that would are refused', async () => {
  const { publicKey } = await generateKeyPair('RS256', { extractable: true })
  const jwk = await exportJWK(publicKey)
  const login = create({ jwks: { keys: [jwk] }, algorithms: ['RS256'] })
  const forged = await shared({}, { alg: 'HS256' }, JSON.stringify(jwk))
  assert.equal(codeOf(await login({ password: forged })), ReasonCode.badUserNameOrPassword)
  for (const settings of [
    { jwks: { keys: [jwk] }, algorithms: ['RS256', 'HS256'] },
    { secret: SECRET, algorithms: ['RS256'] },
    { secret: SECRET, jwks: { keys: [jwk] }, algorithms: ['HS256'] },
    { algorithms: ['RS256'] },
  ]) {
    assert.ok(!loginSource.safeParse({ kind: 'jwt', ...settings }).success, JSON.stringify(settings))
  }
})

test('keys by address: fetched once, again for a new key, seldom for invented ones, kept while the server is away', async () => {
  const pairs = [
    await generateKeyPair('ES256', { extractable: true }),
    await generateKeyPair('ES256', { extractable: true }),
  ]
  const published: object[] = []
  const publish = async (kid: number): Promise<void> => {
    const pair = pairs[kid]
    assert.ok(pair)
    published.push({ ...(await exportJWK(pair.publicKey)), kid: String(kid) })
  }
  const tokenOf = async (at: number, kid = String(at)): Promise<Buffer> => {
    const pair = pairs[at]
    assert.ok(pair)
    const signing = new SignJWT({ sub: 'anna' }).setProtectedHeader({ alg: 'ES256', kid })
    return Buffer.from(await signing.setExpirationTime('1h').sign(pair.privateKey))
  }
  let asked = 0
  let isAway = true
  const jwksUrl = await serveHttp((_, response) => {
    asked++
    if (isAway) response.writeHead(503).end()
    else response.end(JSON.stringify({ keys: published }))
  })
  const login = create({ jwksUrl, algorithms: ['ES256'] })
  await publish(0)
  assert.equal(codeOf(await login({ password: await tokenOf(0) })), ReasonCode.serverUnavailable)
  isAway = false
  nowMs += 1000
  const first = await tokenOf(0)
  const steps = await Promise.all(Array.from({ length: 20 }, () => login({ password: first })))
  assert.ok(steps.every(step => step.kind === 'success'))
  assert.equal(asked, 2)
  await publish(1)
  assert.equal(
    codeOf(await login({ password: await tokenOf(1) })),
    ReasonCode.badUserNameOrPassword,
    'still cooling down',
  )
  nowMs += 30_000
  assert.equal((await login({ password: await tokenOf(1) })).kind, 'success')
  assert.equal(asked, 3)
  for (let n = 0; n < 50; n++) await login({ password: await tokenOf(0, `invented ${n}`) })
  assert.equal(asked, 3)
  isAway = true
  nowMs += 1_000_000
  assert.equal((await login({ password: first })).kind, 'success')
  assert.equal(asked, 4)
  nowMs += 3_600_000
  assert.equal(codeOf(await login({ password: first })), ReasonCode.serverUnavailable)
})

test('whoever sends bad tokens again and again has to wait', async () => {
  const login = create(bySecret, 3)
  const bad = await shared({}, { alg: 'HS256' }, `${SECRET}!`)
  for (let n = 0; n < 4; n++) await login({ username: 'anna', password: bad })
  assert.equal(await login({ username: 'anna', password: bad }), REFUSED.backOff)
  assert.equal(
    (await login({ username: 'anna', password: await shared({}), info: claimOf({}, '10.0.0.9').info })).kind,
    'success',
  )
})
