import assert from 'node:assert/strict'
import { conform, connectBytes, eachOf, type Scene, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, type Part, type Property, packet, str, Type, u16 } from '../support/mqtt-bytes.ts'

useBroker()

/** Byte sequences that are not UTF-8. */
const illFormed: readonly (readonly [name: string, bytes: readonly number[]])[] = [
  ['surrogate D800', [0xed, 0xa0, 0x80]],
  ['surrogate DFFF', [0xed, 0xbf, 0xbf]],
  ['surrogate pair', [0xed, 0xa1, 0x8c, 0xed, 0xbe, 0xb4]],
  ['lone continuation', [0x61, 0x80]],
  ['truncated two', [0x61, 0xc3]],
  ['truncated three', [0xe2, 0x82]],
  ['truncated four', [0xf0, 0x9d, 0x84]],
  ['overlong slash', [0xc0, 0xaf]],
  ['overlong three', [0xe0, 0x80, 0xaf]],
  ['overlong null', [0xc0, 0x80]],
  ['beyond 10FFFF', [0xf4, 0x90, 0x80, 0x80]],
  ['FE', [0xfe]],
  ['FF', [0xff]],
]

const nul: readonly (readonly [name: string, bytes: readonly number[]])[] = [
  ['alone', [0]],
  ['inside', [0x61, 0, 0x62]],
  ['at the end', [0x61, 0]],
]

/** Well-formed text that implementations get wrong. */
const wellFormed: readonly string[] = [
  '\ufeffa',
  'a\ufeff',
  'é',
  'e\u0301',
  '\u{1d11e}',
  '\u{10fffd}',
  '\ud7ff',
  '\ue000',
  '😀/日本',
]

/** Each place where a 3.1.1 client writes text, filled with `bad`; CONNECT fields and packets after it. */
function places(s: Scene, bad: Part): { connects: [string, Uint8Array][]; packets: [string, Uint8Array][] } {
  const text = mqtt.bytes(bad)
  const will = { topic: text, payload: 'x' }
  return {
    connects: [
      ['client id', connectBytes(s.v, { clientId: text })],
      ['will topic', connectBytes(s.v, { will })],
      ['user name', connectBytes(s.v, { username: text, password: 'x' })],
      ['protocol name', connectBytes(s.v, { protocolName: text })],
    ],
    packets: [
      ['topic', mqtt.publish(s.v, { topic: text, payload: 'x', qos: 1, packetId: 1 })],
      ['filter', mqtt.subscribe(s.v, 1, [[text, 0]])],
      [
        'second filter',
        mqtt.subscribe(s.v, 1, [
          ['ok', 0],
          [text, 0],
        ]),
      ],
      ['unsubscribe filter', mqtt.unsubscribe(s.v, 1, [text])],
    ],
  }
}

async function refuseEverywhere(s: Scene, list: typeof illFormed): Promise<void> {
  const connects: [string, Uint8Array][] = []
  const packets: [string, Uint8Array][] = []
  for (const [name, bad] of list) {
    const p = places(s, bad)
    connects.push(...p.connects.map(([place, bytes]): [string, Uint8Array] => [`${place}: ${name}`, bytes]))
    packets.push(...p.packets.map(([place, bytes]): [string, Uint8Array] => [`${place}: ${name}`, bytes]))
  }
  const codes = [0x81, 0x82, 0x84, 0x85, 0x86, 0x90]
  await eachOf(connects, async (bytes, name) => {
    const client = await s.open()
    client.send(bytes)
    await client.expectRefusal(s.v === 5 ? codes : [1], s.v === 5 || name.startsWith('protocol') ? 'may' : 'never')
  })
  await eachOf(packets, bytes => s.refuses(bytes, [0x81, 0x82, 0x8f, 0x90]))
}

conform(
  [
    'v3.1.1 MQTT-1.5.3-1 MQTT-3.1.3-4 MQTT-3.1.3-10 MQTT-3.1.3-11 MQTT-3.3.2-1 MQTT-3.8.3-1 MQTT-3.10.3-1',
    'v5 MQTT-1.5.4-1 MQTT-3.1.3-4 MQTT-3.1.3-11 MQTT-3.1.3-12 MQTT-3.3.2-1 MQTT-3.8.3-1 MQTT-3.10.3-1',
  ],
  'ill-formed UTF-8 is refused wherever text stands',
  async s => refuseEverywhere(s, illFormed),
)

conform(
  ['v3.1.1 MQTT-1.5.3-2 MQTT-4.7.3-2', 'v5 MQTT-1.5.4-2 MQTT-4.7.3-2'],
  'U+0000 is refused wherever text stands',
  async s => {
    await refuseEverywhere(s, nul)
  },
)

