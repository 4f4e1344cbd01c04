import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MidgeNode, PASSWORD, USER, watchNodes } from '../support/midge-node.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, type Packet, Type, type Version } from '../support/mqtt-bytes.ts'
import { type SeededRandom, seededRandom } from '../support/random.ts'
import { RawClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'

/** On both sides of what a read, a slice that is sent by reference and a buffer of the node hold. */
const SIZES = [8, 64, 400, 900, 1000, 1010, 1023, 1024, 1025, 1100, 2048, 4095, 16_000, 65_500, 65_536, 70_000]
const SMALL_SIZES = SIZES.filter(size => size < 950)
const PUBLISHERS = 12
const HEAD_BYTES = 8
const DONE_MS = 30_000

let node: MidgeNode
before(async () => {
  node = await MidgeNode.start()
})
after(() => node?.stop())
watchNodes(() => [node])

/** Bytes that say whose they are, and of which nothing else has a part. */
function payloadOf(publisher: number, number: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let i = HEAD_BYTES; i < size; i++) bytes[i] = (publisher * 53 + number * 19 + i * 7 + (i >>> 8)) & 0xff
  bytes.writeUInt16BE(publisher, 0)
  bytes.writeUInt16BE(number, 2)
  bytes.writeUInt32BE(size, 4)
  return bytes
}

/** @returns what the payload says it is, when every byte of it agrees */
function checked(packet: Packet): string {
  const bytes = Buffer.from(packet.payload)
  const [publisher, number, size] = [bytes.readUInt16BE(0), bytes.readUInt16BE(2), bytes.readUInt32BE(4)]
  assert.equal(bytes.length, size, `length of message ${number} of publisher ${publisher}`)
  assert.ok(bytes.equals(payloadOf(publisher, number, size)), `bytes of message ${number} of publisher ${publisher}`)
  return `${publisher}:${number}`
}

/** Reads messages, checks and acknowledges them. */
class Reader {
  readonly seen: string[] = []
  /** What the user property of each message says it is. */
  readonly named: string[] = []
  readonly client: RawClient

  constructor(client: RawClient) {
    this.client = client
  }

  static async open(version: Version, clientId: string, fields: mqtt.ConnectFields = {}): Promise<Reader> {
    const client = await RawClient.open('127.0.0.1', node.port, version)
    await client.connect({ clientId, ...fields })
    return new Reader(client)
  }

  /** Reads until `count` messages have come. */
  async read(count: number): Promise<void> {
    while (this.seen.length < count) {
      const packet = await this.client.receive(DONE_MS)
      this.seen.push(checked(packet))
      for (const [id, value] of packet.properties) if (id === P.userProperty) this.named.push(String([value].flat()[1]))
    }
  }
}

interface Sending {
  readonly client: RawClient
  readonly bytes: Buffer
  at: number
}

/** What is written meanwhile waits in the kernel, so that the node reads from all connections in one turn. */
async function whileNodeSleeps(write: () => void): Promise<void> {
  process.kill(node.pid, 'SIGSTOP')
  write()
  await nextTurn()
  process.kill(node.pid, 'SIGCONT')
}

/** Every publisher writes one small message, then every one its next. */
async function sendSingly(clients: readonly RawClient[], frameOf: (publisher: number, number: number) => Uint8Array) {
  for (let number = 0; number < SMALL_SIZES.length; number++) {
    await whileNodeSleeps(() => {
      clients.forEach((client, publisher) => void client.stream.write(frameOf(publisher, number)))
    })
    for (const client of clients) await until('an acknowledgement', () => client.queued > number)
  }
}

