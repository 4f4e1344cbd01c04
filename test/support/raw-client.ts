import assert from 'node:assert/strict'
import { connect as connectTcp } from 'node:net'
import type { Duplex } from 'node:stream'
import * as mqtt from './mqtt-bytes.ts'
import {
  type ConnectFields,
  type Packet,
  type Part,
  type Property,
  type PublishFields,
  Type,
  type Version,
} from './mqtt-bytes.ts'

/** How long a test waits for something that must happen, in milliseconds. */
export const PATIENCE = 5000

/** Names of packet types for messages of failed assertions. */
const typeNames = Object.fromEntries(Object.entries(Type).map(([name, n]) => [n, name]))

function describe(p: Packet | undefined): string {
  if (p === undefined) return 'the end of the connection'
  const reason = p.reason === 0 ? '' : ` 0x${p.reason.toString(16)}`
  return `${typeNames[p.type]}${reason}${p.type === Type.PUBLISH ? ` "${p.topic}" "${p.text.slice(0, 40)}"` : ''}`
}

/** What to expect of the end of a connection. */
export interface CloseExpectation {
  /** Reason Codes that DISCONNECT may carry in MQTT 5; without it any code of 0x80 or more. */
  readonly reason?: number | readonly number[]
  /** MQTT 5: accept a close without DISCONNECT. */
  readonly silent?: boolean
  readonly within?: number
}

/**
 * One connection that speaks raw bytes.
 *
 * Every packet that arrives is queued in order. `expect` insists on the very next one, `waitFor` picks the next of a
 * type and leaves the others in the queue.
 */
export class RawClient {
  readonly version: Version
  readonly stream: Duplex
  /** The last CONNACK that `connect` received. */
  connack: Packet | undefined
  /** Client identifier of the last `connect`. */
  clientId = ''
  private readonly queue: Packet[] = []
  private readonly splitter = new mqtt.Splitter()
  private wake: (() => void) | undefined
  private failure: Error | undefined
  private lastPacketId = 0
  private ended = false

  constructor(stream: Duplex, version: Version) {
    this.stream = stream
    this.version = version
    stream.on('data', (chunk: Uint8Array) => this.receiveBytes(chunk))
    stream.on('error', () => this.finish())
    stream.on('end', () => this.finish())
    stream.on('close', () => this.finish())
  }

  /** Opens a TCP connection and sends nothing. */
  static async open(host: string, port: number, version: Version): Promise<RawClient> {
    const socket = connectTcp({ host, port, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawClient(socket, version)
  }

  private receiveBytes(chunk: Uint8Array): void {
    try {
      for (const [first, body] of this.splitter.push(chunk)) this.queue.push(mqtt.decode(this.version, first, body))
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error))
    }
    this.wake?.()
  }

  private finish(): void {
    this.ended = true
    this.wake?.()
  }

  /** True when the broker has closed the connection. */
  get closed(): boolean {
    return this.ended
  }

  /** Number of packets that have arrived and were not looked at. */
  get queued(): number {
    return this.queue.length
  }

  /** Sends raw bytes. */
  send(...parts: readonly Part[]): void {
    if (!this.stream.destroyed) this.stream.write(mqtt.bytes(...parts))
  }

  /** Ends the connection without DISCONNECT, as a network failure would. */
  drop(): void {
    this.stream.destroy()
  }

  /** A Packet Identifier that this client has not used recently. */
  nextPacketId(): number {
    this.lastPacketId = (this.lastPacketId % 65535) + 1
    return this.lastPacketId
  }

  private async arrival(deadline: number): Promise<boolean> {
    const left = deadline - Date.now()
    if (left <= 0) return false
    return new Promise(resolve => {
      const timer = setTimeout(() => {
        this.wake = undefined
        resolve(false)
      }, left)
      this.wake = () => {
        clearTimeout(timer)
        this.wake = undefined
        resolve(true)
      }
    })
  }

  /** The next packet, or `undefined` when the connection has ended. */
  async next(within: number = PATIENCE): Promise<Packet | undefined> {
    const deadline = Date.now() + within
    for (;;) {
      const first = this.queue.shift()
      if (first) return first
      if (this.failure) throw this.failure
      if (this.ended) return undefined
      if (!(await this.arrival(deadline))) assert.fail(`nothing arrived within ${within} ms`)
    }
  }

  /** The next packet, which must be of this type. */
  async expect(type: number, within: number = PATIENCE): Promise<Packet> {
    const p = await this.next(within).catch((error: Error) => {
      throw new Error(`expected ${typeNames[type]}: ${error.message}`)
    })
    if (p?.type !== type) assert.fail(`expected ${typeNames[type]}, got ${describe(p)}`)
    return p
  }

