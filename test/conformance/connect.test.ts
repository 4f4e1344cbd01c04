import assert from 'node:assert/strict'
import { conform, connectBytes, eachOf, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, packet, str, Type, u16, type Version } from '../support/mqtt-bytes.ts'
import { expectNoMessage } from '../support/raw-client.ts'

useBroker()

/** Codes with which MQTT 5 may refuse a CONNECT that breaks its own rules. */
const wrong = [0x81, 0x82]

/** CONNECT with these flags and exactly this payload. */
function shaped(v: Version, flags: number, ...payload: readonly mqtt.Part[]): Uint8Array {
  const name = str(v === 3 ? 'MQIsdp' : 'MQTT')
  return packet(0x10, name, [v, flags], u16(30), v === 5 ? [0] : [], ...payload)
}

/** Empty will properties, where the version has them. */
function willProperties(v: Version): number[] {
  return v === 5 ? [0] : []
}

conform(
  ['v3.1.1 MQTT-3.1.0-1', 'v5 MQTT-3.1.0-1 MQTT-3.14.0-1'],
  'any other first packet just ends the connection',
  async s => {
    const others: [string, Uint8Array][] = [
      ['PINGREQ', mqtt.pingreq()],
      ['PUBLISH', mqtt.publish(s.v, { topic: 'a', payload: 'b' })],
      ['SUBSCRIBE', mqtt.subscribe(s.v, 1, [['a', 0]])],
      ['UNSUBSCRIBE', mqtt.unsubscribe(s.v, 1, ['a'])],
      ['PUBACK', mqtt.ack(Type.PUBACK, 1)],
      ['PUBREL', mqtt.ack(Type.PUBREL, 1)],
      ['DISCONNECT', mqtt.disconnect()],
      ['CONNACK', packet(0x20, [0, 0])],
      ['AUTH', mqtt.auth(0x18)],
      ['type 0', packet(0x00)],
    ]
    await eachOf(others, async bytes => {
      const client = await s.open()
      client.send(bytes)
      assert.equal(await client.next(), undefined, 'the broker answers nothing')
    })
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-3.1.0-2', 'v5 MQTT-3.1.0-2 MQTT-4.13.1-1'],
  'a second CONNECT ends the connection',
  async s => {
    await s.refuses(connectBytes(s.v, {}), 0x82)
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-3.1.0-2', 'v5 MQTT-3.1.0-2'],
  'a second CONNECT in the same segment ends the connection',
  async s => {
    const client = await s.open()
    const clientId = s.id()
    client.send(connectBytes(s.v, { clientId }), connectBytes(s.v, { clientId }))
    await client.expect(Type.CONNACK)
    await client.expectClose({ reason: 0x82 })
  },
)

conform(['v3.1.1 MQTT-3.1.2-1', 'v5 MQTT-3.1.2-1'], 'an unknown protocol name ends the connection', async s => {
  const names = ['MQTX', 'mqtt', 'MQT', 'MQTTT', '', 'HTTP/1.1'].map(n => [JSON.stringify(n), n] as const)
  await eachOf(names, async protocolName => {
    const client = await s.open()
    client.send(connectBytes(s.v, { protocolName }))
    await client.expectRefusal(s.v === 5 ? [0x84, ...wrong] : [1], 'may')
  })
})

conform(['v3.1', 'v3.1.1 MQTT-3.1.2-2'], 'an unsupported low level gets return code 1 and the close', async s => {
  const low = [0, 1, 2].map(n => [`level ${n}`, n] as const)
  await eachOf(low, level => s.refusesConnect(connectBytes(s.v, { level }), [1], 'must'))
})

conform(['v3.1'], 'the name MQIsdp with another level gets return code 1 and the close', async s => {
  await eachOf(
    [2, 4, 6].map(n => [`level ${n}`, n] as const),
    level => s.refusesConnect(connectBytes(3, { level }), [1], 'must'),
  )
})

conform(
  ['v3.1.1 MQTT-3.1.2-2', 'v5 MQTT-3.1.2-2'],
  'a level from the future is answered in a form that says so, and closed',
  async s => {
    await eachOf(
      [6, 7, 100, 0x83, 0x85, 255].map(n => [`level ${n}`, n] as const),
      async level => {
        const client = await s.open()
        const received: number[] = []
        client.stream.on('data', (chunk: Uint8Array) => received.push(...chunk))
        const ended = new Promise(resolve => client.stream.once('close', resolve))
        client.send(connectBytes(s.v, { level }))
        await ended
        const short = received.length === 4 && received[1] === 2 && received[2] === 0 && received[3] === 1
        const long = received.length > 4 && received[2] === 0 && received[3] === 0x84
        assert.ok(received[0] === 0x20 && (short || long), `CONNACK 1 or 0x84, got ${received}`)
      },
    )
  },
)

conform(
  ['v3.1.1 MQTT-3.1.2-3 MQTT-3.1.4-1 MQTT-3.2.2-6', 'v5 MQTT-3.1.2-3 MQTT-3.1.4-1 MQTT-3.1.4-2'],
  'the reserved connect flag must be 0',
  async s => {
    await s.refusesConnect(shaped(s.v, 0x03, str(s.id())), wrong, s.v === 5 ? 'may' : 'never')
  },
)

conform(['v3.1.1 MQTT-3.1.2-13', 'v5 MQTT-3.1.2-11'], 'a will QoS without a will is refused', async s => {
  const cases = [0x0a, 0x12, 0x1a].map(f => [`flags ${f}`, f] as const)
  await eachOf(cases, f => s.refusesConnect(shaped(s.v, f, str(s.id())), wrong, s.v === 5 ? 'may' : 'never'))
})

conform(['v3.1.1 MQTT-3.1.2-15', 'v5 MQTT-3.1.2-13'], 'a will retain flag without a will is refused', async s => {
  await s.refusesConnect(shaped(s.v, 0x22, str(s.id())), wrong, s.v === 5 ? 'may' : 'never')
})

conform(['v3.1.1 MQTT-3.1.2-14', 'v5 MQTT-3.1.2-12'], 'will QoS 3 is refused', async s => {
  const bytes = connectBytes(s.v, { will: { topic: s.topic(), payload: 'x', qos: 3 } })
  await s.refusesConnect(bytes, wrong, s.v === 5 ? 'may' : 'never')
})

conform(
  ['v3.1.1 MQTT-3.1.2-9', 'v5 MQTT-3.1.2-9'],
  'a will flag without will fields in the payload is refused',
  async s => {
    const id = str(s.id())
    const empty = willProperties(s.v)
    const cases: [string, Uint8Array][] = [
      ['nothing', shaped(s.v, 0x06, id)],
      ['topic only', shaped(s.v, 0x06, id, empty, str('t'))],
      ['topic cut', shaped(s.v, 0x06, id, empty, [0, 9], 't')],
      ['payload cut', shaped(s.v, 0x06, id, empty, str('t'), [0, 9], 'x')],
    ]
    await eachOf(cases, bytes => s.refusesConnect(bytes, wrong, s.v === 5 ? 'may' : 'never'))
  },
)

conform(
  ['v3.1.1 MQTT-3.1.2-11', 'v5 MQTT-3.1.3-1'],
  'will fields in the payload without the will flag are refused',
  async s => {
    const bytes = shaped(s.v, 0x02, str(s.id()), willProperties(s.v), str('t'), str('x'))
    await s.refusesConnect(bytes, wrong, s.v === 5 ? 'may' : 'never')
  },
)

conform(
  ['v3.1.1 MQTT-3.1.2-19 MQTT-3.1.2-21', 'v5 MQTT-3.1.2-17 MQTT-3.1.2-19'],
  'a user name or password that the flags announce must be there',
  async s => {
    const id = str(s.id())
    const cases: [string, Uint8Array][] = [
      ['no user name', shaped(s.v, 0x82, id)],
      ['no password', shaped(s.v, 0xc2, id, str('user'))],
      ['user name cut', shaped(s.v, 0x82, id, [0, 9], 'user')],
      ['password cut', shaped(s.v, 0xc2, id, str('user'), [0, 9], 'pass')],
    ]
    await eachOf(cases, bytes => s.refusesConnect(bytes, wrong, s.v === 5 ? 'may' : 'never'))
  },
)

conform(
  ['v3.1.1 MQTT-3.1.2-18 MQTT-3.1.2-20', 'v5 MQTT-3.1.2-16 MQTT-3.1.2-18'],
  'a user name or password without its flag is refused',
  async s => {
    const cases: [string, Uint8Array][] = [
      ['user name', shaped(s.v, 0x02, str(s.id()), str('user'))],
      ['password', shaped(s.v, 0x82, str(s.id()), str('user'), str('password'))],
    ]
    await eachOf(cases, bytes => s.refusesConnect(bytes, wrong, s.v === 5 ? 'may' : 'never'))
  },
)

conform(['v3.1.1 MQTT-3.1.2-22'], 'a password flag without a user name flag is refused', async s => {
  await s.refusesConnect(shaped(s.v, 0x42, str(s.id()), str('password')), [], 'never')
})

conform(['v5'], 'a password without a user name is not malformed', async s => {
  const client = await s.open()
  client.send(shaped(s.v, 0x42, str(s.id()), str('token')))
  const connack = await client.expect(Type.CONNACK)
  assert.ok([0, 0x86, 0x87].includes(connack.reason), `code ${connack.reason}`)
})

conform(
  ['v3.1.1 MQTT-3.1.3-1', 'v5 MQTT-3.1.3-1'],
  'client id, will, user name and password are read in that order',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic)
    const { user, password } = s.broker
    const client = await s.connect({ username: user, password, will: { topic, payload: 'gone' } })
    client.drop()
    assert.equal((await watcher.receive()).text, 'gone')
  },
)

