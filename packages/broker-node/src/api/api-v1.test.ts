import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { OpenApiDocument } from './open-api.ts'
import { TestApi } from './testing/test-api.ts'

let api: TestApi
before(async () => {
  api = await TestApi.start()
})
after(() => api.stop())

/** What each path variable is in the walk over all routes. */
const SAMPLE: Readonly<Record<string, string>> = { instance: 'own', username: 'ann', clientId: 'c', node: 'n' }

async function routesOf(): Promise<{ method: string; path: string; access: string }[]> {
  const { json } = await api.send('GET', '/api/v1/openapi.json', { key: '' })
  const document: OpenApiDocument = json
  return Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path: `/api/v1${path}`,
      access: operation['x-access'],
    })),
  )
}

function filled(path: string, instance: string): string {
  return path.replace(/\{(\w+)\}/g, (_all, name: string) => (name === 'instance' ? instance : (SAMPLE[name] ?? 'x')))
}

test('no route is open without a key, to a wrong one, to one of another instance, or to one of too small a scope', async () => {
  const own = await api.instance('own')
  await api.instance('other')
  const reader = await api.send('POST', '/api/v1/instances/own/api-keys', {
    key: own.key,
    body: { label: 'r', scope: 'instance:read' },
  })
  const routes = await routesOf()
  assert.ok(routes.length > 35)
  for (const { method, path, access } of routes) {
    const at = filled(path, 'own')
    const send = (key: string, to = at) => api.send(method, to, { key })
    assert.equal((await send('')).status, 401, `${method} ${path} without a key`)
    assert.equal((await send('midge_operator_wrong')).status, 401, `${method} ${path} with a wrong key`)
    // Fast enough to be held back otherwise.
    api.nowMs += 1000
    if (path.includes('{instance}')) {
      for (const to of ['other', 'never-made']) {
        const answer = await send(own.key, filled(path, to))
        assert.deepEqual([answer.status, answer.json?.detail], [404, 'no such instance'], `${method} ${path} of ${to}`)
      }
    }
    if (access === 'operator') assert.equal((await send(own.key)).status, 403, `${method} ${path}, operators only`)
    if (access === 'instance:write' || access === 'operator') {
      assert.equal((await send(reader.json.key)).status, 403, `${method} ${path} with a key that may only read`)
    }
  }
})

test('an instance is made, shown, changed, stopped and removed, and its secrets are shown once', async () => {
  const made = await api.send('POST', '/api/v1/instances', {
    body: { id: 'life', name: 'Life', plan: 'cat', tags: ['a'], settings: { logins: [{ kind: 'users' }] } },
  })
  assert.equal(made.status, 201)
  assert.equal(made.json.instance.limits.connections, 10)
  assert.equal(made.json.username, made.json.instance.defaultUser)
  const { apiKey: key, password } = made.json
  const shown = await api.send('GET', '/api/v1/instances/life', { key })
  assert.deepEqual([shown.status, shown.json.name, shown.json.plan], [200, 'Life', 'cat'])
  const listed = await api.send('GET', '/api/v1/instances?limit=1000')
  for (const text of [shown.text, listed.text]) for (const secret of [key, password]) assert.ok(!text.includes(secret))
  assert.equal((await api.send('PATCH', '/api/v1/instances/life', { key, body: { name: 'New' } })).json.name, 'New')
  assert.equal((await api.send('PATCH', '/api/v1/instances/life', { key, body: { plan: 'leopard' } })).status, 403)
  const bigger = await api.send('PATCH', '/api/v1/instances/life', { body: { plan: 'leopard' } })
  assert.equal(bigger.json.plan, 'leopard')
  assert.equal((await api.send('POST', '/api/v1/instances/life/suspend')).json.state, 'suspended')
  assert.equal((await api.send('POST', '/api/v1/instances/life/resume')).json.state, 'active')
  assert.equal((await api.send('POST', '/api/v1/instances/life/restart', { key })).status, 204)
  assert.equal((await api.send('POST', '/api/v1/instances/life/reset', { key })).status, 204)
  assert.equal((await api.send('DELETE', '/api/v1/instances/life')).status, 204)
  assert.deepEqual(
    api.deeds.filter(deed => deed.endsWith(' life')),
    ['restart life', 'wipe life', 'wipe life'],
  )
  assert.equal((await api.send('GET', '/api/v1/instances/life', { key })).status, 401)
  assert.equal((await api.send('GET', '/api/v1/instances/life')).status, 404)
})