  /** The next packet of this type that satisfies the condition; others stay in the queue. */
  async waitFor(
    type: number,
    matches: (p: Packet) => boolean = () => true,
    within: number = PATIENCE,
  ): Promise<Packet> {
    const deadline = Date.now() + within
    for (;;) {
      const at = this.queue.findIndex(p => p.type === type && matches(p))
      if (at >= 0) return this.queue.splice(at, 1)[0] as Packet
      if (this.failure) throw this.failure
      if (this.ended) assert.fail(`expected ${typeNames[type]}, but the connection ended${this.leftovers()}`)
      if (!(await this.arrival(deadline))) assert.fail(`no ${typeNames[type]} within ${within} ms${this.leftovers()}`)
    }
  }

  private leftovers(): string {
    return this.queue.length === 0 ? '' : ` (in the queue: ${this.queue.slice(0, 5).map(describe).join(', ')})`
  }

  /**
   * Reads until the broker closes the connection.
   *
   * In MQTT 5 the last packet must be DISCONNECT with an expected Reason Code; in 3.x no DISCONNECT may come (the
   * decoder refuses it).
   *
   * @returns the Reason Code, or -1 without DISCONNECT
   */
  async expectClose(want: CloseExpectation = {}): Promise<number> {
    const within = want.within ?? PATIENCE
    const deadline = Date.now() + within
    let last: Packet | undefined
    for (;;) {
      const left = Math.max(1, deadline - Date.now())
      const p = await this.next(left).catch((error: Error) => {
        throw new Error(`expected the broker to close the connection: ${error.message}; last was ${describe(last)}`)
      })
      if (p === undefined) break
      assert.notEqual(last?.type, Type.DISCONNECT, `${describe(p)} came after DISCONNECT`)
      last = p
    }
    if (this.version !== 5) return -1
    if (last?.type !== Type.DISCONNECT) {
      if (want.silent) return -1
      assert.fail(`expected DISCONNECT before the close, last was ${describe(last)}`)
    }
    const allowed = want.reason === undefined ? undefined : [want.reason].flat()
    const ok = allowed === undefined ? last.reason >= 0x80 : allowed.includes(last.reason)
    const wanted = allowed?.map(r => `0x${r.toString(16)}`).join(' or ') ?? '0x80 or more'
    assert.ok(ok, `DISCONNECT with ${wanted} expected, got 0x${last.reason.toString(16)}`)
    return last.reason
  }

  /**
   * Reads the answer to a CONNECT that the broker must refuse, up to the close.
   *
   * @param codes - codes that a CONNACK may carry
   * @param connack - `must`: a CONNACK has to come; `may`: it may; `never`: the connection just ends
   */
  async expectRefusal(codes: readonly number[], connack: 'must' | 'may' | 'never'): Promise<number> {
    const p = await this.next()
    if (p === undefined) {
      assert.notEqual(connack, 'must', 'the connection was closed without CONNACK')
      return -1
    }
    assert.equal(p.type, Type.CONNACK, `expected a refusal, got ${describe(p)}`)
    assert.notEqual(p.reason, 0, 'the broker accepted this CONNECT')
    assert.notEqual(connack, 'never', `expected a close without CONNACK, got code ${p.reason}`)
    assert.ok(codes.includes(p.reason), `CONNACK code in ${codes} expected, got ${p.reason}`)
    assert.equal(p.sessionPresent, false, 'a refusal has Session Present 0')
    const after = await this.next()
    assert.equal(after, undefined, `${describe(after)} came after the refusal`)
    return p.reason
  }

  /** Sends CONNECT and expects that it is accepted. */
  async connect(fields: ConnectFields = {}): Promise<Packet> {
    this.send(mqtt.connect(this.version, fields))
    const p = await this.expect(Type.CONNACK)
    assert.equal(p.reason, 0, `CONNECT was refused with ${p.reason}`)
    this.connack = p
    if (typeof fields.clientId === 'string') this.clientId = fields.clientId
    return p
  }

  /** SUBSCRIBE of one or more filters with one options byte; returns SUBACK. */
  async subscribe(
    filter: string | readonly string[],
    options: number = 0,
    props?: readonly Property[],
  ): Promise<Packet> {
    const filters = [filter].flat()
    const packetId = this.nextPacketId()
    const list = filters.map(f => [f, options] as const)
    this.send(mqtt.subscribe(this.version, packetId, list, props))
    const suback = await this.waitFor(Type.SUBACK)
    assert.equal(suback.packetId, packetId, 'SUBACK carries the Packet Identifier of SUBSCRIBE')
    assert.equal(suback.codes.length, filters.length, 'SUBACK carries one code for each filter')
    return suback
  }

