import { EMPTY_BYTES, encodeUtf8, Message, type Qos, ReasonCode } from '@midge/protocol-core'

/** PUBLISH in Aedes' words. */
export interface AedesPublish {
  cmd: 'publish'
  topic: string
  payload: Buffer
  qos: Qos
  retain: boolean
  dup: boolean
}

/** What `broker.publish` takes. */
export interface AedesPublishInput {
  topic: string
  /** Nothing is an empty payload, as in Aedes. */
  payload?: string | Uint8Array
  qos?: Qos
  retain?: boolean
}

export function toAedesPublish(message: Message): AedesPublish {
  const { payload } = message
  return {
    cmd: 'publish',
    topic: message.topicName,
    payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
    qos: message.qos,
    retain: message.retain,
    dup: false,
  }
}

export function toMessage(packet: AedesPublishInput): Message {
  return new Message({
    topicName: packet.topic,
    topicBytes: encodeUtf8(packet.topic),
    payload: typeof packet.payload === 'string' ? encodeUtf8(packet.payload) : (packet.payload ?? EMPTY_BYTES),
    qos: packet.qos ?? 0,
    retain: packet.retain === true,
    properties: EMPTY_BYTES,
    expiresAtMs: 0,
    publisherId: '',
  })
}

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
