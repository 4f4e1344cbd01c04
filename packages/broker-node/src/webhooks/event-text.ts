import { isUtf8 } from 'node:buffer'
import type { Message } from '@midge/protocol-core'
import type { Webhook } from '../tenancy/model/webhook.ts'

/** A longer payload is left out; `payloadBytes` tells that there was one. */
export const PAYLOAD_BYTES_MAX: number = 64 * 1024

const MESSAGE_EVENT: Webhook['events'][number] = 'message.published'

/** Something that happened to a client, as the log of the node says it. */
export interface ClientEvent {
  event: Extract<Webhook['events'][number], `client.${string}`>
  atMs: number
  clientId: string | undefined
  username: string | undefined
  address: string | undefined
  text: string
}

/** Its JSON. @param id - unique for ever */
export function clientEventText(id: string, { event, atMs, ...rest }: ClientEvent): string {
  return JSON.stringify({ id, event, at: new Date(atMs).toISOString(), ...rest })
}

/** The JSON of `message.published`; copies what it needs of the message. @param id - unique for ever */
export function messageText(id: string, message: Message, atMs: number): string {
  const { topicName, qos, retain, publisherId, payload } = message
  return JSON.stringify({
    id,
    event: MESSAGE_EVENT,
    at: new Date(atMs).toISOString(),
    clientId: publisherId,
    topic: topicName,
    qos,
    retain,
    payloadBytes: payload.length,
    ...(payload.length > PAYLOAD_BYTES_MAX ? {} : payloadFields(payload)),
  })
}

function payloadFields(payload: Uint8Array): { payload: string; payloadEncoding: 'utf8' | 'base64' } {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length)
  const encoding = isUtf8(bytes) ? 'utf8' : 'base64'
  return { payload: bytes.toString(encoding), payloadEncoding: encoding }
}
