import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { TestApi } from './testing/test-api.ts'

const HOME = '/api/v1/instances/home'

let api: TestApi
let key: string
before(async () => {
  api = await TestApi.start()
  key = (await api.instance('home')).key
})
after(() => api.stop())

const at = 1_700_000_000_000

test('connections are listed, shown and closed', async () => {
  for (const clientId of ['a', 'b/ä', 'c']) {
    const who = {
      clientId,
      username: clientId === 'a' ? undefined : 'ann',
      nodeId: 'n1',
      address: '192.0.2.1',
      port: 1,
    }
    const terms = {
      transport: 'tls',
      protocol: 5,
      keepAliveSeconds: 60,
      sessionExpirySeconds: 0,
    } as const
    api.views.connectionRows.push({ ...who, ...terms, connectedAtMs: at, subscriptionCount: 2 })
  }
  const first = await api.send('GET', `${HOME}/connections?limit=2`, { key })
  assert.deepEqual([first.json.items.length, first.json.items[0].username], [2, undefined])
  const second = await api.send('GET', `${HOME}/connections?limit=2&cursor=${first.json.cursor}`, { key })
  assert.deepEqual([second.json.items.length, second.json.cursor], [1, undefined])
  const path = `${HOME}/connections/${encodeURIComponent('b/ä')}`
  assert.equal((await api.send('GET', path, { key })).json.username, 'ann')
  assert.equal((await api.send('DELETE', path, { key })).status, 204)
  assert.equal((await api.send('DELETE', `${HOME}/connections/nobody`, { key })).status, 404)
  assert.ok(api.deeds.includes('kick b/ä of home'))
  const longest = encodeURIComponent('漢'.repeat(1024))
  assert.equal((await api.send('GET', `${HOME}/connections/${longest}`, { key })).status, 404)
})

test('sessions show their queue with its content, and are purged and ended', async () => {
  const counts = { subscriptionCount: 1, queueMessages: 2, queueBytes: 9, inboundCount: 0 }
  api.views.sessionRows.push({
    ...{ clientId: 's', username: undefined, nodeId: undefined, expirySeconds: 60 },
    ...counts,
  })
  const message = { topic: 't', qos: 1, retain: false, isReleased: false } as const
  api.views.queueRows.push({ ...message, seq: 1, payload: Buffer.from('grüß') })
  api.views.queueRows.push({ ...message, seq: 2, payload: Uint8Array.of(255, 0) })
  assert.equal((await api.send('GET', `${HOME}/sessions`, { key })).json.items.length, 1)
  assert.equal((await api.send('GET', `${HOME}/sessions/s`, { key })).json.queueMessages, 2)
  assert.equal((await api.send('GET', `${HOME}/sessions/x`, { key })).status, 404)
  const queue = await api.send('GET', `${HOME}/sessions/s/queue`, { key })
  assert.deepEqual(
    queue.json.items.map((row: Record<string, unknown>) => [row['payload'], row['encoding'], row['payloadBytes']]),
    [
      ['grüß', 'utf8', 6],
      ['/wA=', 'base64', 2],
    ],
  )
  assert.equal((await api.send('DELETE', `${HOME}/sessions/s/queue`, { key })).status, 204)
  assert.equal((await api.send('DELETE', `${HOME}/sessions/s`, { key })).status, 204)
  assert.deepEqual(
    api.deeds.filter(deed => /^(purge|delete|import)/.test(deed)),
    ['purge s of home', 'delete s of home'],
  )
})

test('a session is taken out and put in as lines of JSON', async () => {
  const out = await api.send('GET', `${HOME}/sessions/${encodeURIComponent('größe')}/export`, { key })
  assert.equal(out.headers.get('content-type'), 'application/x-ndjson')
  const line = '{"session":{"clientId":"größe"}}'
  assert.equal(out.text, `${line}\n`)
  const lines = { key, body: out.text, headers: { 'content-type': 'application/x-ndjson' } }
  assert.deepEqual((await api.send('POST', `${HOME}/sessions/import`, lines)).json, { clientId: line })
})

test('subscriptions are listed, also of one client', async () => {
  const options = {
    qos: 1,
    noLocal: false,
    retainAsPublished: true,
    retainHandling: 2,
    subscriptionId: 0,
  } as const
  for (const clientId of ['a', 'b']) api.views.subscriptionRows.push({ clientId, topicFilter: 'x/#', ...options })
  assert.equal((await api.send('GET', `${HOME}/subscriptions`, { key })).json.items.length, 2)
  const own = await api.send('GET', `${HOME}/subscriptions?clientId=b`, { key })
  assert.deepEqual(own.json.items, [
    {
      clientId: 'b',
      topicFilter: 'x/#',
      qos: 1,
      noLocal: false,
      retainAsPublished: true,
      retainHandling: 2,
      subscriptionId: 0,
    },
  ])
})

