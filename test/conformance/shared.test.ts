import assert from 'node:assert/strict'
import { conform, durable, eachOf, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, type Property, Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage, type RawClient, untilMarker } from '../support/raw-client.ts'

useBroker()

/** Publishes `count` numbered messages. */
async function publishMany(publisher: RawClient, topic: string, count: number, qos: number): Promise<void> {
  for (let i = 0; i < count; i++) await publisher.publish(topic, `${i}`, { qos })
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i}`)
}

function sorted(texts: readonly string[]): string[] {
  return [...texts].sort((a, b) => Number(a) - Number(b))
}

const illFormed = [
  '$share//a',
  '$share/g',
  '$share/g/',
  '$share/',
  '$share/+/a',
  '$share/#/a',
  '$share/g+/a',
  '$share/a#b/a',
]

conform(
  ['v5 MQTT-4.8.2-1 MQTT-4.8.2-2 MQTT-4.13.1-1'],
  'a share name needs a character, no wildcard, and a filter after it',
  async s => {
    await eachOf(
      illFormed.map(filter => [filter, filter] as const),
      async filter => {
        await s.refuses(mqtt.subscribe(5, 1, [[filter, 0]]), 0x81)
        await s.refuses(mqtt.unsubscribe(5, 1, [filter]), 0x81)
      },
    )
  },
)

conform(['v5 MQTT-4.13.1-1'], 'misplaced wildcards after a share name are refused', async s => {
  for (const filter of ['$share/g/a#', '$share/g/#/a', '$share/g/a+']) {
    await s.refuses(mqtt.subscribe(5, 1, [[filter, 0]]), 0x81)
  }
})

conform(['v5 MQTT-3.8.3-4'], 'No Local on a shared subscription is refused', async s => {
  await s.refuses(mqtt.subscribe(5, 1, [[`$share/g/${s.topic()}`, 0x04]]), 0x82)
})

conform(['v5'], 'each message goes to one member of the group, and each member gets some', async s => {
  const topic = s.topic()
  const members = [await s.connect(), await s.connect(), await s.connect()]
  for (const m of members) assert.deepEqual((await m.subscribe(`$share/g/${topic}`, 1)).codes, [1])
  const publisher = await s.connect()
  for (const qos of [0, 1]) {
    await publishMany(publisher, topic, 60, qos)
    const shares: string[][] = []
    const texts: string[] = []
    while (texts.length < 60) {
      for (const [i, m] of members.entries()) {
        await m.ping()
        while (m.queued > 0) {
          const p = await m.receive()
          texts.push(p.text)
          shares[i] = [...(shares[i] ?? []), p.text]
        }
      }
    }
    assert.deepEqual(sorted(texts), numbers(60), `QoS ${qos}`)
    assert.equal(shares.filter(x => x.length > 0).length, 3, `QoS ${qos}: ${shares.map(x => x.length)}`)
  }
  for (const m of members) await expectNoMessage(m, publisher)
})

conform(['v5'], 'groups and ordinary subscriptions get the message independently', async s => {
  const topic = s.topic()
  const [one, two, plain] = [await s.connect(), await s.connect(), await s.connect()]
  await one.subscribe(`$share/one/${topic}`, 1)
  await two.subscribe(`$share/two/${topic}`, 1)
  await plain.subscribe(topic, 1)
  await plain.publish(topic, 'x', { qos: 1 })
  for (const c of [one, two, plain]) assert.equal((await c.receive()).text, 'x')
  for (const c of [one, two, plain]) await expectNoMessage(c, plain)
})

conform(['v5'], 'a client with a shared and an ordinary subscription gets both copies', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.subscribe(topic, 1, [[P.subscriptionId, 1]])
  await client.subscribe(`$share/g/${topic}`, 1, [[P.subscriptionId, 2]])
  await client.publish(topic, 'x', { qos: 1 })
  const got = [await client.receive(), await client.receive()]
  const ids = got.flatMap(p => p.properties.filter(([id]) => id === P.subscriptionId).map(([, v]) => Number(v)))
  assert.deepEqual(ids.sort(), [1, 2])
  await expectNoMessage(client)
})

conform(['v5 MQTT-4.8.2-3'], 'a member gets messages at no more than its granted QoS', async s => {
  const topic = s.topic()
  const [client, publisher] = [await s.connect(), await s.connect()]
  for (const granted of [0, 1, 2]) {
    await client.subscribe(`$share/g/${topic}`, granted)
    for (const qos of [0, 1, 2]) {
      await publisher.publish(topic, `${qos}`, { qos })
      assert.equal((await client.receive()).qos, Math.min(qos, granted))
    }
  }
})

conform(['v5'], 'a shared subscription gets no retained messages', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.publish(topic, 'kept', { qos: 1, retain: true })
  await client.subscribe(`$share/g/${topic}`, 1)
  await expectNoMessage(client)
  await client.publish(topic, '', { qos: 1, retain: true })
})

conform(['v5'], 'wildcards work in shared subscriptions, $-topics stay hidden from them', async s => {
  const root = s.topic()
  const client = await s.connect()
  await client.subscribe(`$share/g/${root}/+/x/#`, 1)
  await client.publish(`${root}/a/x/b/c`, 'deep', { qos: 1 })
  assert.equal((await client.receive()).text, 'deep')
  await client.subscribe(`$share/${s.id()}/#`, 1)
  await client.publish(`$hidden/${root}`, 'no', { qos: 1 })
  const before = await untilMarkerTexts(client)
  assert.equal(before.includes('no'), false)
})

