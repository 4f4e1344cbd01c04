import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { publishPacket, type RawClient } from '../engine/testing/raw-client.ts'
import { poll } from '../engine/testing/test-broker.ts'
import type { Webhook } from '../tenancy/model/webhook.ts'
import type { Actor } from '../tenancy/tenancy.ts'
import { WebhookServer } from '../webhooks/testing/webhook-server.ts'
import { TenantCluster } from './testing/tenant-cluster.ts'

const ACTOR: Actor = { kind: 'key', id: 'test' }
const INSTANCES = ['a', 'a-b']
let cluster: TenantCluster
let server: WebhookServer

before(async () => {
  server = await WebhookServer.start()
  cluster = await TenantCluster.start(2)
  const { instances, users } = cluster.node.tenancy
  for (const id of INSTANCES) {
    await instances.create({ id, name: id, plan: 'unlimited' }, ACTOR)
    await users.create(id, 'ann', { secret: { password: 'pass' }, isUnrestricted: true }, ACTOR)
  }
})
after(async () => {
  await cluster?.stop()
  server?.stop()
})

function webhookOf(change: Partial<Webhook>): Webhook {
  const rest = { id: 'w', name: 'w', isEnabled: true, url: server.url, secret: WebhookServer.secret, createdAtMs: 0 }
  return { ...rest, events: ['message.published'], ...change }
}

function enter(node: number, instance: string, clientId: string): Promise<RawClient> {
  return cluster.enter(node, 'name', instance, { username: 'ann', password: 'pass', clientId })
}

async function publish(client: RawClient, topic: string, payload: string, qos: 0 | 1 | 2): Promise<void> {
  const type = qos === 1 ? 4 : 5
  const before = client.frames.filter(frame => frame.type === type).length
  client.send(publishPacket(topic, payload, { qos, packetId: 9, version: client.version }))
  if (qos > 0) await client.until(() => client.frames.filter(frame => frame.type === type).length > before)
}

test('each message of the filter and each client is told of once, whichever node it was on, and no other instance', async () => {
  const events: Webhook['events'] = ['message.published', 'client.connected', 'client.disconnected']
  await cluster.node.tenancy.webhooks.put('a', webhookOf({ events, topicFilter: 'news/#' }), ACTOR)
  // Subscribers on both nodes, so that every message goes over.
  for (const node of [0, 1]) await (await enter(node, 'a', `all-${node}`)).subscribe([{ filter: '#', options: 2 }])
  for (const node of [0, 1]) {
    const client = await enter(node, 'a', `publisher-${node}`)
    for (const qos of [0, 1, 2] as const) await publish(client, 'news/x', `${node}-${qos}`, qos)
    await publish(client, 'other', 'no', 1)
    await publish(await enter(node, 'a-b', 'foreign'), 'news/x', 'foreign', 1)
    await publish(client, 'news/end', `end-${node}`, 1)
    client.stream.destroy()
  }
  const left = (): unknown[] => server.events.filter(({ event }) => event === 'client.disconnected')
  await poll(
    () => left().length === 2 && server.events.filter(({ topic }) => topic === 'news/end').length === 2,
    'all is told',
  )
  const messages = server.events.filter(({ event }) => event === 'message.published')
  const expected = [0, 1].flatMap(node => [`${node}-0`, `${node}-1`, `${node}-2`, `end-${node}`])
  assert.deepEqual(messages.map(({ payload }) => payload).toSorted(), expected.toSorted())
  assert.deepEqual(
    messages.map(({ clientId }) => clientId),
    messages.map(
      ({ payload }) =>
        `publisher-${String(payload)
          .match(/^(\d)-|-(\d)$/)
          ?.slice(1)
          .join('')}`,
    ),
  )
  const connected = server.events.filter(({ event }) => event === 'client.connected').map(({ clientId }) => clientId)
  assert.deepEqual(connected.toSorted(), ['all-0', 'all-1', 'publisher-0', 'publisher-1'])
  const ids = server.events.map(({ id }) => id)
  assert.equal(new Set(ids).size, ids.length)
  assert.equal(server.badCount, 0)
})

test('a webhook that is removed is told nothing more, and one that hangs does not hold up its instance', async () => {
  await cluster.node.tenancy.webhooks.remove('a', 'w', ACTOR)
  const before = server.requestCount
  const client = await enter(1, 'a', 'later')
  await publish(client, 'news/x', 'later', 1)
  await cluster.node.tenancy.webhooks.put('a', webhookOf({ id: 'hung' }), ACTOR)
  server.hangs = true
  for (let n = 0; n < 300; n++) await publish(client, 'news/x', String(n), 1)
  await poll(() => server.requestCount > before, 'a request')
  for (let n = 0; n < 300; n++) await publish(client, 'news/x', String(n), 1)
  assert.equal(server.requestCount, before + 1)
})