test('retained messages are listed by filter, shown by topic, deleted, taken out and put in', async () => {
  const row = { topic: 'a/b', qos: 0, payload: Buffer.from('{}'), expiresAtMs: undefined } as const
  api.views.retainedRows.push(row)
  const listed = await api.send('GET', `${HOME}/retained?filter=${encodeURIComponent('a/#')}`, { key })
  assert.equal(listed.json.items[0].payload, '{}')
  assert.ok(api.deeds.includes('retained a/#'))
  assert.equal((await api.send('GET', `${HOME}/retained/message?topic=a%2Fb`, { key })).json.topic, 'a/b')
  assert.equal((await api.send('GET', `${HOME}/retained/message?topic=x`, { key })).status, 404)
  // Nobody loses all of them by leaving something out.
  assert.equal((await api.send('DELETE', `${HOME}/retained`, { key })).status, 400)
  assert.deepEqual((await api.send('DELETE', `${HOME}/retained?filter=a%2F%2B`, { key })).json, { count: 1 })
  assert.ok(api.deeds.includes('clear a/+ of home'))
  const lines = await api.send('GET', `${HOME}/retained/export`, { key })
  const headers = { 'content-type': 'application/x-ndjson' }
  const put = await api.send('POST', `${HOME}/retained/import`, { key, headers, body: lines.text })
  assert.deepEqual([put.status, put.json], [200, { count: 1 }])
  const binary = await fetch(`http://127.0.0.1:${api.port}${HOME}/retained/import`, {
    method: 'POST',
    headers: { ...headers, authorization: `Bearer ${key}` },
    body: Uint8Array.of(255, 254),
  })
  assert.equal(binary.status, 400)
})

test('messages are published as text, as base64, with properties, and many at once', async () => {
  const send = (path: string, body: object) => api.send('POST', `${HOME}/${path}`, { key, body })
  assert.equal((await send('publish', { topic: 'a', payload: 'grüß', qos: 1, retain: true })).status, 204)
  const extra = { contentType: 'x/y', correlationData: 'AQI=', userProperties: [['k', 'v']], messageExpirySeconds: 5 }
  assert.equal((await send('publish', { topic: 'b', payload: '/wA=', encoding: 'base64', ...extra })).status, 204)
  assert.equal((await send('publish/bulk', { messages: [{ topic: 'c' }, { topic: 'd' }] })).status, 204)
  assert.equal((await send('publish', { topic: 'b', payload: '/w', encoding: 'base64' })).status, 422)
  assert.equal((await send('publish', { topic: 'b', qos: 3 })).status, 422)
  const [first, second, ...rest] = api.views.published
  assert.deepEqual(first, { topic: 'a', qos: 1, retain: true, payload: Buffer.from('grüß') })
  assert.deepEqual([...(second?.payload ?? [])], [255, 0])
  assert.deepEqual([...(second?.correlationData ?? [])], [1, 2])
  assert.deepEqual(second?.userProperties, [['k', 'v']])
  assert.deepEqual(
    rest.map(({ topic }) => topic),
    ['c', 'd'],
  )
})

const entry = (id: string) => ({
  ...{ id, atMs: at, nodeId: 'n1', event: 'bad_credentials', clientId: 'c', username: undefined },
  ...{ address: '192.0.2.1', text: 'wrong password\nor user' },
})

test('the log is read from where one was, and followed live until the reader goes', async () => {
  api.views.tell(entry('1'))
  api.views.tell(entry('2'))
  const { json } = await api.send('GET', `${HOME}/log?since=1`, { key })
  assert.deepEqual(
    json.items.map(({ id }: { id: string }) => id),
    ['2'],
  )
  const gone = new AbortController()
  const live = await fetch(`http://127.0.0.1:${api.port}${HOME}/log/live`, {
    headers: { authorization: `Bearer ${key}` },
    signal: gone.signal,
  })
  assert.match(live.headers.get('content-type') ?? '', /^text\/event-stream/)
  const reader = live.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (!text.includes('here it begins')) text += (await reader?.read())?.value ?? ''
  assert.equal(api.views.followers, 1)
  api.views.tell(entry('3'))
  while (!text.includes('id: 3')) text += (await reader?.read())?.value ?? ''
  const [event] = text.split('\n\n').filter(part => part.startsWith('id:'))
  assert.match(event ?? '', /^id: 3\nevent: bad_credentials\ndata: \{"id":"3".*wrong password\\nor user"\}$/)
  gone.abort()
  const deadline = Date.now() + 5000
  while (api.views.followers > 0 && Date.now() < deadline) await new Promise(resolve => setImmediate(resolve))
  assert.equal(api.views.followers, 0)
})

test('statistics, nodes and drain', async () => {
  const { json } = await api.send('GET', `${HOME}/statistics`, { key })
  assert.deepEqual([json.connections, json.users, json.rules, json.limits.connections], [7, 1, 0, null])
  assert.equal((await api.send('GET', '/api/v1/nodes')).json.items[0].nodeId, 'n1')
  assert.equal((await api.send('POST', '/api/v1/nodes/n1/drain')).status, 202)
  assert.equal((await api.send('POST', '/api/v1/nodes/n2/drain')).status, 404)
})
