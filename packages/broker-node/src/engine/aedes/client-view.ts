import type { Duplex } from 'node:stream'
import { EMPTY_BYTES, encodeUtf8, Message, type Qos, ReasonCode } from '@midge/protocol-core'
import type { Client } from '../ground/client.ts'

/**
 * A connected client as Aedes' hooks and events know it: the same names, so that code written for Aedes works.
 * Everything protocol-like stays in the connection.
 */
export class ClientView {
  readonly id: string
  readonly clean: boolean
  readonly version: number
  readonly conn: Duplex
  readonly req: undefined = undefined
  private readonly client: Client
  private readonly sendTo: (message: Message) => void

  /** @param sendTo - sends a message to this client alone */
  constructor(client: Client, sendTo: (message: Message) => void) {
    this.client = client
    this.sendTo = sendTo
    this.id = client.clientId
    this.clean = client.isClean
    this.version = client.version
    this.conn = client.stream
  }

  get connecting(): boolean {
    return !this.client.isClosed && !this.client.isEstablished
  }

  get connected(): boolean {
    return !this.client.isClosed && this.client.isEstablished
  }

  get closed(): boolean {
    return this.client.isClosed
  }

  /** Sends a message to this client alone, outside its subscriptions. */
  publish(
    packet: { topic: string; payload: string | Uint8Array; qos?: Qos; retain?: boolean },
    done?: () => void,
  ): void {
    const payload = typeof packet.payload === 'string' ? encodeUtf8(packet.payload) : packet.payload
    const message = new Message({
      topicName: packet.topic,
      topicBytes: encodeUtf8(packet.topic),
      payload,
      qos: packet.qos ?? 0,
      retain: packet.retain === true,
      properties: EMPTY_BYTES,
      expiresAtMs: 0,
      publisherId: '',
    })
    this.sendTo(message)
    done?.()
  }

  close(done?: () => void): void {
    this.client.close(ReasonCode.administrativeAction, 'closed by the server')
    done?.()
  }
}
