import type { Duplex } from 'node:stream'
import { EMPTY_BYTES, encodeUtf8, Message, type Qos, ReasonCode } from '@midge/protocol-core'
import type { Connection } from '../connection/connection.ts'

/**
 * A connected client as Aedes' hooks and events know it: the same names, so that code written for Aedes works.
 * Everything protocol-like stays in `Connection`.
 */
export class ClientView {
  readonly id: string
  readonly clean: boolean
  readonly version: number
  readonly conn: Duplex
  readonly req: undefined = undefined
  private readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
    this.id = connection.clientId
    this.clean = connection.terms.sessionExpirySeconds === 0
    this.version = connection.version
    this.conn = connection.stream
  }

  get connecting(): boolean {
    return !this.connection.isClosed && this.connection.session === undefined
  }

  get connected(): boolean {
    return !this.connection.isClosed && this.connection.session !== undefined
  }

  get closed(): boolean {
    return this.connection.isClosed
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
    if (message.qos === 0) this.connection.sendPublish(message, 0, message.retain, false, 0, undefined)
    else this.connection.session?.sendOrWait(message, message.qos, message.retain, undefined)
    done?.()
  }

  close(done?: () => void): void {
    this.connection.close(ReasonCode.administrativeAction, 'closed by the server')
    done?.()
  }
}
