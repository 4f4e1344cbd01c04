import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { after, test } from 'node:test'
import { ReasonCode } from '@midge/protocol-core'
import { Counters } from '../counters.ts'
import type { Claim, LoginStep } from '../ports.ts'
import type { LoginSource } from '../tenancy/model/login-source.ts'
import { LoginChain } from './login-chain.ts'
import { LoginSources } from './login-sources.ts'
import { PasswordAuthenticator } from './password-authenticator.ts'
import { REFUSED } from './refusals.ts'
import { claimOf, historyOf, queueOf } from './testing/claims.ts'
import { closeServers, localCaller, serveHttp } from './testing/http-servers.ts'
import { MemoryUserDirectory } from './testing/memory-user-directory.ts'

after(closeServers)

let nowMs = 0
const users = new MemoryUserDirectory()

function create(logins: Record<string, LoginSource[]>): (claim: Partial<Claim>) => Promise<LoginStep> {
  const history = historyOf({ failuresMax: 1000 })
  const sources = new LoginSources({
    loginsOf: instance => logins[instance],
    users,
    exchanges: [],
    passwords: new PasswordAuthenticator({ users, queue: queueOf(), slowQueue: queueOf(), history }),
    caller: localCaller(),
    queue: queueOf(),
    history,
    counters: new Counters(),
    now: () => nowMs + performance.now(),
    nowMs: () => Date.now(),
  })
  const chain = new LoginChain(instance => sources.methodsOf(instance))
  return async claim => {
    const login = chain.begin(claimOf({ username: 'anna', password: Buffer.from('secret'), ...claim }))
    return login.step(undefined)
  }
}

const http = (url: string): LoginSource => ({ kind: 'http', url, authorization: 'Bearer key', timeoutMs: 3000 })

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const part of request) text += String(part)
  return text
}

test('the server gets the claim and decides', async () => {
  const seen: unknown[] = []
  const url = await serveHttp((request, response) => {
    void textOf(request).then(text => {
      const body: { password?: string } = JSON.parse(text)
      seen.push({ method: request.method, authorization: request.headers.authorization, ...body })
      const rules = [{ pattern: 'a/#', read: true, write: true }]
      if (body.password === 'deny') response.writeHead(403).end()
      else if (body.password === 'no') response.end('{"allow":false}')
      else if (body.password === 'root') response.end('{"allow":true,"unrestricted":true}')
      else if (body.password === 'broken') response.writeHead(500).end()
      else if (body.password === 'text') response.end('yes')
      else if (body.password === 'rules') response.end('{"allow":true,"rules":[{"pattern":"#/a"}]}')
      else response.end(JSON.stringify({ allow: true, username: 'anna-2', rules }))
    })
  })
  const login = create({ default: [http(url)] })
  const step = await login({})
  assert.deepEqual(step, {
    kind: 'success',
    username: 'anna-2',
    data: undefined,
    grant: {
      rules: [{ pattern: 'a/#', read: true, write: true, effect: 'allow', priority: 0 }],
      isUnrestricted: undefined,
    },
  })
  assert.deepEqual(seen, [
    {
      method: 'POST',
      authorization: 'Bearer key',
      instance: 'default',
      username: 'anna',
      password: 'secret',
      clientId: 'c',
      address: '127.0.0.1',
      transport: 'tcp',
    },
  ])
  for (const password of ['deny', 'no'])
    assert.equal(await login({ password: Buffer.from(password) }), REFUSED.serverDenies)
  for (const password of ['broken', 'text', 'rules']) {
    const refusal = await login({ password: Buffer.from(password) })
    assert.ok(refusal.kind === 'failure' && refusal.reasonCode === ReasonCode.serverUnavailable, password)
  }
  const root = await login({ password: Buffer.from('root') })
  assert.ok(root.kind === 'success' && root.username === 'anna' && root.grant?.isUnrestricted === true)
  await login({ password: Buffer.from([0xff, 0]) })
  assert.equal((seen.at(-1) as { passwordBase64?: string }).passwordBase64, '/wA=')
})