conform(['v3.1.1 MQTT-3.1.3-3', 'v5 MQTT-3.1.3-3'], 'a CONNECT without a client id field is refused', async s => {
  const cases: [string, Uint8Array][] = [
    ['absent', shaped(s.v, 0x02)],
    ['one byte', shaped(s.v, 0x02, [0])],
    ['cut', shaped(s.v, 0x02, [0, 5], 'abc')],
  ]
  await eachOf(cases, bytes => s.refusesConnect(bytes, wrong, s.v === 5 ? 'may' : 'never'))
})

conform(
  ['v3.1', 'v3.1.1 MQTT-3.1.3-5', 'v5 MQTT-3.1.3-5'],
  'client ids of 1 to 23 letters and digits are accepted',
  async s => {
    const ids = ['a', 'Z', '0', '0123456789abcdefghijklm', 'nopqrstuvwxyzABCDEFGHIJ', 'KLMNOPQRSTUVWXYZ'].map(
      i => [i, i] as const,
    )
    await eachOf(ids, async clientId => {
      const client = await s.connect({ clientId })
      await client.disconnect()
    })
  },
)

conform(['v3.1', 'v3.1.1', 'v5'], 'client ids that are names of object members are ordinary', async s => {
  for (const clientId of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const client = await s.connect({ clientId, clean: false })
    assert.equal(client.connack?.sessionPresent, false)
    await client.subscribe(clientId)
    await client.publish(clientId, clientId)
    assert.equal((await client.receive()).text, clientId)
    await client.disconnect()
    const again = await s.connect({ clientId })
    await again.disconnect()
  }
})

