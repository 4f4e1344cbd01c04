/**
 * A small MQTT codec of the tests' own.
 *
 * Builders turn fields into bytes without checking anything, so that a test can say something wrong on purpose;
 * `decode` is strict, so that every test also judges what the broker writes. It shares no code with the broker.
 */

/** Protocol level of a connection: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5. */
export type Version = 3 | 4 | 5

/** A piece of a packet; a string stands for its UTF-8 bytes without a length. */
export type Part = Uint8Array | readonly number[] | string

/** Value of an MQTT 5 property; a pair is a user property. */
export type PropertyValue = number | string | Uint8Array | readonly [string, string]

/** An MQTT 5 property by its number, in the order in which it stands in the packet. */
export type Property = readonly [id: number, value: PropertyValue]

/** MQTT control packet types. */
export const Type = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const

/** MQTT 5 property numbers. */
export const P = {
  payloadFormat: 0x01,
  messageExpiry: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionId: 0x0b,
  sessionExpiry: 0x11,
  assignedClientId: 0x12,
  serverKeepAlive: 0x13,
  authMethod: 0x15,
  authData: 0x16,
  requestProblemInfo: 0x17,
  willDelay: 0x18,
  requestResponseInfo: 0x19,
  responseInfo: 0x1a,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  wildcardAvailable: 0x28,
  subscriptionIdAvailable: 0x29,
  sharedAvailable: 0x2a,
} as const

type Shape = 'byte' | 'u16' | 'u32' | 'vbi' | 'string' | 'binary' | 'pair'

/** Form of each property's value. */
export const shapes: ReadonlyMap<number, Shape> = new Map<number, Shape>([
  [0x01, 'byte'],
  [0x02, 'u32'],
  [0x03, 'string'],
  [0x08, 'string'],
  [0x09, 'binary'],
  [0x0b, 'vbi'],
  [0x11, 'u32'],
  [0x12, 'string'],
  [0x13, 'u16'],
  [0x15, 'string'],
  [0x16, 'binary'],
  [0x17, 'byte'],
  [0x18, 'u32'],
  [0x19, 'byte'],
  [0x1a, 'string'],
  [0x1c, 'string'],
  [0x1f, 'string'],
  [0x21, 'u16'],
  [0x22, 'u16'],
  [0x23, 'u16'],
  [0x24, 'byte'],
  [0x25, 'byte'],
  [0x26, 'pair'],
  [0x27, 'u32'],
  [0x28, 'byte'],
  [0x29, 'byte'],
  [0x2a, 'byte'],
])

/** Properties that each packet may have; type 0 stands for the properties of a will. */
export const allowedProperties: ReadonlyMap<number, readonly number[]> = new Map<number, readonly number[]>([
  [0, [0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]],
  [Type.CONNECT, [0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]],
  [
    Type.CONNACK,
    [0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a],
  ],
  [Type.PUBLISH, [0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26]],
  [Type.PUBACK, [0x1f, 0x26]],
  [Type.PUBREC, [0x1f, 0x26]],
  [Type.PUBREL, [0x1f, 0x26]],
  [Type.PUBCOMP, [0x1f, 0x26]],
  [Type.SUBSCRIBE, [0x0b, 0x26]],
  [Type.SUBACK, [0x1f, 0x26]],
  [Type.UNSUBSCRIBE, [0x26]],
  [Type.UNSUBACK, [0x1f, 0x26]],
  [Type.DISCONNECT, [0x11, 0x1c, 0x1f, 0x26]],
  [Type.AUTH, [0x15, 0x16, 0x1f, 0x26]],
])

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Joins parts into one array of bytes. */
export function bytes(...parts: readonly Part[]): Uint8Array {
  const arrays = parts.map(p => (typeof p === 'string' ? encoder.encode(p) : Uint8Array.from(p)))
  const out = new Uint8Array(arrays.reduce((n, a) => n + a.length, 0))
  let at = 0
  for (const a of arrays) {
    out.set(a, at)
    at += a.length
  }
  return out
}

/** Two bytes, high byte first. */
export function u16(n: number): number[] {
  return [(n >> 8) & 0xff, n & 0xff]
}