test('an answer is remembered for as long as the server says, for this claim only', async () => {
  let asked = 0
  let control = 'private, max-age=60'
  const url = await serveHttp((_, response) => {
    asked++
    response.setHeader('cache-control', control)
    response.end('{"allow":true}')
  })
  const login = create({ default: [http(url)] })
  for (let n = 0; n < 3; n++) assert.equal((await login({})).kind, 'success')
  assert.equal(asked, 1)
  await login({ password: Buffer.from('other') })
  await login({ clientId: 'd' })
  await login({ info: claimOf({}, '10.0.0.1').info })
  assert.equal(asked, 4)
  nowMs += 60_000
  await login({})
  assert.equal(asked, 5)
  control = 'no-store, max-age=60'
  nowMs += 60_000
  await login({})
  await login({})
  assert.equal(asked, 7)
})

test('equal claims that arrive together are one request', async () => {
  let asked = 0
  const url = await serveHttp((_, response) => {
    asked++
    setImmediate(() => response.end('{"allow":true}'))
  })
  const login = create({ default: [http(url)] })
  const steps = await Promise.all(Array.from({ length: 20 }, () => login({})))
  assert.ok(steps.every(step => step.kind === 'success'))
  assert.equal(asked, 1)
})

test('a server that hangs holds up its own instance only', async () => {
  let hanging = 0
  const url = await serveHttp(() => {
    hanging++
  })
  const good = await serveHttp((_, response) => response.end('{"allow":true}'))
  const login = create({ bad: [http(url)], good: [http(good)] })
  await login({ instance: 'good', clientId: 'warm' })
  const stuck = Array.from({ length: 500 }, (_, n) => login({ instance: 'bad', clientId: `c${n}` }))
  const startMs = performance.now()
  assert.equal((await login({ instance: 'good' })).kind, 'success')
  const tookMs = performance.now() - startMs
  assert.ok(tookMs <= 100, `${tookMs} ms`)
  for (const step of await Promise.all(stuck)) {
    assert.ok(
      step.kind === 'failure' &&
        [ReasonCode.serverUnavailable, ReasonCode.serverBusy].includes(step.reasonCode as 0x88),
    )
  }
  assert.ok(hanging >= 32 && hanging <= 96, `${hanging} requests`)
})

test('users that are kept here are not sent to the server; a private address is not asked', async () => {
  let asked = 0
  const url = await serveHttp((_, response) => {
    asked++
    response.end('{"allow":true}')
  })
  await users.createUser('default', 'kept', 'secret')
  const login = create({ default: [{ kind: 'users' }, http(url)], inside: [http('http://169.254.169.254/')] })
  assert.equal(await login({ username: 'kept', password: Buffer.from('wrong') }), REFUSED.wrongPassword)
  assert.equal((await login({ username: 'kept' })).kind, 'success')
  assert.equal(asked, 0)
  assert.equal((await login({ username: 'anna' })).kind, 'success')
  assert.equal(asked, 1)
  const refusal = await login({ instance: 'inside' })
  assert.ok(refusal.kind === 'failure' && refusal.reason.includes('outbound.allow'))
})

test('an instance has the ways in that its settings say, from the next login on', async () => {
  const logins: Record<string, LoginSource[]> = { default: [{ kind: 'users' }] }
  const login = create(logins)
  const nobody = { username: undefined, password: undefined }
  assert.equal(await login(nobody), REFUSED.anonymous)
  assert.equal(await login({ password: undefined }), REFUSED.usernameOnly)
  assert.equal(await login({ username: undefined }), REFUSED.passwordOnly)
  assert.equal(await login({ method: 'X' }), REFUSED.unknownMethod)
  logins['default'] = [{ kind: 'anonymous' }]
  assert.equal((await login(nobody)).kind, 'success')
  assert.equal(await login({}), REFUSED.nobodyDecides)
  assert.equal(await login({ instance: 'none' }), REFUSED.nobodyDecides)
})