conform(
  ['v3.1.1 MQTT-3.1.3-6', 'v5 MQTT-3.1.3-6'],
  'each client with an empty id gets an identity of its own',
  async s => {
    const [one, two] = [await s.connect({ clientId: '' }), await s.connect({ clientId: '' })]
    const topic = s.topic()
    await one.subscribe(topic)
    await two.publish(topic, 'x')
    assert.equal((await one.receive()).text, 'x')
    await expectNoMessage(two, one)
  },
)

conform(
  ['v3.1.1 MQTT-3.1.3-7 MQTT-3.1.3-8 MQTT-3.1.3-9 MQTT-3.2.2-4 MQTT-3.2.2-5'],
  'an empty client id with Clean Session 0 gets return code 2',
  async s => {
    await s.refusesConnect(mqtt.connect(4, { clientId: '', clean: false }), [2], 'must')
  },
)

conform(['v3.1'], 'an empty client id gets return code 2', async s => {
  await eachOf(
    [true, false].map(c => [`clean ${c}`, c] as const),
    clean => s.refusesConnect(mqtt.connect(3, { clientId: '', clean }), [2], 'must'),
  )
})

conform(['v3.1'], 'a client id of more than 23 characters gets return code 2', async s => {
  await s.refusesConnect(mqtt.connect(3, { clientId: 'x'.repeat(24) }), [2], 'must')
})