/** Four bytes, high byte first. */
export function u32(n: number): number[] {
  return [(n >>> 24) & 0xff, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff]
}

/** Variable Byte Integer in as few bytes as possible. */
export function vbi(n: number): number[] {
  const out: number[] = []
  let rest = n
  do {
    const digit = rest % 128
    rest = Math.floor(rest / 128)
    out.push(rest > 0 ? digit | 0x80 : digit)
  } while (rest > 0)
  return out
}

/** Length-prefixed text or binary data. */
export function str(value: Part): Uint8Array {
  const content = bytes(value)
  return bytes(u16(content.length), content)
}

/** A control packet: first byte as given, Remaining Length computed. */
export function packet(firstByte: number, ...parts: readonly Part[]): Uint8Array {
  const body = bytes(...parts)
  return bytes([firstByte], vbi(body.length), body)
}

/** One property without the length that precedes a property list. */
export function property([id, value]: Property): Uint8Array {
  const shape = shapes.get(id)
  if (typeof value === 'number') {
    const number =
      shape === 'byte' ? [value & 0xff] : shape === 'u16' ? u16(value) : shape === 'vbi' ? vbi(value) : u32(value)
    return bytes([id], number)
  }
  if (typeof value === 'string' || value instanceof Uint8Array) return bytes([id], str(value))
  return bytes([id], str(value[0]), str(value[1]))
}

/** A property list with its length. */
export function properties(list: readonly Property[] = []): Uint8Array {
  const body = bytes(...list.map(property))
  return bytes(vbi(body.length), body)
}

/** Fields of a will. */
export interface WillFields {
  readonly topic: Part
  readonly payload?: Part
  readonly qos?: number
  readonly retain?: boolean
  readonly properties?: readonly Property[]
}

/** Fields of CONNECT; each has a valid default. `flags` replaces the computed Connect Flags. */
export interface ConnectFields {
  readonly protocolName?: Part
  readonly level?: number
  readonly flags?: number
  readonly clean?: boolean
  readonly keepAlive?: number
  readonly clientId?: Part
  readonly will?: WillFields
  readonly username?: Part
  readonly password?: Part
  readonly properties?: readonly Property[]
}

/** CONNECT of a version, every field of which can be overridden. */
export function connect(version: Version, f: ConnectFields = {}): Uint8Array {
  const computed =
    (f.clean === false ? 0 : 2) |
    (f.will ? 4 | ((f.will.qos ?? 0) << 3) | (f.will.retain ? 0x20 : 0) : 0) |
    (f.username === undefined ? 0 : 0x80) |
    (f.password === undefined ? 0 : 0x40)
  const v5 = version === 5
  return packet(
    0x10,
    str(f.protocolName ?? (version === 3 ? 'MQIsdp' : 'MQTT')),
    [f.level ?? version, f.flags ?? computed],
    u16(f.keepAlive ?? 0),
    v5 ? properties(f.properties) : [],
    str(f.clientId ?? ''),
    f.will && v5 ? properties(f.will.properties) : [],
    f.will ? bytes(str(f.will.topic), str(f.will.payload ?? '')) : [],
    f.username === undefined ? [] : str(f.username),
    f.password === undefined ? [] : str(f.password),
  )
}

/** Fields of PUBLISH; `flags` replaces the lower four bits of the first byte. */
export interface PublishFields {
  readonly topic?: Part
  readonly payload?: Part
  readonly qos?: number
  readonly retain?: boolean
  readonly dup?: boolean
  readonly packetId?: number
  readonly flags?: number
  readonly properties?: readonly Property[]
}

