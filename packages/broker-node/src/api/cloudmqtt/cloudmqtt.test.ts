import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type ApiAnswer, TestApi } from '../testing/test-api.ts'

// Requests as CloudMQTT's clients make them: method, path, headers and body are those that each library sends.

let api: TestApi
before(async () => {
  api = await TestApi.start()
})
after(() => api.stop())

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

/** A client of one library: what it sends with everything. */
class CloudClient {
  private readonly headers: Record<string, string>

  constructor(headers: Record<string, string>) {
    this.headers = headers
  }

  send(
    method: string,
    path: string,
    { body, headers = {} }: { body?: string; headers?: object } = {},
  ): Promise<ApiAnswer> {
    const sent = { headers: { ...this.headers, ...headers }, ...(body === undefined ? {} : { body }) }
    return api.send(method, path, { key: '', ...sent })
  }
}

test("Terraform's provider makes, reads, changes and deletes an instance", async () => {
  // github.com/84codes/go-api by way of dghubble/sling.
  const terraform = new CloudClient({
    authorization: basic(`:${api.operatorKey}`),
    'user-agent': 'Go-http-client/1.1',
    'accept-encoding': 'gzip',
  })
  const json = { 'content-type': 'application/json' }
  const body = '{"name":"My test","plan":"cat","region":"amazon-web-services::eu-west-1"}\n'
  const created = await terraform.send('POST', '/api/instances', { headers: json, body })
  assert.equal(created.status, 200)
  // It takes the id as a number and asks by its decimal text until the instance is ready.
  assert.equal(Number.isInteger(created.json.id), true)
  const path = `/api/instances/${created.json.id}`
  const ready = await terraform.send('GET', path)
  assert.deepEqual([ready.status, ready.json.ready], [200, true])
  // All that it keeps as attributes comes from this answer.
  assert.match(ready.json.url, /^mqtt:\/\/[a-z]{8}:[\w]+@127\.0\.0\.1:\d+$/)
  assert.equal(ready.json.apikey, created.json.apikey)
  assert.deepEqual(
    [ready.json.name, ready.json.plan, ready.json.region],
    ['My test', 'cat', 'amazon-web-services::eu-west-1'],
  )
  const changed = await terraform.send('PUT', path, { headers: json, body: '{"name":"New","plan":"hedgehog"}\n' })
  assert.equal(changed.status, 200)
  // A refresh overwrites what it finds in an answer: secrets that are not known any more are left out of it.
  api.nowMs += 61_000
  const refreshed = await terraform.send('GET', path)
  assert.deepEqual(Object.keys(refreshed.json).sort(), ['id', 'name', 'plan', 'ready', 'region', 'tags'])
  assert.deepEqual([refreshed.json.name, refreshed.json.plan], ['New', 'hedgehog'])
  assert.equal((await terraform.send('DELETE', path)).status, 204)
  assert.equal((await terraform.send('GET', path)).status, 404)
})

test('only who made an instance reads its secrets, and only for a minute', async () => {
  const maker = new CloudClient({ authorization: basic(`:${api.operatorKey}`) })
  const { json } = await maker.send('POST', '/api/instances', { headers: FORM, body: 'name=form&plan=cat' })
  const { key } = await api.plane.apiKeys.create({ label: 'o', scope: 'operator' }, { kind: 'node', id: 't' })
  const other = new CloudClient({ authorization: basic(`:${key}`) })
  assert.equal((await other.send('GET', `/api/instances/${json.id}`)).json.apikey, undefined)
  const listed = await maker.send('GET', '/api/instances')
  assert.deepEqual(Object.keys(listed.json.find(({ id }: { id: number }) => id === json.id)), [
    'id',
    'name',
    'plan',
    'region',
  ])
  assert.ok(Array.isArray((await maker.send('GET', '/api/regions')).json))
  const own = new CloudClient({ authorization: basic(`:${json.apikey}`) })
  assert.equal((await own.send('GET', '/api/instances')).status, 403)
})

