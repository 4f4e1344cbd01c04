import {
  type ConnectPacket,
  FIXED_HEADER_BYTES_MAX,
  keepAliveTimeoutMs,
  OutboundTopicAliases,
  PACKET_BYTES_MAX,
  type Properties,
  RECEIVE_MAXIMUM_DEFAULT,
  SESSION_EXPIRY_NEVER,
  STRING_BYTES_MAX,
} from '@midge/protocol-core'
import type { Limits } from '../../config/schema.ts'
import type { Terms } from '../connection/terms.ts'

/** QoS 1 and 2 messages in flight to a client of MQTT 3.x, which cannot name a Receive Maximum. */
const INFLIGHT_MAX_V3 = 1024
/** A Mosquitto that bridges drops the connection for more unreleased QoS 2 messages than its `max_inflight_messages`. */
const INFLIGHT_MAX_BRIDGE = 20
/** Topic aliases this server sets towards a client, whatever more the client would allow. */
const ALIASES_OUT_MAX = 64

/** What a CONNECT asks for, within the limits of the server. */
export function termsOf(packet: ConnectPacket, limits: Limits): Terms {
  const { properties } = packet
  return {
    keepAliveMs: keepAliveTimeoutMs(keepAliveOf(packet, limits)),
    receiveMax: receiveMaxOf(packet),
    packetBytesMax: properties.maximumPacketSize ?? PACKET_BYTES_MAX,
    requestProblemInformation: properties.requestProblemInformation !== 0,
    sessionExpirySeconds: sessionExpiryOf(packet, limits),
    hasWill: packet.will !== undefined,
    isBridge: packet.isBridge,
    authenticationMethod: properties.authenticationMethod,
    topicAliasMax: properties.topicAliasMaximum ?? 0,
  }
}

function receiveMaxOf(packet: ConnectPacket): number {
  if (packet.version === 5) return packet.properties.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT
  return packet.isBridge ? INFLIGHT_MAX_BRIDGE : INFLIGHT_MAX_V3
}

/** QoS 1 and 2 messages in flight to the client at most. */
export function outboundWindow(terms: Terms, limits: Limits): number {
  return Math.min(terms.receiveMax, RECEIVE_MAXIMUM_DEFAULT, Math.max(limits.receiveMax, INFLIGHT_MAX_V3))
}

/** How PUBLISH packets go out to a client with these terms. */
export function outputFormOf(
  terms: Terms,
  limits: Limits,
): { takesPlainFrames: boolean; aliasesOut: OutboundTopicAliases | undefined } {
  const { topicAliasMax } = terms
  // A frame may leave larger than it came in: with the name for an alias, and properties where there were none.
  const plainBytesMax = limits.maxPacketBytes + STRING_BYTES_MAX + FIXED_HEADER_BYTES_MAX
  return {
    takesPlainFrames: topicAliasMax === 0 && terms.packetBytesMax >= plainBytesMax,
    aliasesOut: topicAliasMax > 0 ? new OutboundTopicAliases(Math.min(topicAliasMax, ALIASES_OUT_MAX)) : undefined,
  }
}

/** What CONNACK is made from. */
export interface ConnackFacts {
  readonly packet: ConnectPacket
  /** As the server has settled it. */
  readonly clientId: string
  readonly terms: Terms
  readonly limits: Limits
  /** Largest packet that the client may send. */
  readonly packetBytesMax: number
  /** The last message of an enhanced authentication. */
  readonly authenticationData: Uint8Array | undefined
}

/** What CONNACK tells a v5 client besides its code. v5 section 3.2.2.3 */
export function connackProperties(facts: ConnackFacts): Properties {
  const { packet, clientId, terms, limits, packetBytesMax, authenticationData } = facts
  const properties: Properties = {
    receiveMaximum: limits.receiveMax,
    maximumPacketSize: packetBytesMax,
    topicAliasMaximum: limits.topicAliasMax,
  }
  if (terms.sessionExpirySeconds !== (packet.properties.sessionExpiryInterval ?? 0)) {
    properties.sessionExpiryInterval = terms.sessionExpirySeconds
  }
  const keepAlive = keepAliveOf(packet, limits)
  if (keepAlive !== packet.keepAliveSeconds) properties.serverKeepAlive = keepAlive
  if (packet.clientId === '') properties.assignedClientIdentifier = clientId
  // v5 [MQTT-3.1.2-28]: only to a client that asked.
  if (packet.properties.requestResponseInformation === 1) properties.responseInformation = `response/${clientId}`
  if (terms.authenticationMethod !== undefined) properties.authenticationMethod = terms.authenticationMethod
  if (authenticationData !== undefined) properties.authenticationData = authenticationData
  return properties
}

/** v5 [MQTT-3.2.2-21]: the server's own keep-alive replaces a longer one; 3.x clients cannot be told. */
function keepAliveOf(packet: ConnectPacket, { keepAliveSecondsMax: max }: Limits): number {
  const wished = packet.keepAliveSeconds
  return packet.version === 5 && max > 0 && (wished === 0 || wished > max) ? max : wished
}

/** A 3.x session that is not clean lives as long as the server lets sessions live. */
function sessionExpiryOf(packet: ConnectPacket, limits: Limits): number {
  const wished =
    packet.version === 5 ? (packet.properties.sessionExpiryInterval ?? 0) : packet.cleanStart ? 0 : SESSION_EXPIRY_NEVER
  return Math.min(wished, limits.sessionExpirySecondsMax)
}
