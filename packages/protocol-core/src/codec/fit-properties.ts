import { STRING_BYTES_MAX } from '../limits.ts'
import type { Properties } from '../packet.ts'
import { utf8Length } from '../utf8.ts'
import { varintLength } from './bytes.ts'
import { encodePropertyList, propertyFieldSize } from './encode-properties.ts'

/**
 * Properties that a server may leave out of what it sends, in the order in which they go: first what only explains,
 * then what the server tells about itself. Without one of the last three the client goes by the standard's default,
 * and so has the server to.
 */
const LEFT_OUT_IN_TURN = [
  'reasonString',
  'userProperties',
  'responseInformation',
  'serverReference',
  'topicAliasMaximum',
  'maximumPacketSize',
  'receiveMaximum',
] as const satisfies readonly (keyof Properties)[]

/** A packet whose properties are to be fitted. */
export interface PacketToFit {
  properties: Properties
  /** Bytes of the packet's body that are no properties; the Property Length belongs to the properties. */
  bodyBytes: number
  /** The client's Maximum Packet Size. */
  packetBytesMax: number
}

/**
 * Leaves properties out, one after the other, until the packet is within the client's Maximum Packet Size, and any
 * text that no string on the wire can hold.
 *
 * @returns the properties that fit; `undefined` when not even what has to be said fits: then the
 * packet must not be sent
 *
 * Spec: v5 [MQTT-3.1.2-24]; for reason strings and user properties [MQTT-3.2.2-19], [MQTT-3.2.2-20], [MQTT-3.4.2-2],
 * [MQTT-3.4.2-3] and their like for every other packet.
 */
export function fitProperties(packet: PacketToFit): Properties | undefined {
  const kept = { ...packet.properties }
  if (isTooLong(kept.reasonString)) delete kept.reasonString
  if (isTooLong(kept.responseInformation)) delete kept.responseInformation
  if (fits(packet, kept)) return kept
  for (const key of LEFT_OUT_IN_TURN) {
    if (kept[key] === undefined) continue
    delete kept[key]
    if (fits(packet, kept)) return kept
  }
  return undefined
}

function isTooLong(text: string | undefined): boolean {
  return text !== undefined && utf8Length(text) > STRING_BYTES_MAX
}

function fits({ bodyBytes, packetBytesMax }: PacketToFit, properties: Properties): boolean {
  const length = bodyBytes + propertyFieldSize(encodePropertyList(properties))
  return 1 + varintLength(length) + length <= packetBytesMax
}