async function untilMarkerTexts(client: RawClient): Promise<string[]> {
  const topic = `end/${Math.random()}`
  await client.publish(topic, 'end', { qos: 1 })
  const texts: string[] = []
  while (texts.at(-1) !== 'end') texts.push((await client.receive()).text)
  return texts
}

conform(['v5 MQTT-3.10.4-1'], 'unsubscribing leaves the group and not the ordinary subscription', async s => {
  const topic = s.topic()
  const [leaver, stayer] = [await s.connect(), await s.connect()]
  for (const c of [leaver, stayer]) await c.subscribe(`$share/g/${topic}`, 1)
  await leaver.subscribe(topic, 1)
  assert.deepEqual((await leaver.unsubscribe(`$share/g/${topic}`)).codes, [0])
  assert.deepEqual((await leaver.unsubscribe(`$share/g/${topic}`)).codes, [0x11])
  await publishMany(leaver, topic, 10, 1)
  assert.deepEqual(await stayer.receiveTexts(10), numbers(10))
  assert.deepEqual(await leaver.receiveTexts(10), numbers(10))
  await expectNoMessage(leaver)
})

conform(['v5'], 'when a member goes, what it had not acknowledged goes to the others, nothing is lost', async s => {
  const topic = s.topic()
  const members = [await s.connect(), await s.connect()]
  for (const m of members) await m.subscribe(`$share/g/${topic}`, 1)
  const publisher = await s.connect()
  await publishMany(publisher, topic, 20, 1)
  const [stays, goes] = members
  assert.ok(stays && goes)
  goes.drop()
  const seen = new Set<string>()
  while (seen.size < 20) seen.add((await stays.receive()).text)
  assert.deepEqual(sorted([...seen]), numbers(20))
})

conform(['v5'], 'a group whose persistent members are all away keeps its messages', async s => {
  const [topic, clientId] = [s.topic(), s.id()]
  const member = await s.connect({ ...durable, clientId })
  await member.subscribe(`$share/g/${topic}`, 1)
  const other = await s.connect({ ...durable, clientId: s.id() })
  await other.subscribe(`$share/g/${topic}`, 1)
  await member.disconnect()
  await other.disconnect()
  const publisher = await s.connect()
  await publishMany(publisher, topic, 200, 1)
  const back = await s.connect({ ...durable, clientId })
  assert.deepEqual(sorted(await back.receiveTexts(200)), numbers(200))
  await expectNoMessage(back, publisher)
})

