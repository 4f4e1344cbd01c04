import assert from 'node:assert/strict'
import { conform, eachOf, useBroker } from '../support/conform.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { Type } from '../support/mqtt-bytes.ts'
import { expectNoMessage, untilMarker } from '../support/raw-client.ts'

useBroker()

/** Topics below a root, and the filters below it with the topics that each must match. */
const matching: readonly (readonly [filter: string, topics: readonly string[]])[] = [
  ['R', ['R']],
  ['R/', ['R/']],
  ['R//', ['R//']],
  ['R/+', ['R/', 'R/a', 'R/A', 'R/ ', 'R/$x', 'R/*', 'R/room[12]', 'R/é', 'R/e\u0301', 'R/__proto__']],
  ['R/#', ['*all']],
  ['R/+/+', ['R//', 'R/a/', 'R/a/b', 'R/a/px']],
  ['R/a/#', ['R/a', 'R/a/', 'R/a/b', 'R/a/px', 'R/a/b/c', 'R/a/b//d']],
  ['R/+/b/#', ['R/a/b', 'R/a/b/c', 'R/a/b//d']],
  ['R/a/+/c', ['R/a/b/c']],
  ['R/a/b/+/d', ['R/a/b//d']],
  ['R/+/#', ['*below']],
  ['R/*', ['R/*']],
  ['R/room[12]', ['R/room[12]']],
  ['R/ ', ['R/ ']],
  ['R/A', ['R/A']],
  ['R/é', ['R/é']],
  ['R/__proto__', ['R/__proto__']],
  ['R/.', []],
  ['R/nothing/#', []],
]

const topics: readonly string[] = [
  'R',
  'R/',
  'R//',
  'R/a',
  'R/A',
  'R/a/',
  'R/a/b',
  'R/a/px',
  'R/a/b/c',
  'R/a/b//d',
  'R/ ',
  'R/$x',
  'R/*',
  'R/room[12]',
  'R/é',
  'R/e\u0301',
  'R/__proto__',
]

function wanted(list: readonly string[]): readonly string[] {
  if (list[0] === '*all') return topics
  if (list[0] === '*below') return topics.filter(t => t !== 'R')
  return list
}

conform(
  [
    'v3.1',
    'v3.1.1 MQTT-4.7.1-2 MQTT-4.7.1-3 MQTT-4.7.3-4 MQTT-3.3.2-3',
    'v5 MQTT-4.7.1-1 MQTT-4.7.1-2 MQTT-4.7.3-4 MQTT-3.3.2-3',
  ],
  'a table of filters and topics: levels, empty levels, case, spaces, no normalisation',
  async s => {
    const root = s.topic()
    const at = (name: string): string => name.replace(/^R/, root)
    const publisher = await s.connect()
    const table = matching.map(([filter, list]) => [filter, { filter, list }] as const)
    await eachOf(
      table,
      async ({ filter, list }) => {
        const subscriber = await s.connect()
        await subscriber.subscribe(at(filter), 1)
        for (const topic of topics) await subscriber.publish(at(topic), topic, { qos: 1 })
        const got = (await untilMarker(subscriber, subscriber)).map(p => p.text)
        const mine = got.filter((text, i) => got.indexOf(text) === i)
        assert.deepEqual(mine.sort(), [...wanted(list)].sort())
        await subscriber.disconnect()
      },
      1,
    )
    await publisher.ping()
  },
)

conform(
  ['v3.1', 'v3.1.1 MQTT-4.7.2-1', 'v5 MQTT-4.7.2-1'],
  'a filter that starts with a wildcard does not match a topic that starts with $',
  async s => {
    const [client, publisher] = [await s.connect(), await s.connect()]
    const name = s.topic()
    await client.subscribe(['#', '+/+/+', `+/${name}`, '+/#'], 1)
    const topic = `$private/${name}`
    await publisher.publish(topic, 'hidden', { qos: 1 })
    const before = await untilMarker(client, publisher)
    assert.deepEqual(
      before.filter(p => p.topic.startsWith('$')).map(p => p.topic),
      [],
    )
  },
)

conform(
  ['v3.1.1 MQTT-4.7.2-1', 'v5 MQTT-4.7.2-1'],
  'a $-topic is matched by a filter that names its first level',
  async s => {
    const client = await s.connect()
    const name = s.topic()
    for (const filter of [`$own/${name}`, '$own/#', '$own/+/+']) {
      await client.subscribe(filter, 1)
      await client.publish(`$own/${name}`, filter, { qos: 1 })
      assert.equal((await client.receive()).text, filter)
      await client.unsubscribe(filter)
    }
  },
)

conform(['v3.1', 'v3.1.1', 'v5'], '# alone and + alone match from the top, empty first levels included', async s => {
  const [all, one, two, publisher] = [await s.connect(), await s.connect(), await s.connect(), await s.connect()]
  await all.subscribe('#', 1)
  await one.subscribe('+', 1)
  await two.subscribe('/+', 1)
  const name = s.id()
  for (const topic of [name, `/${name}`]) await publisher.publish(topic, name, { qos: 1 })
  const seen = async (c: typeof all): Promise<string[]> =>
    (await untilMarker(c, publisher)).filter(p => p.text === name).map(p => p.topic)
  assert.deepEqual(await seen(all), [name, `/${name}`])
  assert.deepEqual(await seen(one), [name])
  assert.deepEqual(await seen(two), [`/${name}`])
})

conform(['v3.1.1 MQTT-4.7.3-3', 'v5 MQTT-4.7.3-3'], 'a topic of many bytes is used as it is', async s => {
  const client = await s.connect()
  for (const bytes of [1000, 60_000]) {
    const topic = `${s.topic()}/${'é'.repeat(bytes / 2)}`
    await client.subscribe(topic, 1)
    await client.publish(topic, 'long', { qos: 1 })
    assert.equal((await client.receive()).topic, topic)
    await client.unsubscribe(topic)
  }
})

conform(['v3.1.1 MQTT-4.7.3-1', 'v5 MQTT-4.7.3-1'], 'topics of one character work', async s => {
  const client = await s.connect()
  for (const topic of ['/', ' ', 'a', '~', '€', '𝄞']) {
    await client.subscribe(topic, 1)
    await client.publish(topic, s.id(), { qos: 1 })
    assert.equal((await client.receive()).topic, topic)
    await client.unsubscribe(topic)
  }
})

conform(['v3.1.1', 'v5'], 'a topic with more levels than the limit does no harm', async s => {
  const [client, watcher] = [await s.connect(), await s.connect()]
  const deep = Array(1000).fill('x').join('/')
  client.send(mqtt.publish(s.v, { topic: deep, payload: 'deep', qos: 1, packetId: 1 }))
  const p = await client.next()
  assert.ok(p === undefined || p.type === Type.PUBACK || p.type === Type.DISCONNECT)
  if (s.v === 5 && p) assert.ok([0, 0x10, 0x90, 0x97].includes(p.reason), `reason ${p.reason}`)
  await expectNoMessage(watcher)
})

conform(['v3.1.1', 'v5'], 'topics of 128 levels work', async s => {
  const client = await s.connect()
  const topic = `${s.topic()}/${Array(126).fill('l').join('/')}`
  await client.subscribe(topic, 1)
  await client.publish(topic, 'deep', { qos: 1 })
  assert.equal((await client.receive()).text, 'deep')
})