test('a new password and a new key take the place of the old ones', async () => {
  const { key, username } = await api.instance('rotate')
  const fresh = await api.send('POST', '/api/v1/instances/rotate/password', { key })
  assert.equal(fresh.json.username, username)
  assert.equal(api.plane.users.find('rotate', username)?.proof?.hash, `hash of ${fresh.json.password}`)
  const rotated = await api.send('POST', '/api/v1/instances/rotate/api-key', { key })
  assert.equal(rotated.status, 201)
  assert.equal((await api.send('GET', '/api/v1/instances/rotate', { key })).status, 401)
  assert.equal((await api.send('GET', '/api/v1/instances/rotate', { key: rotated.json.key })).status, 200)
})

test('users are made, found by prefix and page, changed and removed, and nothing of a password is shown', async () => {
  const { key } = await api.instance('users')
  for (let index = 0; index < 5; index++) {
    const body = { username: `phone ${index}/ä`, password: 'hunter2' }
    assert.equal((await api.send('POST', '/api/v1/instances/users/users', { key, body })).status, 201)
  }
  const at = `/api/v1/instances/users/users/${encodeURIComponent('phone 1/ä')}`
  const shown = await api.send('GET', at, { key })
  assert.deepEqual([shown.json.username, shown.json.hasPassword], ['phone 1/ä', true])
  assert.ok(!/proof|hash of|hunter2/.test(shown.text))
  const names: string[] = []
  let cursor: string | undefined
  do {
    const query = `prefix=phone&limit=2${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
    const page = await api.send('GET', `/api/v1/instances/users/users?${query}`, { key })
    names.push(...page.json.items.map(({ username }: { username: string }) => username))
    cursor = page.json.cursor
  } while (cursor !== undefined)
  assert.deepEqual(
    names,
    [0, 1, 2, 3, 4].map(index => `phone ${index}/ä`),
  )
  assert.equal((await api.send('PATCH', at, { key, body: { isEnabled: false } })).json.isEnabled, false)
  assert.equal((await api.send('DELETE', at, { key })).status, 204)
  const again = await api.send('DELETE', at, { key })
  assert.deepEqual([again.status, again.json.code], [404, 'MIDGE_NOT_FOUND'])
})

test('an import says of each user what became of it, and can be run again', async () => {
  const { key } = await api.instance('many', 'cat')
  const users = Array.from({ length: 12 }, (_, index) => ({ username: `u${index}`, password: `p${index}` }))
  const path = '/api/v1/instances/many/users/import'
  const first = await api.send('POST', path, { key, body: { users } })
  assert.deepEqual([first.status, first.json.created, first.json.failed.length], [200, 9, 3])
  assert.equal(first.json.failed[0].code, 'MIDGE_PLAN_LIMIT')
  const there = users.filter(({ username }) => api.plane.users.find('many', username) !== undefined)
  const second = await api.send('POST', path, { key, body: { users: there, overwrite: true } })
  assert.deepEqual([second.json.created, second.json.changed], [0, 9])
  const third = await api.send('POST', path, { key, body: { users: there.slice(0, 1) } })
  assert.equal(third.json.failed[0].code, 'MIDGE_ALREADY_EXISTS')
})

test('rules are made one by one, together and from templates, and a check says which one decides', async () => {
  const { key, username } = await api.instance('rules')
  const path = '/api/v1/instances/rules/rules'
  await api.send('POST', '/api/v1/instances/rules/users', { key, body: { username: 'ann', password: 'x' } })
  const one = await api.send('POST', path, {
    key,
    body: { type: 'topic', username: 'ann', pattern: 'home/#', read: true },
  })
  assert.equal(one.status, 201)
  const [rule] = one.json.items
  const denied = { type: 'pattern', pattern: 'home/secret', read: true, write: true, effect: 'deny', priority: -1 }
  await api.send('POST', path, { key, body: [denied, { type: 'pattern', pattern: 'dev/%c', write: true }] })
  const check = async (body: object) => (await api.send('POST', `${path}/check`, { key, body })).json
  const ann = { username: 'ann', clientId: 'c1' }
  const allowed = await check({ ...ann, topic: 'home/x', access: 'receive' })
  assert.deepEqual([allowed.allowed, allowed.rule.id], [true, rule.id])
  const secret = await check({ ...ann, topic: 'home/secret', access: 'receive' })
  assert.deepEqual([secret.allowed, secret.rule.effect], [false, 'deny'])
  assert.deepEqual(await check({ ...ann, topic: 'home/x', access: 'publish' }), {
    allowed: false,
    reason: 'no rule fits',
  })
  assert.equal((await check({ ...ann, topic: 'dev/c1', access: 'publish' })).allowed, true)
  assert.match((await check({ ...ann, username, topic: 'x', access: 'publish' })).reason, /do not apply to this user/)
  const changed = await api.send('PUT', `${path}/${rule.id}`, {
    key,
    body: { type: 'pattern', pattern: 'a', read: true },
  })
  assert.deepEqual([changed.status, changed.json.pattern, changed.json.username], [200, 'a', undefined])
  assert.equal((await api.send('DELETE', `${path}/${rule.id}`, { key })).status, 204)
  const family = { key, body: { template: 'owntracks-family' } }
  assert.equal((await api.send('POST', `${path}/from-template`, family)).json.items.length, 4)
  const forNobody = await api.send('POST', `${path}/from-template`, { key, body: { template: 'home-assistant' } })
  assert.deepEqual([forNobody.status, /^username: /.test(forNobody.json.detail)], [422, true])
})

test('a webhook shows no secret, and keeps it when it is changed without one', async () => {
  const { key } = await api.instance('out')
  const hook = { name: 'H', url: 'https://a.example/x', events: ['client.connected'] }
  const hookPath = '/api/v1/instances/out/webhooks/h1'
  assert.equal((await api.send('PUT', hookPath, { key, body: hook })).status, 422)
  const secret = 'sixteen letters!'
  assert.equal((await api.send('PUT', hookPath, { key, body: { ...hook, secret } })).status, 200)
  assert.equal((await api.send('PUT', hookPath, { key, body: hook })).status, 200)
  assert.equal(api.plane.webhooks.list('out')[0]?.secret, secret)
  assert.ok(!(await api.send('GET', '/api/v1/instances/out/webhooks', { key })).text.includes(secret))
})

test('plans, bans, keys and the audit trail', async () => {
  const { key } = await api.instance('rest')
  assert.ok((await api.send('GET', '/api/v1/plans', { key })).json.items.length >= 4)
  const plan = await api.send('PUT', '/api/v1/plans/mine', { body: { title: 'Mine', limits: { connections: 3 } } })
  assert.deepEqual([plan.json.limits.connections, plan.json.limits.users], [3, null])
  assert.equal((await api.send('DELETE', '/api/v1/plans/mine')).status, 204)
  const ban = await api.send('POST', '/api/v1/instances/rest/bans', {
    key,
    body: { kind: 'address', value: '192.0.2.0/24' },
  })
  assert.equal(ban.status, 201)
  assert.equal((await api.send('DELETE', `/api/v1/instances/rest/bans/${ban.json.id}`, { key })).status, 204)
  const made = await api.send('POST', '/api/v1/api-keys', { body: { label: 'ci', scope: 'operator' } })
  assert.equal((await api.send('GET', '/api/v1/whoami', { key: made.json.key })).json.key.label, 'ci')
  assert.ok(!(await api.send('GET', '/api/v1/api-keys?limit=1000')).text.includes('sha256'))
  // A key of one instance ends no key of another.
  const foreign = await api.send('DELETE', `/api/v1/instances/rest/api-keys/${made.json.apiKey.id}`, { key })
  assert.equal(foreign.status, 404)
  assert.equal((await api.send('DELETE', `/api/v1/api-keys/${made.json.apiKey.id}`)).status, 204)
  const trail = await api.send('GET', '/api/v1/instances/rest/audit', { key })
  assert.deepEqual(
    trail.json.items.map(({ action }: { action: string }) => action),
    ['ban.removed', 'ban.created', 'instance.created'],
  )
  assert.equal(trail.json.items[0].actor.address, '127.0.0.1')
})

test('connection details name the ports, and the instance where nothing else does', async () => {
  const { key, username } = await api.instance('snippets')
  const details = await api.send('GET', '/api/v1/instances/snippets/connection?host=mqtt.example', { key })
  assert.deepEqual(details.json.ports[1], { transport: 'tls', port: 8883, url: 'mqtts://mqtt.example:8883' })
  assert.equal(details.json.username, `snippets:${username}`)
  const names = ['esphome', 'homeAssistant', 'mosquittoSub', 'ownTracks', 'tasmota']
  assert.deepEqual(Object.keys(details.json.snippets).sort(), names)
  for (const name of names) assert.match(details.json.snippets[name], /mqtt\.example/)
  const { json } = await api.send('POST', '/api/v1/instances', { body: { name: 'P', plan: 'cat', withPorts: true } })
  const own = await api.send('GET', `/api/v1/instances/${json.instance.id}/connection`)
  assert.deepEqual(
    own.json.ports.map(({ port }: { port: number }) => port - json.instance.portBase),
    [0, 10_000, 20_000],
  )
})

for (const [name, send, status, code, detail] of [
  ['an unknown field', { body: { name: 'a', plan: 'cat', colour: 'red' } }, 422, 'fields_invalid', /colour/],
  ['a wrong field', { body: { name: '', plan: 'cat' } }, 422, 'fields_invalid', /^body: name: /],
  ['a plan that is not there', { body: { name: 'a', plan: 'dog' } }, 422, 'MIDGE_INVALID', /plan/],
  ['no body', {}, 422, 'fields_invalid', /body/],
  ['no JSON', { body: '{"name":' }, 400, 'bad_request', /./],
  ['a name of JavaScript', { body: '{"__proto__":{"x":1}}' }, 400, 'bad_request', /./],
  ['another type', { body: 'x', headers: { 'content-type': 'text/plain' } }, 415, 'media_type_unknown', /./],
  ['a body beyond its bound', { body: `"${'x'.repeat(1024 * 1024)}"` }, 413, 'body_too_large', /./],
] as const) {
  test(`${name} is a problem document`, async () => {
    const answer = await api.send('POST', '/api/v1/instances', send)
    assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/)
    assert.deepEqual([answer.status, answer.json.status, answer.json.code], [status, status, code])
    assert.equal(answer.json.type, `urn:midge:error:${code}`)
    assert.match(answer.json.detail, detail)
  })
}

for (const [path, status, code] of [
  ['/api/v1/instances?colour=red', 400, 'bad_request'],
  ['/api/v1/instances?limit=0', 400, 'bad_request'],
  ['/api/v1/instances?limit=1001', 400, 'bad_request'],
  ['/api/v1/instances/NO!', 400, 'bad_request'],
  ['/api/v1/instances/own/users/a%00b', 400, 'bad_request'],
  ['/api/v1/nothing', 404, 'route_unknown'],
] as const) {
  test(`GET ${path} is ${status}`, async () => {
    const answer = await api.send('GET', path)
    assert.deepEqual([answer.status, answer.json?.code], [status, code])
  })
}

test('a key that asks too often waits; a right key passes while wrong ones are held back', async () => {
  const { key } = await api.instance('busy')
  const answers = await Promise.all(Array.from({ length: 1050 }, () => api.send('GET', '/api/v1/whoami', { key })))
  const refused = answers.filter(({ status }) => status === 429)
  assert.equal(refused.length, 50)
  assert.equal(refused[0]?.json.code, 'rate_limited')
  assert.ok(Number(refused[0]?.headers.get('retry-after')) >= 1)
  let last = 0
  for (let index = 0; index < 40; index++) last = (await api.send('GET', '/api/v1/whoami', { key: 'wrong' })).status
  assert.equal(last, 429)
  assert.equal((await api.send('GET', '/api/v1/whoami')).status, 200)
  api.nowMs += 60_000
})

test('answers carry the headers that keep browsers out of trouble, and no other origin may read them', async () => {
  for (const path of ['/api/v1/whoami', '/api/v1/nothing', '/api/docs']) {
    const { headers } = await api.send('GET', path, { headers: { origin: 'https://evil.example' } })
    assert.equal(headers.get('x-content-type-options'), 'nosniff', path)
    assert.equal(headers.get('cache-control'), 'no-store', path)
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/, path)
    assert.equal(headers.get('x-frame-options'), 'DENY', path)
    assert.equal(headers.get('access-control-allow-origin'), null, path)
  }
  const preflight = await api.send('OPTIONS', '/api/v1/whoami', { key: '' })
  assert.equal(preflight.headers.get('access-control-allow-origin'), null)
})

test('the documentation needs no key, no script and no other host', async () => {
  const page = await api.send('GET', '/api/docs', { key: '' })
  assert.equal(page.status, 200)
  assert.ok(!/<script/i.test(page.text))
  assert.deepEqual(
    [...page.text.matchAll(/(?:src|href)="([^"#][^"]*)"/g)].map(match => match[1]),
    ['/api/docs/style.css', '/api/v1/openapi.json'],
  )
  assert.equal((await api.send('GET', '/api/docs/style.css', { key: '' })).status, 200)
  for (const { path } of await routesOf()) assert.ok(page.text.includes(path), path)
})

test('a node that is not ready says so', async () => {
  api.isStarted = false
  const answer = await api.send('GET', '/api/v1/whoami')
  api.isStarted = true
  assert.deepEqual([answer.status, answer.json.code, answer.headers.get('retry-after')], [503, 'starting', '1'])
})