conform(
  ['v5 MQTT-4.8.2-4'],
  'a QoS 2 delivery that has begun is finished with the same member when it returns',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const member = await s.connect({ ...durable, clientId })
    await member.subscribe(`$share/g/${topic}`, 2)
    const publisher = await s.connect()
    await publisher.publish(topic, 'two', { qos: 2 })
    const p = await member.expect(Type.PUBLISH)
    const other = await s.connect()
    await other.subscribe(`$share/g/${topic}`, 2)
    member.send(mqtt.ack(Type.PUBREC, p.packetId))
    await member.expect(Type.PUBREL)
    member.drop()
    await expectNoMessage(other, publisher)
    const back = await s.connect({ ...durable, clientId })
    assert.equal((await back.waitFor(Type.PUBREL)).packetId, p.packetId)
    back.send(mqtt.ack(Type.PUBCOMP, p.packetId))
    await expectNoMessage(back, publisher)
  },
)

conform(
  ['v5 MQTT-4.8.2-5'],
  'a QoS 2 delivery that has begun is not given to another member when the session ends',
  async s => {
    const [topic, clientId] = [s.topic(), s.id()]
    const member = await s.connect({ ...durable, clientId })
    await member.subscribe(`$share/g/${topic}`, 2)
    const publisher = await s.connect()
    await publisher.publish(topic, 'two', { qos: 2 })
    const p = await member.expect(Type.PUBLISH)
    const other = await s.connect()
    await other.subscribe(`$share/g/${topic}`, 2)
    member.send(mqtt.ack(Type.PUBREC, p.packetId))
    await member.expect(Type.PUBREL)
    await member.disconnect(0, [[P.sessionExpiry, 0]])
    await s.connect({ clientId })
    await expectNoMessage(other, publisher)
  },
)

conform(['v5 MQTT-4.8.2-6'], 'a message refused by a member is not offered to another', async s => {
  const topic = s.topic()
  const [first, publisher] = [await s.connect(), await s.connect()]
  await first.subscribe(`$share/g/${topic}`, 2)
  for (const qos of [1, 2]) {
    await publisher.publish(topic, 'refused', { qos })
    const p = await first.expect(Type.PUBLISH)
    const other = await s.connect()
    await other.subscribe(`$share/g/${topic}`, 2)
    first.send(mqtt.ack(qos === 1 ? Type.PUBACK : Type.PUBREC, p.packetId, 0x83))
    await expectNoMessage(first, publisher)
    await expectNoMessage(other, publisher)
    await other.disconnect()
  }
})

conform(['v5'], 'names of object members are ordinary share names', async s => {
  const topic = s.topic()
  for (const name of ['__proto__', 'constructor', '$share']) {
    const client = await s.connect()
    await client.subscribe(`$share/${name}/${topic}`, 1)
    await client.publish(topic, name, { qos: 1 })
    assert.equal((await client.receive()).text, name)
    await client.disconnect()
  }
})

conform(['v3.1.1'], '$share is offered to 3.1.1 clients as well, or refused as a whole', async s => {
  const topic = s.topic()
  const client = await s.connect()
  const suback = await client.subscribe(`$share/g/${topic}`, 1)
  assert.ok([1, 0x80].includes(suback.codes[0] ?? -1))
  const [code] = suback.codes
  await client.publish(topic, 'x', { qos: 1 })
  if (code === 1) assert.equal((await client.receive()).text, 'x')
  await expectNoMessage(client)
})

conform(['v5'], 'message properties reach the member unchanged', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.subscribe(`$share/g/${topic}`, 1, [[P.subscriptionId, 9]])
  const user: Property[] = [
    [P.userProperty, ['b', '1']],
    [P.userProperty, ['a', '2']],
  ]
  await client.publish(topic, 'x', { qos: 1, properties: user })
  const got = (await client.receive()).properties
  assert.deepEqual(
    got.filter(([id]) => id === P.userProperty),
    user,
  )
  assert.deepEqual(
    got.filter(([id]) => id === P.subscriptionId),
    [[P.subscriptionId, 9]],
  )
})

conform(['v5'], 'a member that is alone gets what it publishes itself, in order', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.subscribe(`$share/g/${topic}`, 1)
  await publishMany(client, topic, 5, 1)
  assert.deepEqual(
    (await untilMarker(client, client)).map(p => p.text),
    numbers(5),
  )
})