conform(['v3.1'], 'bits that MQTT 3.1 calls unused may have any value', async s => {
  const cases: [string, Uint8Array][] = []
  for (let flags = 1; flags < 16; flags++) {
    const bytes = connectBytes(3, {})
    bytes[0] = 0x10 | flags
    cases.push([`fixed header ${flags}`, bytes])
  }
  // The reserved bit, and QoS and RETAIN of a will that is not there.
  for (const flags of [0x03, 0x0a, 0x12, 0x1a, 0x22, 0x3b]) {
    cases.push([`connect flags ${flags}`, shaped(3, flags, str(s.id()))])
  }
  await eachOf(cases, async bytes => {
    const client = await s.open()
    client.send(bytes)
    assert.equal((await client.expect(Type.CONNACK)).reason, 0)
    await client.expectSilence()
  })
})

conform(['v3.1'], 'a whole conversation', async s => {
  const topic = s.topic()
  const client = await s.connect({ keepAlive: 60 })
  assert.deepEqual((await client.subscribe([topic, `${topic}/#`], 2)).codes, [2, 2])
  for (const qos of [0, 1, 2]) {
    await client.publish(topic, `qos ${qos}`, { qos })
    const got = await client.receive()
    assert.deepEqual([got.text, got.qos], [`qos ${qos}`, qos])
  }
  await client.unsubscribe([topic, `${topic}/#`])
  await client.disconnect()
})

conform(
  ['v5 MQTT-3.1.3-7 MQTT-3.2.2-16'],
  'an empty client id is answered with an assigned one, which resumes the session',
  async s => {
    const durable = { clientId: '', clean: false, properties: [[P.sessionExpiry, 60] as const] }
    const [one, two] = [await s.connect(durable), await s.connect(durable)]
    const assigned = [one, two].map(c => c.connack?.properties.find(([id]) => id === P.assignedClientId)?.[1])
    assert.ok(typeof assigned[0] === 'string' && assigned[0].length > 0)
    assert.notEqual(assigned[0], assigned[1])
    await one.disconnect()
    const again = await s.connect({ ...durable, clientId: assigned[0] })
    assert.equal(again.connack?.sessionPresent, true)
  },
)

conform(['v5'], 'a given client id is not answered with an assigned one', async s => {
  const client = await s.connect()
  assert.equal(
    client.connack?.properties.some(([id]) => id === P.assignedClientId),
    false,
  )
})

conform(
  ['v3.1.1 MQTT-3.1.4-5', 'v5 MQTT-3.1.4-6'],
  'what follows a refused CONNECT in the same segment is not processed',
  async s => {
    const topic = s.topic()
    const watcher = await s.connect()
    await watcher.subscribe(topic)
    const client = await s.open()
    const wrongPassword = connectBytes(s.v, { username: s.broker.user, password: 'wrong' })
    client.send(wrongPassword, mqtt.publish(s.v, { topic, payload: 'leak', retain: true }))
    await client.expectRefusal(s.v === 5 ? [0x86, 0x87] : [4, 5], 'must')
    await expectNoMessage(watcher, watcher)
  },
)

conform(['v3.1.1', 'v5 MQTT-4.2-1'], 'a CONNECT that arrives byte by byte is accepted', async s => {
  const client = await s.open()
  for (const b of connectBytes(s.v, {})) {
    client.send([b])
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.equal((await client.expect(Type.CONNACK)).reason, 0)
})
