import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { ApiClient } from '../support/api-client.ts'
import type { TestClient } from '../support/clients.ts'
import { MidgeCluster } from '../support/midge-cluster.ts'
import { killLeftovers } from '../support/test-process.ts'
import { until } from '../support/until.ts'

const KEY = 'midge_operator_key-of-this-test'

let cluster: MidgeCluster
let nodes: ApiClient[]
before(async () => {
  cluster = await MidgeCluster.start(3, { MIDGE_BOOTSTRAP_API_KEY: KEY })
  nodes = cluster.nodes.map(node => new ApiClient(node, KEY))
})
after(async () => {
  await cluster.stop()
  await killLeftovers()
})

function api(index: number): ApiClient {
  return nodes[index] ?? assert.fail()
}

it('what is written on one node is there on the others when it is answered', async () => {
  const made = await api(0).send('POST', '/instances', { id: 'home', name: 'Home', plan: 'leopard' })
  assert.equal(made.status, 201)
  for (const node of [1, 2]) assert.equal((await api(node).send('GET', '/instances/home')).json.name, 'Home')
  const own = cluster.nodes.map(node => new ApiClient(node, made.json.apiKey))
  for (let round = 0; round < 30; round++) {
    const [writer, reader] = [own[round % 3], own[(round + 1) % 3]]
    const username = `user${round}`
    assert.equal((await writer?.send('POST', '/instances/home/users', { username }))?.status, 201)
    assert.equal((await reader?.send('GET', `/instances/home/users/${username}`))?.status, 200)
    assert.equal((await writer?.send('DELETE', `/instances/home/users/${username}`))?.status, 204)
    assert.equal((await reader?.send('GET', `/instances/home/users/${username}`))?.status, 404)
  }
  const all = await Promise.all(
    [0, 1, 2].map(node => api(node).send('POST', '/instances/home/users', { username: 'once' })),
  )
  assert.deepEqual(all.map(({ status }) => status).sort(), [201, 409, 409])
})

it('a user logs in on every node as soon as it is made, and on none once it is removed', async () => {
  const { json } = await api(0).send('POST', '/instances', { id: 'login', name: 'Login', plan: 'leopard' })
  const own = new ApiClient(cluster.node(1), json.apiKey)
  await own.send('POST', '/instances/login/users', { username: 'ann', password: 'secret' })
  for (const index of [0, 1, 2]) {
    const client = await cluster.connect(index, { username: 'login:ann', password: 'secret', clientId: `c${index}` })
    await client.end()
  }
  assert.equal((await own.send('DELETE', '/instances/login/users/ann')).status, 204)
  for (const index of [0, 1, 2]) {
    const refused = cluster.connect(index, { username: 'login:ann', password: 'secret', clientId: `c${index}` })
    await assert.rejects(refused)
  }
})

it("a key of one instance is good on every node, and CloudMQTT's paths answer there too", async () => {
  const { json } = await api(0).send('POST', '/api/instances', { name: 'C', plan: 'cat', region: 'local' })
  const own = cluster.nodes.map(node => new ApiClient(node, json.apikey))
  assert.equal((await own[1]?.send('POST', '/api/user', { username: 'dev', password: 'x' }))?.status, 204)
  assert.deepEqual((await own[2]?.send('GET', '/api/user'))?.json, [{ username: 'dev' }])
  assert.equal((await api(1).send('DELETE', `/api/instances/${json.id}`)).status, 204)
  assert.equal((await own[0]?.send('GET', '/api/user'))?.status, 401)
})

/** An instance with a client on each node, whose session lasts. */
async function withClients(id: string): Promise<{ own: ApiClient[]; clients: TestClient[] }> {
  const { json } = await api(0).send('POST', '/instances', { id, name: id, plan: 'leopard' })
  const own = cluster.nodes.map(node => new ApiClient(node, json.apiKey))
  const login = { username: `${id}:${json.username}`, password: json.password, clean: false }
  const clients = await Promise.all(
    cluster.nodes.map((_, index) => cluster.connect(index, { ...login, clientId: `client${index}` })),
  )
  return { own, clients }
}

it('every node shows all connections, page by page, and closes any of them', async () => {
  const { own, clients } = await withClients('shown')
  const names = ['client0', 'client1', 'client2']
  for (const node of own) {
    const listed: string[] = []
    let cursor: string | undefined
    do {
      const where = cursor === undefined ? '' : `&cursor=${cursor}`
      const { json } = await node.send('GET', `/instances/shown/connections?limit=1${where}`)
      listed.push(...json.items.map(({ clientId }: { clientId: string }) => clientId))
      cursor = json.cursor
    } while (cursor !== undefined)
    assert.deepEqual(listed.sort(), names)
    assert.equal((await node.send('GET', '/instances/shown/statistics')).json.connections, 3)
  }
  const one = await own[0]?.send('GET', '/instances/shown/connections/client2')
  assert.deepEqual([one?.json.nodeId, one?.json.protocol, one?.json.transport], [cluster.node(2).name, 4, 'tcp'])
  assert.equal((await own[0]?.send('DELETE', '/instances/shown/connections/client2'))?.status, 204)
  await until('the client to be closed', () => clients[2]?.isClosed === true)
  assert.equal((await own[1]?.send('GET', '/instances/shown/connections/client2'))?.status, 404)
  assert.equal((await own[1]?.send('POST', '/instances/shown/restart'))?.status, 204)
  await until('all to be closed', () => clients.every(client => client.isClosed))
  const nodes = await api(1).send('GET', '/nodes')
  assert.deepEqual(
    nodes.json.items.map(({ nodeId, ready }: { nodeId: string; ready: boolean }) => [nodeId, ready]),
    cluster.nodes.map(({ name }) => [name, true]),
  )
})