/** PUBLISH; the Packet Identifier is written when the QoS is not 0. */
export function publish(version: Version, f: PublishFields): Uint8Array {
  const qos = f.qos ?? 0
  const flags = f.flags ?? (f.dup ? 8 : 0) | (qos << 1) | (f.retain ? 1 : 0)
  return packet(
    0x30 | flags,
    str(f.topic ?? ''),
    (flags & 6) === 0 ? [] : u16(f.packetId ?? 0),
    version === 5 ? properties(f.properties) : [],
    f.payload ?? '',
  )
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP; without `reason` in the short form. */
export function ack(type: number, packetId: number, reason?: number, props?: readonly Property[]): Uint8Array {
  return packet(
    (type << 4) | (type === Type.PUBREL ? 2 : 0),
    u16(packetId),
    reason === undefined ? [] : [reason],
    props === undefined ? [] : properties(props),
  )
}

/** SUBSCRIBE of filters with their options byte (the QoS in 3.x). */
export function subscribe(
  version: Version,
  packetId: number,
  filters: readonly (readonly [Part, number])[],
  props?: readonly Property[],
): Uint8Array {
  const body = filters.map(([filter, options]) => bytes(str(filter), [options]))
  return packet(0x82, u16(packetId), version === 5 ? properties(props) : [], ...body)
}

/** UNSUBSCRIBE of filters. */
export function unsubscribe(
  version: Version,
  packetId: number,
  filters: readonly Part[],
  props?: readonly Property[],
): Uint8Array {
  return packet(0xa2, u16(packetId), version === 5 ? properties(props) : [], ...filters.map(str))
}

/** PINGREQ. */
export function pingreq(): Uint8Array {
  return packet(0xc0)
}

/** DISCONNECT; without `reason` in the short form. */
export function disconnect(reason?: number, props?: readonly Property[]): Uint8Array {
  return packet(0xe0, reason === undefined ? [] : [reason], props === undefined ? [] : properties(props))
}

/** AUTH. */
export function auth(reason: number, props: readonly Property[] = []): Uint8Array {
  return packet(0xf0, [reason], properties(props))
}

/** What the broker sent; fields that a packet type does not have keep their empty value. */
export interface Packet {
  readonly type: number
  readonly flags: number
  readonly length: number
  readonly sessionPresent: boolean
  readonly reason: number
  readonly codes: readonly number[]
  readonly packetId: number
  readonly topic: string
  readonly payload: Uint8Array
  readonly text: string
  readonly qos: number
  readonly retain: boolean
  readonly dup: boolean
  readonly properties: readonly Property[]
}

class Reader {
  at = 0
  readonly data: Uint8Array
  constructor(data: Uint8Array) {
    this.data = data
  }
  get left(): number {
    return this.data.length - this.at
  }
  take(n: number): Uint8Array {
    if (this.left < n) throw new Error(`the broker sent a truncated packet (${n} bytes wanted, ${this.left} left)`)
    this.at += n
    return this.data.subarray(this.at - n, this.at)
  }
  number(n: number): number {
    return this.take(n).reduce((sum, b) => sum * 256 + b, 0)
  }
  vbi(): number {
    let value = 0
    for (let i = 0; i < 4; i++) {
      const b = this.number(1)
      value += (b & 0x7f) * 128 ** i
      if (b < 128) {
        if (i > 0 && b === 0) throw new Error('the broker sent a Variable Byte Integer that is too long')
        return value
      }
    }
    throw new Error('the broker sent a Variable Byte Integer of more than four bytes')
  }
  string(): string {
    const text = decoder.decode(this.take(this.number(2)))
    if (text.includes('\0')) throw new Error('the broker sent U+0000 in a string')
    return text
  }
  value(shape: Shape): PropertyValue {
    if (shape === 'byte') return this.number(1)
    if (shape === 'u16') return this.number(2)
    if (shape === 'u32') return this.number(4)
    if (shape === 'vbi') return this.vbi()
    if (shape === 'string') return this.string()
    if (shape === 'binary') return this.take(this.number(2)).slice()
    return [this.string(), this.string()]
  }
}

function readProperties(r: Reader, type: number): Property[] {
  const inner = new Reader(r.take(r.vbi()))
  const out: Property[] = []
  const seen = new Set<number>()
  while (inner.left > 0) {
    const id = inner.vbi()
    const shape = shapes.get(id)
    if (shape === undefined || !allowedProperties.get(type)?.includes(id)) {
      throw new Error(`the broker sent property ${id} in a packet of type ${type}`)
    }
    const many = id === P.userProperty || (type === Type.PUBLISH && id === P.subscriptionId)
    if (seen.has(id) && !many) throw new Error(`the broker sent property ${id} twice in a packet of type ${type}`)
    seen.add(id)
    out.push([id, inner.value(shape)])
  }
  return out
}

function decodePublish(r: Reader, version: Version, flags: number): Partial<Packet> {
  const qos = (flags >> 1) & 3
  if (qos === 3) throw new Error('the broker sent a PUBLISH of QoS 3')
  const topic = r.string()
  const packetId = qos === 0 ? 0 : r.number(2)
  if (qos > 0 && packetId === 0) throw new Error('the broker sent a PUBLISH with Packet Identifier 0')
  const props = version === 5 ? readProperties(r, Type.PUBLISH) : []
  const payload = r.take(r.left).slice()
  const text = new TextDecoder().decode(payload)
  return { topic, packetId, qos, payload, text, properties: props, retain: (flags & 1) === 1, dup: (flags & 8) === 8 }
}

function decodeBody(r: Reader, version: Version, type: number, flags: number): Partial<Packet> {
  const v5 = version === 5
  switch (type) {
    case Type.CONNACK: {
      const ackFlags = r.number(1)
      if (ackFlags > 1) throw new Error('the broker set reserved bits in CONNACK')
      const reason = r.number(1)
      return { sessionPresent: ackFlags === 1, reason, properties: v5 ? readProperties(r, type) : [] }
    }
    case Type.PUBLISH:
      return decodePublish(r, version, flags)
    case Type.PUBACK:
    case Type.PUBREC:
    case Type.PUBREL:
    case Type.PUBCOMP: {
      const packetId = r.number(2)
      const reason = v5 && r.left > 0 ? r.number(1) : 0
      return { packetId, reason, properties: v5 && r.left > 0 ? readProperties(r, type) : [] }
    }
    case Type.SUBACK:
    case Type.UNSUBACK: {
      const packetId = r.number(2)
      const props = v5 ? readProperties(r, type) : []
      const codes = type === Type.SUBACK || v5 ? [...r.take(r.left)] : []
      return { packetId, properties: props, codes }
    }
    case Type.PINGRESP:
      return {}
    case Type.DISCONNECT:
    case Type.AUTH: {
      if (!v5) throw new Error(`the broker sent a packet of type ${type} to a client that does not speak MQTT 5`)
      const reason = r.left > 0 ? r.number(1) : 0
      return { reason, properties: r.left > 0 ? readProperties(r, type) : [] }
    }
    default:
      throw new Error(`the broker sent a packet of type ${type}, which servers do not send`)
  }
}

/** Decodes one packet of the broker; throws on whatever the standard forbids a server to send. */
export function decode(version: Version, first: number, body: Uint8Array): Packet {
  const type = first >> 4
  const flags = first & 15
  const wanted = type === Type.PUBREL ? 2 : 0
  if (type !== Type.PUBLISH && flags !== wanted) throw new Error(`the broker set flags ${flags} in packet type ${type}`)
  const r = new Reader(body)
  const fields = decodeBody(r, version, type, flags)
  if (r.left > 0) throw new Error(`the broker sent ${r.left} bytes too many in a packet of type ${type}`)
  const empty = { sessionPresent: false, reason: 0, codes: [], packetId: 0, topic: '', payload: new Uint8Array() }
  const none = { text: '', qos: 0, retain: false, dup: false, properties: [] }
  return { type, flags, length: 1 + vbi(body.length).length + body.length, ...empty, ...none, ...fields }
}

/** Splits a stream of bytes into packets; keeps what is not yet complete. */
export class Splitter {
  private pending: Uint8Array = new Uint8Array()

  /** @returns the first byte and the body of each packet that has become complete */
  push(chunk: Uint8Array): [number, Uint8Array][] {
    this.pending = this.pending.length === 0 ? Uint8Array.from(chunk) : bytes(this.pending, chunk)
    const out: [number, Uint8Array][] = []
    let start = 0
    for (;;) {
      let length = 0
      let at = start + 1
      let digit = 128
      for (let shift = 1; digit >= 128 && at < this.pending.length; shift *= 128) {
        digit = this.pending[at++] ?? 0
        length += (digit & 0x7f) * shift
      }
      if (digit >= 128 || at + length > this.pending.length) break
      out.push([this.pending[start] ?? 0, this.pending.slice(at, at + length)])
      start = at + length
    }
    this.pending = this.pending.slice(start)
    return out
  }
}
