import assert from 'node:assert/strict'
import { conform, connectBytes, eachOf, type Scene, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import {
  allowedProperties,
  P,
  type Property,
  packet,
  property,
  shapes,
  str,
  Type,
  u16,
  vbi,
} from '../support/mqtt-bytes.ts'

useBroker()

/** Numbers that are no property. */
const unknown: readonly number[] = [0x00, 0x04, 0x05, 0x0a, 0x0c, 0x14, 0x1b, 0x20, 0x2b, 0x7f]

/** A valid value for each property. */
function sample(id: number): Property {
  const shape = shapes.get(id)
  if (shape === 'string') return [id, 'x']
  if (shape === 'binary') return [id, mqtt.bytes([1, 2])]
  if (shape === 'pair') return [id, ['k', 'v']]
  return [id, 1]
}

function listed(body: Uint8Array, length: number = body.length): Uint8Array {
  return mqtt.bytes(vbi(length), body)
}

/** A packet that a client may send after CONNECT, with this encoded property list. */
type Builder = (list: Uint8Array) => Uint8Array

const afterConnect: readonly (readonly [type: number, name: string, build: Builder])[] = [
  [Type.PUBLISH, 'PUBLISH', list => packet(0x32, str('t'), u16(1), list, 'x')],
  [Type.PUBACK, 'PUBACK', list => packet(0x40, u16(1), [0], list)],
  [Type.PUBREC, 'PUBREC', list => packet(0x50, u16(1), [0], list)],
  [Type.PUBREL, 'PUBREL', list => packet(0x62, u16(1), [0], list)],
  [Type.PUBCOMP, 'PUBCOMP', list => packet(0x70, u16(1), [0], list)],
  [Type.SUBSCRIBE, 'SUBSCRIBE', list => packet(0x82, u16(1), list, str('t'), [0])],
  [Type.UNSUBSCRIBE, 'UNSUBSCRIBE', list => packet(0xa2, u16(1), list, str('t'))],
  [Type.DISCONNECT, 'DISCONNECT', list => packet(0xe0, [0], list)],
]

const inConnect: readonly (readonly [type: number, name: string, build: (s: Scene) => Builder])[] = [
  [Type.CONNECT, 'CONNECT', s => list => packet(0x10, str('MQTT'), [5, 2], u16(0), list, str(s.id()))],
  [
    0,
    'will',
    s => list => packet(0x10, str('MQTT'), [5, 6], u16(0), [0], str(s.id()), list, str('will/topic'), str('x')),
  ],
]

/** Refuses every list in every packet; `lists` says which lists are wrong for a packet type. */
async function refuseAll(s: Scene, lists: (type: number) => [string, Uint8Array][]): Promise<void> {
  const later: [string, Uint8Array][] = afterConnect.flatMap(([type, name, build]) =>
    lists(type).map(([what, list]): [string, Uint8Array] => [`${name}: ${what}`, build(list)]),
  )
  const first: [string, Uint8Array][] = inConnect.flatMap(([type, name, build]) =>
    lists(type).map(([what, list]): [string, Uint8Array] => [`${name}: ${what}`, build(s)(list)]),
  )
  await eachOf(later, bytes => s.refuses(bytes, [0x81, 0x82]))
  await eachOf(first, bytes => s.refusesConnect(bytes, [0x81, 0x82], 'may'))
}

/** Properties that a client may put into the packet (a Subscription Identifier in PUBLISH is the server's). */
function allowed(type: number): readonly number[] {
  return (allowedProperties.get(type) ?? []).filter(id => type !== Type.PUBLISH || id !== P.subscriptionId)
}

conform(['v5 MQTT-4.13.1-1 MQTT-3.3.4-6'], 'every packet type refuses every property that it may not have', async s => {
  await refuseAll(s, type => {
    const misplaced = [...shapes.keys()].filter(id => !allowed(type).includes(id))
    return misplaced.map(id => [`property ${id}`, listed(property(sample(id)))])
  })
})

conform(['v5 MQTT-4.13.1-1'], 'every packet type refuses numbers that are no property', async s => {
  await refuseAll(s, () => {
    const short = unknown.map((id): [string, Uint8Array] => [`number ${id}`, listed(mqtt.bytes([id, 0, 1, 0x61]))])
    return [
      ...short,
      ['two-byte number', listed(mqtt.bytes([0x81, 0x01, 1]))],
      ['unfinished number', listed(mqtt.bytes([0x80]))],
    ]
  })
})

conform(
  ['v5 MQTT-4.13.1-1'],
  'every packet type refuses a property that stands twice, user properties excepted',
  async s => {
    await refuseAll(s, type => {
      const once = allowed(type).filter(id => id !== P.userProperty)
      return once.map(id => {
        const one = property(sample(id))
        const others = id === P.authData ? property([P.authMethod, 'x']) : []
        return [`property ${id} twice`, listed(mqtt.bytes(others, one, one))]
      })
    })
  },
)

conform(
  ['v5 MQTT-4.13.1-1 MQTT-1.5.5-1'],
  'every packet type refuses properties that are cut, or whose length is wrong',
  async s => {
    await refuseAll(s, type =>
      allowed(type).flatMap((id): [string, Uint8Array][] => {
        const whole = property(sample(id))
        const cuts: [string, Uint8Array][] = Array.from({ length: whole.length - 1 }, (_, n) => [
          `property ${id} cut after ${n + 1}`,
          listed(whole.subarray(0, n + 1)),
        ])
        return [...cuts, [`property ${id}, length beyond the packet`, listed(whole, 100_000)]]
      }),
    )
  },
)

conform(['v5 MQTT-2.2.2-1'], 'a packet without the length of its properties is refused', async s => {
  await s.refuses(packet(0x82, u16(1)), [0x81, 0x82])
  await s.refuses(packet(0xa2, u16(1)), [0x81, 0x82])
  await s.refuses(packet(0x30, str(s.topic())), [0x81, 0x82])
  await s.refusesConnect(packet(0x10, str('MQTT'), [5, 2], u16(0)), [0x81, 0x82], 'may')
})

conform(['v5 MQTT-2.2.2-1'], 'what the broker sends without properties has Property Length 0', async s => {
  const topic = s.topic()
  const client = await s.connect()
  const suback = await client.subscribe(topic)
  await client.publish(topic, 'x')
  const p = await client.expect(Type.PUBLISH)
  assert.equal(p.length, 2 + 2 + topic.length + 1 + 1, 'one byte for the length of no properties')
  assert.equal(suback.length, 2 + 2 + 1 + 1)
})

conform(['v5'], 'values out of range are refused', async s => {
  const connects: [string, Property][] = [
    ['Receive Maximum 0', [P.receiveMaximum, 0]],
    ['Maximum Packet Size 0', [P.maximumPacketSize, 0]],
    ['Request Problem Information 2', [P.requestProblemInfo, 2]],
    ['Request Response Information 2', [P.requestResponseInfo, 2]],
    ['Authentication Data without a method', [P.authData, mqtt.bytes([1])]],
  ]
  await eachOf(connects, p => s.refusesConnect(connectBytes(5, { properties: [p] }), [0x81, 0x82], 'may'))
  const will = { topic: s.topic(), payload: 'x', properties: [[P.payloadFormat, 2] as const] }
  await s.refusesConnect(connectBytes(5, { will }), [0x81, 0x82], 'may')
  await s.refuses(mqtt.publish(5, { topic: s.topic(), properties: [[P.payloadFormat, 2]] }), [0x81, 0x82])
  await s.refuses(mqtt.publish(5, { topic: s.topic(), properties: [[P.topicAlias, 0]] }), [0x81, 0x82, 0x94])
})

conform(['v5'], 'values at the edges of their range are accepted', async s => {
  const lists: Property[][] = [
    [[P.receiveMaximum, 1]],
    [[P.receiveMaximum, 65_535]],
    [[P.maximumPacketSize, 0xffffffff]],
    [[P.topicAliasMaximum, 65_535]],
    [[P.sessionExpiry, 0xffffffff]],
    [
      [P.requestProblemInfo, 0],
      [P.requestResponseInfo, 1],
    ],
    Array.from({ length: 50 }, (_, i): Property => [P.userProperty, [`${i % 3}`, `${i}`]]),
  ]
  for (const properties of lists) await (await s.connect({ properties })).disconnect()
})

conform(['v5 MQTT-3.3.2-14'], 'a Response Topic with wildcards is refused, also in a will', async s => {
  for (const topic of ['a/#', '+/a', '#']) {
    const properties = [[P.responseTopic, topic] as const]
    await s.refuses(mqtt.publish(5, { topic: s.topic(), properties }), [0x81, 0x82, 0x90])
    const bytes = connectBytes(5, { will: { topic: s.topic(), payload: 'x', properties } })
    await s.refusesConnect(bytes, [0x81, 0x82, 0x90], 'may')
  }
})

conform(
  ['v5 MQTT-3.3.2-4 MQTT-3.3.2-15 MQTT-3.3.2-16 MQTT-3.3.2-17 MQTT-3.3.2-18 MQTT-3.3.2-20'],
  'a message is delivered with the properties of its publisher, user properties in order and complete',
  async s => {
    const topic = s.topic()
    const [publisher, subscriber] = [await s.connect(), await s.connect()]
    await subscriber.subscribe(topic, 2)
    const user: Property[] = ['z', 'a', 'z', '', '__proto__', 'z', 'constructor'].map((k, i) => [
      P.userProperty,
      [k, `${i}`],
    ])
    const single: Property[] = [
      [P.payloadFormat, 1],
      [P.contentType, 'text/plain; charset=utf-8'],
      [P.responseTopic, 'answers/ü'],
      [P.correlationData, mqtt.bytes([0, 255, 128, 1])],
    ]
    for (const qos of [0, 1, 2]) {
      await publisher.publish(topic, 'text', { qos, properties: [...single, ...user] })
      const got = (await subscriber.receive()).properties
      assert.deepEqual(
        got.filter(([id]) => id === P.userProperty),
        user,
      )
      for (const [id, value] of single) assert.deepEqual(got.find(p => p[0] === id)?.[1], value)
      assert.equal(got.length, single.length + user.length)
    }
  },
)

conform(['v5'], 'empty values of properties are values', async s => {
  const topic = s.topic()
  const client = await s.connect()
  await client.subscribe(topic)
  const properties: Property[] = [
    [P.payloadFormat, 0],
    [P.contentType, ''],
    [P.correlationData, new Uint8Array()],
    [P.userProperty, ['', '']],
  ]
  await client.publish(topic, 'x', { properties })
  const got = (await client.receive()).properties
  assert.deepEqual(got.find(([id]) => id === P.contentType)?.[1], '')
  assert.deepEqual(got.find(([id]) => id === P.correlationData)?.[1], new Uint8Array())
  assert.deepEqual(got.find(([id]) => id === P.userProperty)?.[1], ['', ''])
})

conform(['v5'], 'a payload that is declared as text and is not UTF-8 is not acknowledged as good', async s => {
  if (s.broker.target === 'mosquitto') return
  const topic = s.topic()
  const properties = [[P.payloadFormat, 1] as const]
  for (const qos of [1, 2]) {
    const client = await s.connect()
    client.send(mqtt.publish(5, { topic, payload: [0xff, 0xfe], qos, packetId: 1, properties }))
    const p = await client.next()
    assert.ok(p && [Type.PUBACK, Type.PUBREC, Type.DISCONNECT].some(t => t === p.type))
    assert.equal(p.reason, 0x99)
  }
})

conform(
  ['v5 MQTT-3.4.2-1 MQTT-3.5.2-1 MQTT-3.6.2-1 MQTT-3.7.2-1'],
  'acknowledgements in each of their lengths are understood',
  async s => {
    const topic = s.topic()
    const client = await s.connect()
    await client.subscribe(topic, 2)
    const forms: ((type: number, id: number) => Uint8Array)[] = [
      (type, id) => mqtt.ack(type, id),
      (type, id) => mqtt.ack(type, id, 0),
      (type, id) => mqtt.ack(type, id, 0, []),
      (type, id) =>
        mqtt.ack(type, id, 0, [
          [P.reasonString, 'fine'],
          [P.userProperty, ['a', 'b']],
          [P.userProperty, ['a', 'c']],
        ]),
    ]
    for (const form of forms) {
      await client.publish(topic, 'one', { qos: 1 })
      client.send(form(Type.PUBACK, (await client.expect(Type.PUBLISH)).packetId))
      client.send(mqtt.publish(5, { topic, payload: 'two', qos: 2, packetId: 500 }))
      await client.waitFor(Type.PUBREC)
      client.send(form(Type.PUBREL, 500))
      await client.waitFor(Type.PUBCOMP)
      const delivered = await client.waitFor(Type.PUBLISH)
      client.send(form(Type.PUBREC, delivered.packetId))
      await client.expect(Type.PUBREL)
      client.send(form(Type.PUBCOMP, delivered.packetId))
      await client.expectSilence()
    }
  },
)

conform(
  ['v5 MQTT-3.4.2-1 MQTT-3.5.2-1 MQTT-3.6.2-1 MQTT-3.7.2-1'],
  'acknowledgements with a code that is not theirs are refused',
  async s => {
    const cases: [string, Uint8Array][] = [Type.PUBACK, Type.PUBREC, Type.PUBREL, Type.PUBCOMP].flatMap(type =>
      [0x01, 0x04, 0x18, 0x81, 0x8e, 0xff].map((code): [string, Uint8Array] => [
        `type ${type} code ${code}`,
        mqtt.ack(type, 1, code),
      ]),
    )
    await eachOf(cases, bytes => s.refuses(bytes, [0x81, 0x82]))
  },
)

conform(['v5'], 'bytes after the properties of an acknowledgement or a DISCONNECT are refused', async s => {
  for (const first of [0x40, 0x50, 0x62, 0x70]) await s.refuses(packet(first, u16(1), [0, 0, 7]), [0x81, 0x82])
  await s.refuses(packet(0xe0, [0, 0, 7]), [0x81, 0x82])
})

conform(['v5'], 'user properties are welcome in every packet of a client', async s => {
  const user: Property[] = [
    [P.userProperty, ['a', '1']],
    [P.userProperty, ['a', '2']],
  ]
  const topic = s.topic()
  const client = await s.connect({ properties: user, will: { topic, payload: 'w', properties: user } })
  await client.subscribe(topic, 1, user)
  await client.publish(topic, 'x', { qos: 1, properties: user })
  const p = await client.receive()
  assert.deepEqual(p.properties, user)
  client.send(mqtt.unsubscribe(5, 77, [topic], user))
  assert.deepEqual((await client.expect(Type.UNSUBACK)).codes, [0])
  await client.disconnect(0, user)
})