/** Sends what each publisher has in pieces, one piece of each in turn, so that reads of all of them interleave. */
async function sendInterleaved(sendings: readonly Sending[], random: SeededRandom): Promise<void> {
  const open = new Set(sendings)
  while (open.size > 0) {
    for (const sending of open) {
      const { client, bytes } = sending
      // Mostly whole small reads, sometimes a few bytes, sometimes more than one read takes.
      const [few, many] = [1 + random.whole(40), 1 + random.whole(90_000)]
      const count = random.whole(3) === 0 ? few : random.whole(2) === 0 ? 1 + random.whole(2000) : many
      client.stream.write(bytes.subarray(sending.at, sending.at + count))
      sending.at += count
      if (sending.at >= bytes.length) open.delete(sending)
    }
    await nextTurn()
  }
}

/** Connected publishers of one test. */
async function openPublishers(version: Version, name: string): Promise<RawClient[]> {
  const clients: RawClient[] = []
  for (let i = 0; i < PUBLISHERS; i++) {
    const client = await RawClient.open('127.0.0.1', node.port, version)
    await client.connect({ clientId: `${name}-${version}-${i}` })
    clients.push(client)
  }
  return clients
}

describe('payloads of many connections that are read into one buffer', () => {
  for (const version of [4, 5] as const) {
    for (const qos of [0, 1, 2] as const) {
      it(`v${version} QoS ${qos}: every byte arrives at fast, slow, absent and later subscribers`, async () => {
        const random = seededRandom(`shared reads v${version} QoS ${qos}`)
        const root = `shared/${version}/${qos}`
        const durable: mqtt.ConnectFields =
          version === 5 ? { clean: false, properties: [[P.sessionExpiry, 300]] } : { clean: false }
        const fast = await Reader.open(version, `fast-${version}-${qos}`)
        const other = await Reader.open(version === 5 ? 4 : 5, `other-${version}-${qos}`)
        const slow = await Reader.open(version, `slow-${version}-${qos}`)
        const absent = await Reader.open(version, `absent-${version}-${qos}`, durable)
        for (const { client } of [fast, other, slow, absent]) await client.subscribe(`${root}/#`, qos)
        absent.client.drop()
        slow.client.stream.pause()

        const sizesOf = (publisher: number): number[] => SIZES.map((_, i) => SIZES[(i + publisher) % SIZES.length] ?? 8)
        const publishers = await openPublishers(version, `publisher-${qos}`)
        const sendings: Sending[] = publishers.map((client, publisher) => {
          const frames = sizesOf(publisher).map((size, number) =>
            mqtt.publish(version, {
              topic: `${root}/${publisher}`,
              payload: payloadOf(publisher, number, size),
              qos,
              packetId: qos === 0 ? 0 : number + 1,
              // The last one stays, for whoever comes later.
              flags: (qos << 1) | (number === SIZES.length - 1 ? 1 : 0),
            }),
          )
          return { client, bytes: Buffer.concat(frames), at: 0 }
        })
        await sendInterleaved(sendings, random)

        const count = PUBLISHERS * SIZES.length
        await Promise.all([fast.read(count), other.read(count)])
        slow.client.stream.resume()
        await slow.read(count)
        const wanted = sendings.flatMap((_, publisher) => SIZES.map((__, number) => `${publisher}:${number}`)).sort()
        for (const reader of [fast, other, slow]) assert.deepEqual([...reader.seen].sort(), wanted)
        if (qos > 0) {
          for (const { client } of sendings) {
            await until('every acknowledgement', () => client.queued >= SIZES.length, DONE_MS)
          }
          const back = await Reader.open(version, `absent-${version}-${qos}`, durable)
          assert.equal(back.client.connack?.sessionPresent, true)
          await back.read(count)
          assert.deepEqual(back.seen.sort(), wanted)
          back.client.drop()
        }
        const late = await Reader.open(version, `late-${version}-${qos}`)
        await late.client.subscribe(`${root}/#`, qos)
        await late.read(PUBLISHERS)
        assert.deepEqual(late.seen.sort(), wanted.filter(name => name.endsWith(`:${SIZES.length - 1}`)).sort())
        for (const { client } of [fast, other, slow, late, ...sendings]) client.drop()
      })
    }
  }

  for (const version of [4, 5] as const) {
    it(`v${version}: small messages that come one in each read are stored as they were`, async () => {
      const fields: mqtt.ConnectFields =
        version === 5 ? { clean: false, properties: [[P.sessionExpiry, 300]] } : { clean: false }
      const absent = await Reader.open(version, `small-${version}`, fields)
      await absent.client.subscribe(`small/${version}/#`, 2)
      absent.client.drop()
      const publishers = await openPublishers(version, 'small')
      const sizeOf = (publisher: number, number: number): number =>
        SMALL_SIZES[(publisher + number) % SMALL_SIZES.length] ?? 8
      await sendSingly(publishers, (publisher, number) =>
        mqtt.publish(version, {
          topic: `small/${version}/${publisher}`,
          payload: payloadOf(publisher, number, sizeOf(publisher, number)),
          qos: 1 + (number % 2),
          packetId: number + 1,
          retain: number === SMALL_SIZES.length - 1,
          properties: [[P.userProperty, ['from', `${publisher}:${number}`]]],
        }),
      )
      for (const client of publishers) client.drop()

      const wanted = publishers.flatMap((_, i) => SMALL_SIZES.map((__, number) => `${i}:${number}`)).sort()
      const back = await Reader.open(version, `small-${version}`, fields)
      await back.read(wanted.length)
      assert.deepEqual([...back.seen].sort(), wanted)
      if (version === 5) assert.deepEqual(back.named, back.seen)
      const late = await Reader.open(version, `small-late-${version}`)
      await late.client.subscribe(`small/${version}/#`, 1)
      await late.read(PUBLISHERS)
      back.client.drop()
      late.client.drop()
    })

    it(`v${version}: what comes with CONNECT in one write waits for CONNACK unharmed`, async () => {
      const watcher = await Reader.open(version, `together-${version}`)
      await watcher.client.subscribe(`together/${version}/#`, 1)
      const clients = await Promise.all(
        Array.from({ length: PUBLISHERS }, () => RawClient.open('127.0.0.1', node.port, version)),
      )
      const write = (client: RawClient, i: number): void => {
        const topic = `together/${version}/${i}`
        const frame = mqtt.publish(version, { topic, payload: payloadOf(i, 0, 300 + i), qos: 1, packetId: 1 })
        // A password takes the node a while; meanwhile it reads from the others.
        const who = { clientId: `together-${version}-${i}`, username: USER, password: PASSWORD }
        const connect = mqtt.connect(version, who)
        client.send(connect, mqtt.subscribe(version, 7, [[`other/${i}`, 0]]), frame)
      }
      await whileNodeSleeps(() => clients.forEach(write))
      for (const client of clients) await client.waitFor(Type.PUBACK)
      await watcher.read(PUBLISHERS)
      assert.deepEqual(watcher.seen.sort(), clients.map((_, i) => `${i}:0`).sort())
      for (const client of [watcher.client, ...clients]) client.drop()
    })
  }

  it('the will of a client whose CONNECT was read between those of others', async () => {
    const watcher = await Reader.open(5, 'will-watcher')
    await watcher.client.subscribe('will/#', 1)
    const clients = await Promise.all(
      Array.from({ length: PUBLISHERS }, () => RawClient.open('127.0.0.1', node.port, 5)),
    )
    const write = (client: RawClient, i: number): void => {
      const will = { topic: `will/${i}`, payload: payloadOf(i, 0, 900), qos: 1 }
      client.send(mqtt.connect(5, { clientId: `willing-${i}`, will }), mqtt.pingreq())
    }
    await whileNodeSleeps(() => clients.forEach(write))
    for (const client of clients) await client.waitFor(Type.PINGRESP)
    for (const client of clients) client.drop()
    await watcher.read(PUBLISHERS)
    assert.deepEqual(watcher.seen.sort(), clients.map((_, i) => `${i}:0`).sort())
    watcher.client.drop()
  })
})