it('what is published by one node is retained, queued and seen by way of all, until it is wiped', async () => {
  const { own, clients } = await withClients('kept')
  const [first, second, third] = own
  assert.ok(first && second && third)
  await clients[1]?.subscribe('a/#', 1)
  await clients[2]?.subscribe('b/#', 1)
  const subscriptions = await third.send('GET', '/instances/kept/subscriptions')
  assert.deepEqual(
    subscriptions.json.items.map((row: { clientId: string; topicFilter: string }) => [row.clientId, row.topicFilter]),
    [
      ['client1', 'a/#'],
      ['client2', 'b/#'],
    ],
  )
  await clients[2]?.end()
  const message = { topic: 'b/x', payload: '/wA=', encoding: 'base64', qos: 1, retain: true, contentType: 'x/y' }
  assert.equal((await first.send('POST', '/instances/kept/publish', message)).status, 204)
  const messages = ['1', '2', '3'].map(payload => ({ topic: 'a/x', payload, qos: 1 }))
  assert.equal((await first.send('POST', '/instances/kept/publish/bulk', { messages })).status, 204)
  await until('the messages', () => clients[1]?.received.length === 3)
  assert.deepEqual(
    clients[1]?.received.map(({ text }) => text),
    ['1', '2', '3'],
  )
  const session = await second.send('GET', '/instances/kept/sessions/client2')
  assert.deepEqual([session.json.queueMessages, session.json.nodeId, session.json.subscriptionCount], [1, undefined, 1])
  const queue = await third.send('GET', '/instances/kept/sessions/client2/queue')
  assert.deepEqual([queue.json.items[0].topic, queue.json.items[0].payload], ['b/x', '/wA='])
  const retained = await third.send('GET', '/instances/kept/retained?filter=b/%23')
  assert.deepEqual([retained.json.items.length, retained.json.items[0].encoding], [1, 'base64'])
  const exported = await third.send('GET', '/instances/kept/retained/export')
  assert.equal((await second.send('DELETE', '/instances/kept/retained?filter=%23')).json.count, 1)
  assert.equal((await first.send('GET', '/instances/kept/retained/message?topic=b/x')).status, 404)
  const imported = await fetch(`http://127.0.0.1:${cluster.node(0).ports.http}/api/v1/instances/kept/retained/import`, {
    method: 'POST',
    headers: { authorization: first.authorization, 'content-type': 'application/x-ndjson' },
    body: exported.text,
  })
  assert.deepEqual(await imported.json(), { count: 1 })
  assert.equal((await first.send('GET', '/instances/kept/retained/message?topic=b/x')).json.payload, '/wA=')
  assert.equal((await second.send('DELETE', '/instances/kept/sessions/client1/queue')).status, 422)
  assert.equal((await second.send('DELETE', '/instances/kept/sessions/client1')).status, 204)
  await until('its client to be closed', () => clients[1]?.isClosed === true)
  assert.equal((await third.send('GET', '/instances/kept/sessions/client1')).status, 404)
  assert.equal((await third.send('POST', '/instances/kept/reset')).status, 204)
  assert.deepEqual((await first.send('GET', '/instances/kept/sessions')).json.items, [])
  assert.deepEqual((await first.send('GET', '/instances/kept/subscriptions')).json.items, [])
  assert.deepEqual((await first.send('GET', '/instances/kept/retained')).json.items, [])
  assert.equal((await api(2).send('DELETE', '/instances/kept')).status, 204)
})

it('the log tells what happened on every node, and goes on live', async () => {
  const { json } = await api(0).send('POST', '/instances', { id: 'told', name: 'Told', plan: 'leopard' })
  const own = cluster.nodes.map(node => new ApiClient(node, json.apiKey))
  const gone = new AbortController()
  const live = await fetch(`http://127.0.0.1:${cluster.node(2).ports.http}/api/v1/instances/told/log/live`, {
    headers: { authorization: `Bearer ${json.apiKey}` },
    signal: gone.signal,
  })
  const reader = live.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = (await reader?.read())?.value ?? ''
  const username = `told:${json.username}`
  await assert.rejects(cluster.connect(0, { username, password: 'wrong', clientId: 'intruder' }))
  const client = await cluster.connect(1, { username, password: json.password, clientId: 'friend' })
  while (!text.includes('friend')) text += (await reader?.read())?.value ?? ''
  gone.abort()
  await client.end()
  assert.match(text, /event: connected\ndata: \{.*"clientId":"friend"/)
  await until('the whole story', async () => {
    const { items } = (await own[2]?.send('GET', '/instances/told/log'))?.json ?? { items: [] }
    const story = items.map(({ event, clientId }: { event: string; clientId: string }) => `${clientId} ${event}`)
    return story.join() === 'intruder refused,friend connected,friend disconnected'
  })
  const { items } = (await own[0]?.send('GET', '/instances/told/log'))?.json ?? { items: [] }
  assert.match(items[0].text, /wrong password/)
  const rest = await own[1]?.send('GET', `/instances/told/log?since=${encodeURIComponent(items[1].id)}`)
  assert.deepEqual(
    rest?.json.items.map(({ event }: { event: string }) => event),
    ['disconnected'],
  )
})