  /** UNSUBSCRIBE of one or more filters; returns UNSUBACK. */
  async unsubscribe(filter: string | readonly string[]): Promise<Packet> {
    const packetId = this.nextPacketId()
    this.send(mqtt.unsubscribe(this.version, packetId, [filter].flat()))
    const unsuback = await this.waitFor(Type.UNSUBACK)
    assert.equal(unsuback.packetId, packetId, 'UNSUBACK carries the Packet Identifier of UNSUBSCRIBE')
    return unsuback
  }

  /**
   * PUBLISH, completed as its QoS asks.
   *
   * @returns the first acknowledgement (PUBACK or PUBREC), `undefined` for QoS 0
   */
  async publish(topic: string, payload: Part = '', more: PublishFields = {}): Promise<Packet | undefined> {
    const qos = more.qos ?? 0
    const packetId = qos === 0 ? 0 : (more.packetId ?? this.nextPacketId())
    this.send(mqtt.publish(this.version, { topic, payload, ...more, packetId }))
    if (qos === 0) return undefined
    const first = await this.waitFor(qos === 1 ? Type.PUBACK : Type.PUBREC, p => p.packetId === packetId)
    if (qos === 2 && first.reason < 0x80) {
      this.send(mqtt.ack(Type.PUBREL, packetId))
      await this.waitFor(Type.PUBCOMP, p => p.packetId === packetId)
    }
    return first
  }

  /** Acknowledges a received PUBLISH as its QoS asks. */
  async acknowledge(p: Packet): Promise<void> {
    if (p.qos === 1) this.send(mqtt.ack(Type.PUBACK, p.packetId))
    if (p.qos !== 2) return
    this.send(mqtt.ack(Type.PUBREC, p.packetId))
    await this.waitFor(Type.PUBREL, rel => rel.packetId === p.packetId)
    this.send(mqtt.ack(Type.PUBCOMP, p.packetId))
  }

  /** The next PUBLISH, acknowledged. */
  async receive(within: number = PATIENCE): Promise<Packet> {
    const p = await this.waitFor(Type.PUBLISH, undefined, within)
    await this.acknowledge(p)
    return p
  }

  /** The payloads of the next `count` messages, acknowledged. */
  async receiveTexts(count: number): Promise<string[]> {
    const out: string[] = []
    while (out.length < count) out.push((await this.receive()).text)
    return out
  }

  /** PINGREQ and PINGRESP; whatever came before stays in the queue. */
  async ping(): Promise<void> {
    this.send(mqtt.pingreq())
    await this.waitFor(Type.PINGRESP)
  }

  /** Proves by a PINGREQ round trip that the broker had sent nothing else. */
  async expectSilence(): Promise<void> {
    this.send(mqtt.pingreq())
    await this.expect(Type.PINGRESP)
  }

  /** DISCONNECT, then waits for the broker to close, which proves that it has handled it. */
  async disconnect(reason?: number, props?: readonly Property[]): Promise<void> {
    this.send(mqtt.disconnect(reason, props))
    const deadline = Date.now() + PATIENCE
    while (!this.ended && (await this.arrival(deadline))) this.queue.length = 0
    this.stream.destroy()
  }
}

/**
 * Reads everything that reaches `subscriber` up to a marker which `publisher` sends now.
 *
 * The marker takes the same way as any message of that publisher, so what did not come before it was not sent.
 *
 * @param qos - 1 unless the subscriber may have no further unacknowledged message
 * @returns the PUBLISH packets before the marker, not acknowledged
 */
export async function untilMarker(subscriber: RawClient, publisher: RawClient, qos = 1): Promise<Packet[]> {
  const topic = `marker/${Math.random().toString(36).slice(2)}`
  await subscriber.subscribe(topic, qos)
  await publisher.publish(topic, 'marker', { qos })
  const before: Packet[] = []
  for (;;) {
    const p = await subscriber.waitFor(Type.PUBLISH)
    if (p.topic === topic) {
      await subscriber.acknowledge(p)
      await subscriber.unsubscribe(topic)
      return before
    }
    before.push(p)
  }
}

/** Asserts that no message reaches `subscriber` before a marker that `publisher` sends now. */
export async function expectNoMessage(
  subscriber: RawClient,
  publisher: RawClient = subscriber,
  qos = 1,
): Promise<void> {
  const before = await untilMarker(subscriber, publisher, qos)
  assert.deepEqual(
    before.map(p => `${p.topic} ${p.text}`),
    [],
    'no message was expected',
  )
}
