import { type AuthPacket, encodeAuth, type Properties, ProtocolError, ReasonCode } from '@midge/protocol-core'
import type { Admission, AdmissionStep, Door, LoginRequest } from '../../ports.ts'
import type { Connection } from '../connection/connection.ts'

/** Reason Code, in bytes. */
const AUTH_BODY_BYTES = 1

/** What the door has said for good. */
export type AdmissionResult = Exclude<AdmissionStep, { kind: 'continue' }>

/**
 * One connection at the door: with CONNECT and, when that had an Authentication Method, by the same one again later.
 * v5 section 4.12. Without a method in CONNECT there is no AUTH.
 */
export class Authentication {
  private readonly door: Door
  private readonly connection: Connection
  /** Of a CONNECT with a method, without its password. */
  private request: LoginRequest | undefined = undefined
  private admission: Admission | undefined = undefined

  constructor(door: Door, connection: Connection) {
    this.door = door
    this.connection = connection
  }

  /** True between the first message and the result. */
  get isUnderWay(): boolean {
    return this.admission !== undefined
  }

  /** CONNECT has come. */
  begin(request: LoginRequest): void {
    if (request.method !== undefined) this.request = { ...request, password: undefined }
    this.admission = this.door.begin(request)
  }

  /** An AUTH has come that authenticates again. */
  beginAgain(): void {
    if (this.request !== undefined) this.admission = this.door.begin(this.request)
  }

  /** One message of the client. @returns the result, `undefined` while there is none or the connection has ended */
  async step(data: Uint8Array | undefined): Promise<AdmissionResult | undefined> {
    const step = await this.admission?.step(data)
    if (step === undefined || this.connection.isClosed) return undefined
    if (step.kind === 'continue') {
      this.send(ReasonCode.continueAuthentication, step.data)
      return undefined
    }
    this.admission = undefined
    return step
  }

  /** v5 [MQTT-4.12.0-5], [MQTT-4.12.0-7]: the method never changes, and without one there is no AUTH. */
  check(packet: AuthPacket, expected: number): void {
    const method = this.request?.method
    if (method === undefined || packet.properties.authenticationMethod !== method) {
      throw new ProtocolError(ReasonCode.protocolError, 'authentication method differs from CONNECT')
    }
    if (packet.reasonCode !== expected) throw new ProtocolError(ReasonCode.protocolError, 'AUTH out of place')
  }

  /**
   * Sends AUTH with the method of the connection. v5 [MQTT-4.12.0-5].
   *
   * @throws {@link ProtocolError} 0x95 when the client does not take it, v5 [MQTT-3.1.2-24]
   */
  send(reasonCode: number, data: Uint8Array | undefined): void {
    const method = this.request?.method
    if (method === undefined) return
    const properties: Properties = { authenticationMethod: method }
    if (data !== undefined) properties.authenticationData = data
    if (this.connection.fitted(properties, AUTH_BODY_BYTES) === undefined) {
      throw new ProtocolError(ReasonCode.packetTooLarge, "AUTH is larger than the client's Maximum Packet Size")
    }
    this.connection.send(encodeAuth(reasonCode, properties))
  }
}
