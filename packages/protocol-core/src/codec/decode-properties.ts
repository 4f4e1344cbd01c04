import { ProtocolError } from '../errors.ts'
import { PacketType, type Properties } from '../packet.ts'
import { ReasonCode } from '../reason-code.ts'
import { BodyReader, malformed, protocolError } from './body-reader.ts'
import { responseTopicProblem } from './decode-publish.ts'
import { isAllowedIn, isForwardable, MISPLACED_PROPERTY, PropertyId, WireType, wireTypeOf } from './property.ts'

/** For packets without properties, so that none of them allocates an object. */
export const NO_PROPERTIES: Properties = Object.freeze({})

/*
 * Properties, v5 section 2.2.2:
 *
 *   Property Length   Variable Byte Integer: bytes of the list, itself not included
 *   list              (identifier: Variable Byte Integer, value by the identifier's data type) *
 *
 * Every identifier is below 128; a longer one is unknown or not in its shortest form and malformed either way.
 */

/**
 * Reads Property Length and properties.
 *
 * @param packet - packet type, or `WILL_PROPERTIES`
 * @throws {@link ProtocolError} 0x81 for unknown, misplaced and truncated properties and bad UTF-8; 0x82 for repeated
 * ones and values out of range
 *
 * Spec: v5 section 2.2.2.2 and the sections of the properties.
 */
export function readProperties(reader: BodyReader, packet: number): Properties {
  const length = reader.varint()
  if (length === 0) return NO_PROPERTIES
  const start = reader.advance(length)
  const list = new BodyReader(reader.buf, start, start + length)
  const properties: Properties = {}
  const seen = new Set<number>()
  while (!list.isAtEnd) {
    const id = list.byte()
    takeProperty(properties, list, id, packet, seen)
  }
  // v5 sections 3.1.2.11.10 and 3.15.2.2.3: data without a method.
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolError('authentication data without authentication method')
  }
  return properties
}

function takeProperty(properties: Properties, list: BodyReader, id: number, packet: number, seen: Set<number>): void {
  const wireType = wireTypeOf(id)
  const start = list.at
  switch (wireType) {
    case WireType.byte:
    case WireType.uint16:
    case WireType.uint32:
    case WireType.varint: {
      const value = readNumber(list, wireType)
      checkPlace(id, packet, seen)
      setNumber(properties, id, value)
      return
    }
    case WireType.text: {
      const text = list.text()
      checkPlace(id, packet, seen)
      if (id === PropertyId.responseTopic) checkResponseTopic(list, start)
      setText(properties, id, text)
      return
    }
    case WireType.binary: {
      const bytes = list.binary()
      checkPlace(id, packet, seen)
      if (id === PropertyId.correlationData) properties.correlationData = bytes
      else properties.authenticationData = bytes
      return
    }
    case WireType.pair: {
      const pair = [list.text(), list.text()] as const
      checkPlace(id, packet, seen)
      properties.userProperties ??= []
      properties.userProperties.push(pair)
      return
    }
    default:
      throw malformed('unknown property')
  }
}

function readNumber(list: BodyReader, wireType: number): number {
  if (wireType === WireType.byte) return list.byte()
  if (wireType === WireType.uint16) return list.uint16()
  return wireType === WireType.uint32 ? list.uint32() : list.varint()
}

function checkPlace(id: number, packet: number, seen: Set<number>): void {
  if (!isAllowedIn(id, packet)) throw new ProtocolError(MISPLACED_PROPERTY, 'property does not belong to this packet')
  if (id === PropertyId.userProperty) return
  if (seen.has(id)) throw protocolError('property occurs more than once')
  seen.add(id)
}

function checkResponseTopic(list: BodyReader, start: number): void {
  const problem = responseTopicProblem(list.buf, start + 2, list.at)
  if (problem !== 0) throw new ProtocolError(problem, 'response topic is not a topic name')
}

/** Properties of packets that only servers send do not get here: they are misplaced. */
function setNumber(properties: Properties, id: number, value: number): void {
  switch (id) {
    case PropertyId.payloadFormatIndicator:
      properties.payloadFormatIndicator = flag(value)
      return
    case PropertyId.messageExpiryInterval:
      properties.messageExpiryInterval = value
      return
    case PropertyId.subscriptionIdentifier:
      // v5 section 3.8.2.1.2
      properties.subscriptionIdentifiers = [positive(value)]
      return
    case PropertyId.sessionExpiryInterval:
      properties.sessionExpiryInterval = value
      return
    case PropertyId.requestProblemInformation:
      properties.requestProblemInformation = flag(value)
      return
    case PropertyId.willDelayInterval:
      properties.willDelayInterval = value
      return
    case PropertyId.requestResponseInformation:
      properties.requestResponseInformation = flag(value)
      return
    case PropertyId.receiveMaximum:
      // v5 section 3.1.2.11.3
      properties.receiveMaximum = positive(value)
      return
    case PropertyId.topicAliasMaximum:
      properties.topicAliasMaximum = value
      return
    case PropertyId.maximumPacketSize:
      // v5 section 3.1.2.11.4
      properties.maximumPacketSize = positive(value)
      return
    default:
      throw malformed('property does not belong to this packet')
  }
}

function setText(properties: Properties, id: number, text: string): void {
  switch (id) {
    case PropertyId.contentType:
      properties.contentType = text
      return
    case PropertyId.responseTopic:
      properties.responseTopic = text
      return
    case PropertyId.authenticationMethod:
      properties.authenticationMethod = text
      return
    case PropertyId.serverReference:
      properties.serverReference = text
      return
    case PropertyId.reasonString:
      properties.reasonString = text
      return
    default:
      throw malformed('property does not belong to this packet')
  }
}

function flag(value: number): 0 | 1 {
  if (value !== 0 && value !== 1) throw protocolError('property value is neither 0 nor 1')
  return value
}

function positive(value: number): number {
  if (value === 0) throw protocolError('property value is 0')
  return value
}

/**
 * Decodes a block of forwardable properties, see `Message.properties`.
 *
 * @param block - as `decodePublish`, `decodeConnect` or `encodeForwardableProperties` made it
 * @throws {@link ProtocolError} 0x81 or 0x82 when it is not such a block
 */
export function decodeForwardableProperties(block: Uint8Array): Properties {
  const list = new BodyReader(block, 0, block.length)
  const properties: Properties = {}
  const seen = new Set<number>()
  while (!list.isAtEnd) {
    const id = list.byte()
    if (!isForwardable(id)) throw new ProtocolError(ReasonCode.malformedPacket, 'property is not forwardable')
    takeProperty(properties, list, id, PacketType.publish, seen)
  }
  return properties
}
