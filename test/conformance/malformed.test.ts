import assert from 'node:assert/strict'
import { conform, connectBytes, eachOf, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { packet, str, Type, u16, vbi } from '../support/mqtt-bytes.ts'

useBroker()

conform(
  ['v3.1.1 MQTT-2.2.2-1 MQTT-2.2.2-2', 'v5 MQTT-2.1.3-1'],
  'every packet type with flags that it may not have is refused',
  async s => {
    const v5 = s.v === 5
    const bodies: [number, number, Uint8Array][] = [
      [Type.PUBACK, 0, mqtt.bytes(u16(1))],
      [Type.PUBREC, 0, mqtt.bytes(u16(1))],
      [Type.PUBREL, 2, mqtt.bytes(u16(1))],
      [Type.PUBCOMP, 0, mqtt.bytes(u16(1))],
      [Type.SUBSCRIBE, 2, mqtt.bytes(u16(1), v5 ? [0] : [], str('a'), [0])],
      [Type.UNSUBSCRIBE, 2, mqtt.bytes(u16(1), v5 ? [0] : [], str('a'))],
      [Type.PINGREQ, 0, new Uint8Array()],
      [Type.DISCONNECT, 0, new Uint8Array()],
    ]
    const cases = bodies.flatMap(([type, right, body]) =>
      Array.from({ length: 16 }, (_, flags) => flags)
        .filter(flags => flags !== right)
        .map(flags => [`type ${type} flags ${flags}`, packet((type << 4) | flags, body)] as const),
    )
    await eachOf(cases, bytes => s.refuses(bytes, 0x81))
  },
)

conform(['v3.1.1 MQTT-2.2.2-2', 'v5 MQTT-2.1.3-1'], 'CONNECT with flags in its fixed header is refused', async s => {
  const cases = Array.from({ length: 15 }, (_, i) => [`flags ${i + 1}`, i + 1] as const)
  await eachOf(cases, async flags => {
    const bytes = connectBytes(s.v, {})
    bytes[0] = 0x10 | flags
    await s.refusesConnect(bytes, [0x81, 0x82], s.v === 5 ? 'may' : 'never')
  })
})

conform(['v3.1.1', 'v5'], 'packet types that a client may not send are refused', async s => {
  const cases: [string, Uint8Array][] = [
    ['type 0', packet(0x00)],
    ['CONNACK', packet(0x20, [0, 0], s.v === 5 ? [0] : [])],
    ['SUBACK', packet(0x90, u16(1), s.v === 5 ? [0] : [], [0])],
    ['UNSUBACK', packet(0xb0, u16(1), s.v === 5 ? [0, 0] : [])],
    ['PINGRESP', packet(0xd0)],
  ]
  if (s.v !== 5) cases.push(['type 15', packet(0xf0)])
  await eachOf(cases, bytes => s.refuses(bytes, [0x81, 0x82]))
})

conform(['v3.1.1', 'v5'], 'a Remaining Length of five bytes is refused at once', async s => {
  await s.refuses(mqtt.bytes([0x30, 0x80, 0x80, 0x80, 0x80, 0x01]), 0x81)
  await s.refuses(mqtt.bytes([0xc0, 0xff, 0xff, 0xff, 0xff]), 0x81)
  const client = await s.open()
  client.send([0x10, 0xff, 0xff, 0xff, 0xff, 0x7f])
  assert.equal(await client.next(), undefined)
})

conform(['v5 MQTT-1.5.5-1'], 'a Remaining Length or Property Length in more bytes than needed is refused', async s => {
  const body = mqtt.bytes(str(s.topic()), [0], 'x')
  await s.refuses(mqtt.bytes([0x30], [body.length | 0x80, 0], body), 0x81)
  await s.refuses(mqtt.bytes([0xc0, 0x80, 0]), 0x81)
  await s.refuses(packet(0x30, str(s.topic()), [0x80, 0], 'x'), 0x81)
  await s.refuses(packet(0x82, u16(1), [0x80, 0x80, 0], str(s.topic()), [0]), 0x81)
})

conform(['v3.1.1', 'v5'], 'fixed-size packets with bytes too many or too few are refused', async s => {
  const cases: [string, Uint8Array][] = [
    ['PINGREQ 1', packet(0xc0, [0])],
    ['PUBACK 0', packet(0x40)],
    ['PUBACK 1', packet(0x40, [0])],
    ['PUBREL 0', packet(0x62)],
    ['PUBREL 1', packet(0x62, [0])],
  ]
  if (s.v !== 5) {
    cases.push(['PUBACK 3', packet(0x40, [0, 1, 0])], ['PUBREL 3', packet(0x62, [0, 1, 0])])
    cases.push(['DISCONNECT 1', packet(0xe0, [0])], ['UNSUBSCRIBE 1', packet(0xa2, [0])])
  }
  await eachOf(cases, bytes => s.refuses(bytes, [0x81, 0x82]))
})

conform(['v3.1.1', 'v5'], 'text lengths that point beyond the packet are refused', async s => {
  const head = [u16(1), s.v === 5 ? [0] : []]
  const cases: [string, Uint8Array][] = [
    ['PUBLISH topic', packet(0x30, [0xff, 0xff], 'abc')],
    ['PUBLISH topic by one', packet(0x30, [0, 4], 'abc')],
    ['SUBSCRIBE filter', packet(0x82, ...head, [0xff, 0xff], 'abc', [0])],
    ['UNSUBSCRIBE filter', packet(0xa2, ...head, [0xff, 0xff], 'abc')],
  ]
  await eachOf(cases, bytes => s.refuses(bytes, [0x81, 0x82]))
})

conform(['v3.1.1', 'v5'], 'CONNECTs cut at every byte, but with the right length, are refused', async s => {
  const will = { topic: 'will/topic', payload: 'payload', qos: 1 }
  const { user: username, password } = s.broker
  const whole = connectBytes(s.v, { clientId: s.id(), will, username, password })
  const body = whole.subarray(2)
  const cases = Array.from(
    { length: body.length },
    (_, n) => [`${n} bytes`, packet(0x10, body.subarray(0, n))] as const,
  )
  await eachOf(cases, async bytes => {
    const client = await s.open()
    client.send(bytes)
    await client.expectRefusal(s.v === 5 ? [0x81, 0x82, 0x84] : [1], s.v === 5 ? 'may' : 'may')
  })
})

conform(['v3.1.1 MQTT-4.8.0-1', 'v5 MQTT-4.13.1-1'], 'bytes of another protocol end the connection', async s => {
  const cases: [string, Uint8Array][] = [
    ['HTTP', mqtt.bytes('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['TLS hello', mqtt.bytes([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03], new Uint8Array(512))],
    ['SSH', mqtt.bytes('SSH-2.0-OpenSSH_9.0\r\n')],
    ['zeros', new Uint8Array(64)],
    ['ones', new Uint8Array(64).fill(0xff)],
  ]
  await eachOf(cases, async bytes => {
    const client = await s.open()
    client.send(bytes)
    assert.equal(await client.next(), undefined)
  })
})

/** Small generator of pseudo-random numbers, so that a failing run can be repeated. */
function random(seed: number): () => number {
  let state = seed >>> 0 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

conform(['v3.1.1', 'v5'], 'mutated packets never stop the broker', async s => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  s.t.diagnostic(`seed ${seed}`)
  const next = random(seed)
  const topic = s.topic()
  const samples = (): Uint8Array[] => [
    connectBytes(s.v, { will: { topic, payload: 'w', qos: 1 }, username: 'u', password: 'p' }),
    mqtt.publish(s.v, {
      topic,
      payload: 'payload',
      qos: 2,
      packetId: 3,
      properties: [
        [1, 1],
        [38, ['a', 'b']],
      ],
    }),
    mqtt.subscribe(
      s.v,
      4,
      [
        [topic, 1],
        [`${topic}/#`, 2],
      ],
      [[11, 5]],
    ),
    mqtt.unsubscribe(s.v, 5, [topic]),
    mqtt.ack(Type.PUBREL, 3),
    mqtt.ack(Type.PUBREC, 1, s.v === 5 ? 0x92 : undefined),
    mqtt.disconnect(s.v === 5 ? 4 : undefined),
  ]
  const rounds = Array.from({ length: 400 }, (_, i) => [`round ${i} of seed ${seed}`, i] as const)
  await eachOf(rounds, async i => {
    const client = await s.open()
    const stream = i % 4 === 0 ? samples().slice(0, 1) : [connectBytes(s.v, {}), ...samples().slice(1)]
    const bytes = mqtt.bytes(...stream)
    const start = i % 4 === 0 ? 0 : (stream[0]?.length ?? 0)
    for (let n = 1 + Math.floor(next() * 4); n > 0; n--) {
      bytes[start + Math.floor(next() * (bytes.length - start))] = Math.floor(next() * 256)
    }
    const end = next() < 0.3 ? start + Math.floor(next() * (bytes.length - start)) : bytes.length
    client.stream.on('data', () => undefined)
    client.send(bytes.subarray(0, end))
    client.stream.end()
    await client.next().catch(() => undefined)
    client.drop()
  })
})

conform(['v3.1.1', 'v5'], 'a packet that never ends holds nothing but its own connection', async s => {
  const client = await s.connect()
  client.send([0x30], vbi(500_000), str(s.topic()), 'the beginning')
  const other = await s.connect()
  await other.ping()
  assert.equal(client.closed, false)
})
