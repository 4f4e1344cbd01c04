import { type ConnectPacket, EMPTY_BYTES, encodeUtf8, Message, ReasonCode } from '@midge/protocol-core'
import type { ConnectPacket as AedesConnect, PublishPacket } from 'aedes'

/** Aedes calls back with null when all is well; its types leave that out. */
export const NO_ERROR = null as unknown as undefined

/** PUBLISH in Aedes' words; hooks may write into it, and its payload is a copy of its own. */
export interface AedesPublish extends PublishPacket {
  /** The client that has published it; absent when the broker has. */
  clientId?: string
}

/** What `broker.publish` takes: Aedes lets programs leave out all but the topic. */
export type AedesPublishInput = Partial<PublishPacket> & { topic: string }

export function toAedesPublish(message: Message): AedesPublish {
  const packet: AedesPublish = {
    cmd: 'publish',
    topic: message.topicName,
    payload: Buffer.from(message.payload),
    qos: message.qos,
    retain: message.retain,
    dup: false,
  }
  if (message.publisherId !== '') packet.clientId = message.publisherId
  return packet
}

export function toMessage(packet: AedesPublishInput, publisherId = ''): Message {
  return new Message({
    topicName: packet.topic,
    topicBytes: encodeUtf8(packet.topic),
    payload: bytesOf(packet.payload),
    qos: packet.qos ?? 0,
    retain: packet.retain === true,
    properties: EMPTY_BYTES,
    expiresAtMs: 0,
    publisherId,
  })
}

/** The message that a hook has made of another one. Properties, expiry and publisher stay. */
export function rewritten(original: Message, packet: AedesPublishInput): Message {
  const isSameTopic = packet.topic === original.topicName
  return new Message({
    topicName: packet.topic,
    topicBytes: isSameTopic ? original.topicBytes : encodeUtf8(packet.topic),
    payload: bytesOf(packet.payload),
    qos: packet.qos ?? original.qos,
    retain: packet.retain === true,
    properties: original.properties,
    expiresAtMs: original.expiresAtMs,
    publisherId: original.publisherId,
  })
}

/** Nothing is an empty payload, as in Aedes. */
function bytesOf(payload: string | Uint8Array | undefined): Uint8Array {
  return typeof payload === 'string' ? encodeUtf8(payload) : (payload ?? EMPTY_BYTES)
}

/** CONNECT for `preConnect`. */
export function toAedesConnect(packet: ConnectPacket): AedesConnect {
  const { will, username, password } = packet
  const connect: AedesConnect = {
    cmd: 'connect',
    clientId: packet.clientId,
    protocolVersion: packet.version,
    protocolId: packet.version === 3 ? 'MQIsdp' : 'MQTT',
    clean: packet.cleanStart,
    keepalive: packet.keepAliveSeconds,
  }
  if (username !== undefined) connect.username = username
  if (password !== undefined) connect.password = Buffer.from(password)
  if (will !== undefined) {
    const { topicName, payload, qos, retain } = will
    connect.will = { topic: topicName, payload: Buffer.from(payload), qos, retain }
  }
  return connect
}

/** Takes over what `preConnect` has changed in CONNECT. */
export function takeChanges(packet: ConnectPacket, connect: AedesConnect): void {
  packet.clientId = connect.clientId
  packet.cleanStart = connect.clean === true
  packet.keepAliveSeconds = connect.keepalive ?? 0
  packet.username = connect.username
  packet.password = connect.password
  const { will } = connect
  if (will === undefined) packet.will = undefined
  else {
    const properties = packet.will ?? NO_WILL_PROPERTIES
    const { topic: topicName, payload, qos = 0, retain = false } = will
    packet.will = { ...properties, topicName, payload: bytesOf(payload), qos, retain }
  }
}

/** Of a will that the client has not asked for. */
const NO_WILL_PROPERTIES = { willDelaySeconds: 0, messageExpirySeconds: undefined, properties: EMPTY_BYTES }

/** The Reason Code for a return code that an `authenticate` hook has set on its error. */
export function toReasonCode(returnCode: number | undefined): number {
  switch (returnCode) {
    case 1:
      return ReasonCode.unsupportedProtocolVersion
    case 2:
      return ReasonCode.clientIdentifierNotValid
    case 3:
      return ReasonCode.serverUnavailable
    case 4:
      return ReasonCode.badUserNameOrPassword
    default:
      return ReasonCode.notAuthorized
  }
}
