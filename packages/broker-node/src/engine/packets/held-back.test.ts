import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { ackPacket, publishPacket, type RawClient } from '../testing/raw-client.ts'
import { Gate, overriding, poll, startBroker, type TestBroker, type TestBrokerOptions } from '../testing/test-broker.ts'

const RECEIVE_MAX = 10
const PAYLOAD = new Uint8Array(1000)
/** One read of a socket, in bytes. */
const READ_BYTES_MAX = 65_536
const [PUBACK, PUBREC, PUBCOMP, PINGRESP, DISCONNECT] = [4, 5, 7, 13, 14]
const PINGREQ = Buffer.from([0xc0, 0])

async function start(t: TestContext, options: TestBrokerOptions = {}): Promise<TestBroker> {
  const limits = { receiveMax: RECEIVE_MAX, inflightInboundMax: RECEIVE_MAX }
  const made = await startBroker({ limits, ...options })
  t.after(() => made.stop())
  return made
}

async function open(node: TestBroker, version: 3 | 4 | 5, clientId = 'client'): Promise<RawClient> {
  const client = await node.dial(version)
  await client.open({ clientId })
  return client
}

function count(client: RawClient, type: number): number {
  return client.frames.filter(frame => frame.type === type).length
}

/** The look at every connection that is taken once a second, so much later. */
function lookAfter(node: TestBroker, milliseconds: number): void {
  for (const connection of node.broker.core.connections) connection.checkTimeouts(Date.now() + milliseconds)
}

for (const version of [3, 4, 5] as const) {
  for (const qos of [1, 2] as const) {
    test(`version ${version}, QoS ${qos}: a client is read no further than its window while the store is slow`, async t => {
      const gate = new Gate()
      const node = await start(t, {
        wrapStore: store =>
          overriding(store, {
            commit: async items => {
              await gate.passed
              return store.commit(items)
            },
          }),
      })
      const client = await open(node, version)
      const messages = 4000
      for (let packetId = 1; packetId <= messages; packetId++) {
        client.send(publishPacket('a', PAYLOAD, { version, qos, packetId, retain: true }))
      }
      const other = await open(node, version, 'other')
      const { counters } = node
      await poll(() => counters.messagesReceived[qos] === RECEIVE_MAX + 1, 'the window to be full')
      // Another client is served meanwhile, and nothing more is read of this one.
      other.send(PINGREQ)
      await other.expect(PINGRESP)
      assert.equal(counters.messagesReceived[qos], RECEIVE_MAX + 1)
      assert.ok(counters.bytesReceived <= 2 * READ_BYTES_MAX, `${counters.bytesReceived} bytes are held`)
      gate.open()
      await client.until(() => count(client, qos === 1 ? PUBACK : PUBREC) === messages)
      assert.equal(count(client, DISCONNECT), 0)
    })
  }
}

test('v5 [MQTT-3.3.4-7] PUBREL may stand behind everything that was written before PUBREC could be seen', async t => {
  const node = await start(t)
  const client = await open(node, 5)
  const messages = RECEIVE_MAX * 20
  for (let packetId = 1; packetId <= messages; packetId++)
    client.send(publishPacket('a', PAYLOAD, { qos: 2, packetId }))
  await client.until(() => count(client, PUBREC) === messages)
  for (let packetId = 1; packetId <= messages; packetId++) client.send(ackPacket(0x62, packetId))
  await client.until(() => count(client, PUBCOMP) === messages)
  // The window is as wide as before.
  for (let packetId = 1; packetId <= RECEIVE_MAX; packetId++) client.send(publishPacket('a', '', { qos: 2, packetId }))
  await client.until(() => count(client, PUBREC) === messages + RECEIVE_MAX)
  lookAfter(node, 5000)
  client.send(PINGREQ)
  await client.until(() => count(client, PINGRESP) === 1)
  assert.equal(count(client, DISCONNECT), 0)
})

test('v5 [MQTT-3.3.4-7] 0x93 is for a client that has every PUBREC and releases nothing for a second', async t => {
  const node = await start(t)
  const client = await open(node, 5)
  for (let packetId = 1; packetId <= RECEIVE_MAX + 1; packetId++)
    client.send(publishPacket('a', '', { qos: 2, packetId }))
  await client.until(() => count(client, PUBREC) === RECEIVE_MAX + 1)
  lookAfter(node, 900)
  client.send(PINGREQ)
  await client.until(() => count(client, PINGRESP) === 1)
  assert.equal(count(client, DISCONNECT), 0)
  lookAfter(node, 1000)
  await client.until(() => client.frames.some(({ type, body }) => type === DISCONNECT && body[0] === 0x93))
  await client.closed()
})

test('before v5 nobody told the client of a window, so it is never closed for one', async t => {
  const node = await start(t)
  const client = await open(node, 4)
  for (let packetId = 1; packetId <= RECEIVE_MAX * 3; packetId++)
    client.send(publishPacket('a', '', { version: 4, qos: 2, packetId }))
  await client.until(() => count(client, PUBREC) === RECEIVE_MAX * 3)
  lookAfter(node, 60_000)
  client.send(PINGREQ)
  await client.until(() => count(client, PINGRESP) === 1)
})