conform(
  ['v3.1.1 MQTT-1.5.3-3 MQTT-4.7.3-4', 'v5 MQTT-1.5.4-3 MQTT-4.7.3-4'],
  'U+FEFF and other unusual text pass unchanged',
  async s => {
    const client = await s.connect()
    for (const text of wellFormed) {
      const topic = `${s.topic()}/${text}`
      await client.subscribe(topic, 1)
      await client.publish(topic, text, { qos: 1 })
      assert.equal((await client.receive()).topic, topic)
      await client.unsubscribe(topic)
      const other = await s.connect({ clientId: `${s.id()}${text}` })
      await other.disconnect()
    }
  },
)

conform(['v3.1.1', 'v5'], 'U+FEFF is part of a topic, not an encoding mark', async s => {
  const client = await s.connect()
  const name = s.topic()
  await client.subscribe(`\ufeff${name}`, 1)
  await client.publish(name, 'without', { qos: 1 })
  await client.publish(`\ufeff${name}`, 'with', { qos: 1 })
  assert.equal((await client.receive()).text, 'with')
})

conform(['v3.1.1', 'v5'], 'control characters and non-characters are refused or pass unchanged', async s => {
  const points = [0x01, 0x1f, 0x7f, 0x9f, 0xfdd0, 0xfdef, 0xfffe, 0xffff, 0x1fffe, 0x10ffff]
  await eachOf(
    points.map(p => [`U+${p.toString(16)}`, p] as const),
    async point => {
      const topic = `${s.topic()}/${String.fromCodePoint(point)}`
      const client = await s.connect()
      client.send(mqtt.subscribe(s.v, 1, [[topic, 1]]))
      const suback = await client.next()
      if (suback?.type !== Type.SUBACK) {
        if (s.v === 5) assert.ok([0x81, 0x82, 0x8f].includes(suback?.reason ?? 0), `reason ${suback?.reason}`)
        return
      }
      if ((suback.codes[0] ?? 0x80) >= 0x80) return
      await client.publish(topic, 'x', { qos: 1 })
      assert.equal((await client.receive()).topic, topic)
    },
  )
})

/** Bytes of a property whose text is given as raw bytes. */
function raw(id: number, ...texts: Uint8Array[]): Uint8Array {
  return mqtt.bytes([id], ...texts.map(str))
}

/** A property list with its length, from encoded properties. */
function listed(...encoded: Uint8Array[]): Uint8Array {
  const body = mqtt.bytes(...encoded)
  return mqtt.bytes(mqtt.vbi(body.length), body)
}

conform(
  ['v5 MQTT-1.5.7-1 MQTT-1.5.4-1 MQTT-1.5.4-2 MQTT-3.3.2-13 MQTT-3.3.2-19'],
  'ill-formed text is refused in every property',
  async s => {
    const topic = s.topic()
    const cases: [string, Uint8Array][] = []
    for (const [name, bytes] of [...illFormed.slice(0, 8), ...nul]) {
      const bad = mqtt.bytes(bytes)
      const ok = mqtt.bytes('ok')
      const lists: [string, Uint8Array][] = [
        ['content type', listed(raw(P.contentType, bad))],
        ['response topic', listed(raw(P.responseTopic, bad))],
        ['user property name', listed(raw(P.userProperty, bad, ok))],
        ['user property value', listed(raw(P.userProperty, ok, bad))],
      ]
      for (const [place, list] of lists) cases.push([`${place}: ${name}`, packet(0x30, str(topic), list, 'x')])
      const user = listed(raw(P.userProperty, ok, bad))
      cases.push([`SUBSCRIBE: ${name}`, packet(0x82, u16(1), user, str(topic), [0])])
      cases.push([`UNSUBSCRIBE: ${name}`, packet(0xa2, u16(1), user, str(topic))])
      cases.push([`PUBACK: ${name}`, packet(0x40, u16(1), [0], listed(raw(P.reasonString, bad)))])
      cases.push([`DISCONNECT: ${name}`, packet(0xe0, [0], listed(raw(P.reasonString, bad)))])
    }
    await eachOf(cases, bytes => s.refuses(bytes, [0x81, 0x82, 0x90]))
  },
)

conform(['v5 MQTT-1.5.7-1'], 'ill-formed text is refused in the properties of CONNECT and of a will', async s => {
  const properties: [string, Property[]][] = illFormed.flatMap(([name, bad]) => [
    [`authentication method: ${name}`, [[P.authMethod, mqtt.bytes(bad)]]],
  ])
  await eachOf(properties, list => s.refusesConnect(connectBytes(5, { properties: list }), [0x81, 0x82, 0x8c], 'may'))
  const wills: [string, Property[]][] = illFormed.flatMap(([name, bad]) => [
    [`content type: ${name}`, [[P.contentType, mqtt.bytes(bad)]]],
    [`response topic: ${name}`, [[P.responseTopic, mqtt.bytes(bad)]]],
  ])
  await eachOf(wills, list => {
    const will = { topic: s.topic(), payload: 'x', properties: list }
    return s.refusesConnect(connectBytes(5, { will }), [0x81, 0x82, 0x90], 'may')
  })
})
