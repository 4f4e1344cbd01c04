/** 3 is MQTT 3.1 (`MQIsdp`), 4 is MQTT 3.1.1, 5 is MQTT 5.0: the Protocol Level byte of CONNECT. */
export type ProtocolVersion = 3 | 4 | 5

/** Quality of Service of a message or a subscription. */
export type Qos = 0 | 1 | 2

/** Control Packet types, the upper four bits of the first byte. Spec: section 2.1.2 (v3.1.1 2.2.1). */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const

/** A name-value pair; order and repeats are significant and kept. */
export type UserProperty = readonly [name: string, value: string]

/**
 * Every property of v5 section 2.2.2.2, by its name in the standard; absent means the packet does not carry it.
 * One flat type for all packets: the codec refuses a property that the packet may not have.
 */
export interface Properties {
  payloadFormatIndicator?: 0 | 1
  messageExpiryInterval?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Uint8Array
  subscriptionIdentifiers?: number[]
  sessionExpiryInterval?: number
  assignedClientIdentifier?: string
  serverKeepAlive?: number
  authenticationMethod?: string
  authenticationData?: Uint8Array
  requestProblemInformation?: 0 | 1
  willDelayInterval?: number
  requestResponseInformation?: 0 | 1
  responseInformation?: string
  serverReference?: string
  reasonString?: string
  receiveMaximum?: number
  topicAliasMaximum?: number
  topicAlias?: number
  maximumQos?: 0 | 1
  retainAvailable?: 0 | 1
  userProperties?: UserProperty[]
  maximumPacketSize?: number
  wildcardSubscriptionAvailable?: 0 | 1
  subscriptionIdentifierAvailable?: 0 | 1
  sharedSubscriptionAvailable?: 0 | 1
}

/** The Will Message as CONNECT carries it. */
export interface Will {
  topicName: string
  payload: Uint8Array
  qos: Qos
  retain: boolean
  /** v5 Will Delay Interval; 0 before v5. */
  willDelaySeconds: number
  /** v5 Message Expiry Interval; `undefined` means the message does not expire. */
  messageExpirySeconds: number | undefined
  /** The forwardable properties as an encoded block, see `Message.properties`; empty before v5. */
  properties: Uint8Array
}

/** CONNECT. Section 3.1; fields that 3.x does not have hold what it means by their absence. */
export interface ConnectPacket {
  type: typeof PacketType.connect
  version: ProtocolVersion
  /** The client is a bridge of another broker and said so with bit 7 of the level, as Mosquitto does; never in v5. */
  isBridge: boolean
  /** Clean Start (v5) or Clean Session (v3.x); the engine gives each its own meaning. */
  cleanStart: boolean
  keepAliveSeconds: number
  /** May be empty: the server then assigns one where the standard allows it. */
  clientId: string
  will: Will | undefined
  username: string | undefined
  password: Uint8Array | undefined
  properties: Properties
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP as received; `reasonCode` is 0 before v5. */
export interface AckPacket {
  type: typeof PacketType.puback | typeof PacketType.pubrec | typeof PacketType.pubrel | typeof PacketType.pubcomp
  packetId: number
  reasonCode: number
  properties: Properties
}

/** One filter of SUBSCRIBE with its options; the last three are false, false, 0 before v5. */
export interface SubscribeRequest {
  topicFilter: string
  qos: Qos
  noLocal: boolean
  retainAsPublished: boolean
  retainHandling: 0 | 1 | 2
}

/** SUBSCRIBE. Section 3.8. */
export interface SubscribePacket {
  type: typeof PacketType.subscribe
  packetId: number
  requests: SubscribeRequest[]
  /** v5 Subscription Identifier, 1 to 268,435,455; 0 when absent. */
  subscriptionId: number
  properties: Properties
}

/** UNSUBSCRIBE. Section 3.10. */
export interface UnsubscribePacket {
  type: typeof PacketType.unsubscribe
  packetId: number
  topicFilters: string[]
  properties: Properties
}

/** PINGREQ. Section 3.12. */
export interface PingreqPacket {
  type: typeof PacketType.pingreq
}

/** DISCONNECT from a client. Section 3.14. */
export interface DisconnectPacket {
  type: typeof PacketType.disconnect
  reasonCode: number
  properties: Properties
}

/** AUTH. v5 section 3.15. */
export interface AuthPacket {
  type: typeof PacketType.auth
  reasonCode: number
  properties: Properties
}

/** What a client may send, PUBLISH excepted: that one has a path of its own, `decodePublish`. */
export type ClientPacket =
  | ConnectPacket
  | AckPacket
  | SubscribePacket
  | UnsubscribePacket
  | PingreqPacket
  | DisconnectPacket
  | AuthPacket