test('flanjersi/cloudmqtt-rest-api-java', async () => {
  const { key } = await api.instance('java')
  // Its constructor takes a UUID and nothing else.
  assert.match(key, /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  const java = new CloudClient({ authorization: basic(`:${key}`), 'user-agent': 'okhttp/2.7.5' })
  const json = { 'content-type': 'application/json; charset=utf-8' }
  const users = await java.send('GET', '/api/user')
  // It refuses an answer whose type is not JSON.
  assert.match(users.headers.get('content-type') ?? '', /^application\/json/)
  assert.deepEqual([users.status, users.json], [200, []])
  const user = '{"username":"phone1","password":"secret"}'
  assert.equal((await java.send('POST', '/api/user', { headers: json, body: user })).status, 204)
  assert.equal((await java.send('POST', '/api/user', { headers: json, body: user })).status, 409)
  assert.deepEqual((await java.send('GET', '/api/user')).json, [{ username: 'phone1' }])
  const topic = '{"type":"topic","username":"phone1","pattern":"a/#","read":true,"write":false}'
  assert.equal((await java.send('POST', '/api/acl', { headers: json, body: topic })).status, 204)
  const pattern = '{"type":"pattern","username":null,"pattern":"sensor/%u","read":false,"write":true}'
  assert.equal((await java.send('POST', '/api/acl', { headers: json, body: pattern })).status, 204)
  const acls = (await java.send('GET', '/api/acl')).json.items
  // Its classes refuse fields that they do not know, and keep ids as int.
  for (const acl of acls) {
    assert.deepEqual(Object.keys(acl).sort(), ['id', 'pattern', 'read', 'type', 'user', 'write'])
    assert.ok(Number.isInteger(acl.id) && acl.id >= 0 && acl.id < 2 ** 31)
  }
  assert.deepEqual(
    acls.map(({ type, user }: { type: string; user: string | null }) => [type, user]),
    [
      ['topic', 'phone1'],
      ['pattern', null],
    ],
  )
  assert.deepEqual((await java.send('GET', '/api/user/phone1')).json, {
    username: 'phone1',
    acls: [{ topic: 'a/#', read: true, write: false }],
  })
  const password = { headers: json, body: '{"password":"other"}' }
  assert.equal((await java.send('PUT', '/api/user/phone1', password)).status, 204)
  assert.equal(api.plane.users.find('java', 'phone1')?.proof?.hash, 'hash of other')
  // It names the pattern as `topic` when it removes a rule, also one for all users.
  const remove = (body: string) => java.send('DELETE', '/api/acl', { headers: json, body })
  assert.equal((await remove('{"username":"phone1","topic":"a/#"}')).status, 204)
  assert.equal((await remove('{"username":null,"topic":"sensor/%u"}')).status, 204)
  assert.equal((await remove('{"username":"phone1","topic":"a/#"}')).status, 404)
  assert.equal((await java.send('DELETE', '/api/user/phone1')).status, 204)
  assert.equal((await java.send('GET', '/api/user/phone1')).status, 404)
  assert.equal((await java.send('POST', '/api/instance/restart', { headers: json, body: '' })).status, 204)
  assert.ok(api.deeds.includes('restart java'))
})

test('OliverRhyme/cloudmqtt-kotlin', async () => {
  const { key } = await api.instance('kotlin')
  const shared = { accept: 'application/json', 'accept-charset': 'UTF-8', 'user-agent': 'Ktor client' }
  const json = { 'content-type': 'application/json' }
  // It may ask without credentials first, and has to be told how to send them.
  const asked = await new CloudClient(shared).send('GET', '/api/user/phone1')
  assert.equal(asked.status, 401)
  assert.match(asked.headers.get('www-authenticate') ?? '', /^Basic realm="/)
  const kotlin = new CloudClient({ ...shared, authorization: basic(`:${key}`) })
  const body = '{"username":"phone1","password":"secret"}'
  assert.equal((await kotlin.send('POST', '/api/user', { headers: json, body })).status, 204)
  assert.deepEqual((await kotlin.send('GET', '/api/user/phone1')).json, { username: 'phone1', acls: [] })
  // The new password is the whole body, as JSON or, with other versions of its serializer, as it is.
  for (const [text, password] of [
    ['"quoted"', 'quoted'],
    ['bare=word', 'bare=word'],
  ] as const) {
    assert.equal((await kotlin.send('PUT', '/api/user/phone1', { headers: json, body: text })).status, 204)
    assert.equal(api.plane.users.find('kotlin', 'phone1')?.proof?.hash, `hash of ${password}`)
  }
  assert.equal((await kotlin.send('DELETE', '/api/user/phone1')).status, 204)
})

test('wimanwifi/go-cloudmqtt, with the paths and credentials of before 2018', async () => {
  const { username, password } = await api.instance('gopher')
  const go = new CloudClient({
    authorization: basic(`${username}:${password}`),
    'content-type': 'application/json',
    'user-agent': 'Go-http-client/1.1',
  })
  assert.equal((await go.send('POST', '/user', { body: '{"username":"dev","password":"x"}\n' })).status, 204)
  assert.deepEqual((await go.send('GET', '/user')).json, [{ username: 'dev' }])
  const acl = '{"topic":"a/+","read":true,"write":true,"username":"dev"}\n'
  assert.equal((await go.send('POST', '/acl', { body: acl })).status, 204)
  assert.deepEqual((await go.send('GET', '/acl')).json, [{ topic: 'a/+', read: true, write: true, username: 'dev' }])
  assert.equal((await go.send('DELETE', '/acl', { body: '{"username":"dev","topic":"a/+"}\n' })).status, 204)
  assert.deepEqual((await go.send('GET', '/acl')).json, [])
  assert.equal((await go.send('DELETE', '/user/dev')).status, 204)
  const wrong = new CloudClient({ authorization: basic(`${username}:guess`) })
  assert.equal((await wrong.send('GET', '/user')).status, 401)
})

test('what the documentation of CloudMQTT shows with curl', async () => {
  const { key } = await api.instance('curl')
  const curl = new CloudClient({ authorization: basic(`:${key}`), 'user-agent': 'curl/7.58.0', accept: '*/*' })
  assert.equal(
    (await curl.send('POST', '/api/user', { headers: FORM, body: 'username=test1&password=12%203' })).status,
    204,
  )
  assert.equal(api.plane.users.find('curl', 'test1')?.proof?.hash, 'hash of 12 3')
  const moved = await curl.send('PUT', '/api/user', { body: '{"username":"test1","password":"n","extra":1}' })
  assert.equal(moved.status, 204)
  for (let index = 2; index <= 5; index++)
    await curl.send('POST', '/api/user', { headers: FORM, body: `username=test${index}&password=x` })
  assert.deepEqual((await curl.send('GET', '/api/user?limit=2&page=2&query=test')).json, [
    { username: 'test3' },
    { username: 'test4' },
  ])
  assert.deepEqual((await curl.send('GET', '/api/user/')).json.length, 5)
  const rule = 'type=topic&username=test1&pattern=a%2F%23&read=true&write=false'
  assert.equal((await curl.send('POST', '/api/acl', { headers: FORM, body: rule })).status, 204)
  assert.equal(
    (await curl.send('POST', '/api/acl', { headers: FORM, body: rule.replace('write=false', 'write=true') })).status,
    204,
  )
  const [acl, ...more] = (await curl.send('GET', '/api/acl?query=test1')).json.items
  assert.deepEqual([acl.write, more.length], [true, 0])
  assert.equal((await curl.send('DELETE', `/api/acl/${acl.id}`)).status, 204)
  await curl.send('POST', '/api/acl', { headers: FORM, body: rule })
  // A proxy that drops bodies of DELETE leaves the query.
  assert.equal((await curl.send('DELETE', '/api/acl?username=test1&pattern=a%2F%23')).status, 204)
  for (const [body, status] of [
    ['{"username":"x"}', 400],
    ['{', 400],
    ['nonsense', 400],
  ] as const) {
    const answer = await curl.send('POST', '/api/user', { body })
    assert.equal(answer.status, status, body)
    assert.equal(typeof answer.json.error, 'string')
  }
  api.views.connectionRows.push({
    ...{
      clientId: 'c1',
      username: 'test1',
      nodeId: 'n1',
      address: '192.0.2.1',
      port: 1,
      transport: 'tls',
      protocol: 4,
    },
    ...{ keepAliveSeconds: 60, sessionExpirySeconds: 0, connectedAtMs: 0, subscriptionCount: 0 },
  })
  const [connection] = (await curl.send('GET', '/api/info/connections')).json
  assert.deepEqual([connection.client_id, connection.username, connection.tls], ['c1', 'test1', true])
  assert.equal((await curl.send('POST', '/api/instance/reset')).status, 204)
  assert.ok(api.deeds.includes('wipe curl'))
})

test('a key that may read changes nothing, and wrong passwords are held back', async () => {
  const { key, username } = await api.instance('guarded')
  const { json } = await api.send('POST', '/api/v1/instances/guarded/api-keys', {
    key,
    body: { label: 'r', scope: 'instance:read' },
  })
  const reader = new CloudClient({ authorization: basic(`:${json.key}`) })
  assert.equal((await reader.send('GET', '/api/user')).status, 200)
  assert.equal((await reader.send('POST', '/api/user', { body: '{"username":"a","password":"b"}' })).status, 403)
  let last = 0
  for (let index = 0; index < 40; index++) {
    last = (await new CloudClient({ authorization: basic(`${username}:${index}`) }).send('GET', '/user')).status
  }
  assert.equal(last, 429)
})
