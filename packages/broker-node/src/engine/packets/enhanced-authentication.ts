import { type AuthPacket, encodeAuth, ProtocolError, ReasonCode } from '@midge/protocol-core'
import type { AuthExchange, Credentials, ExchangeStep } from '../../ports.ts'
import type { Connection } from '../connection/connection.ts'
import type { EngineServices } from '../ground/services.ts'

/**
 * Enhanced authentication of one connection: with CONNECT and, by the same method, again later. v5 section 4.12. Without
 * a method in CONNECT there is no AUTH.
 */
export class EnhancedAuthentication {
  private readonly services: Pick<EngineServices, 'counters' | 'enhancedAuthenticator'>
  private readonly connection: Connection
  private method: string | undefined = undefined
  private exchange: AuthExchange | undefined = undefined

  constructor(services: Pick<EngineServices, 'counters' | 'enhancedAuthenticator'>, connection: Connection) {
    this.services = services
    this.connection = connection
  }

  /** True between the first message of an exchange and its result. */
  get isUnderWay(): boolean {
    return this.exchange !== undefined
  }

  /** Begins the exchange of CONNECT. @returns false for a method that the server does not know */
  begin(method: string, credentials: Credentials): boolean {
    this.method = method
    this.exchange = this.services.enhancedAuthenticator?.begin(method, credentials)
    return this.exchange !== undefined
  }

  /** Begins the exchange of an AUTH that authenticates again; the credentials are those of CONNECT without its secrets. */
  beginAgain(credentials: Credentials): void {
    this.exchange = this.services.enhancedAuthenticator?.begin(this.method ?? '', credentials)
  }

  /** One message of the client. @returns the result of the exchange, `undefined` while there is none */
  async step(data: Uint8Array | undefined): Promise<Exclude<ExchangeStep, { kind: 'continue' }> | undefined> {
    const step = await this.exchange?.step(data)
    if (step === undefined || this.connection.isClosed) return undefined
    if (step.kind === 'continue') {
      this.send(ReasonCode.continueAuthentication, step.data)
      return undefined
    }
    this.exchange = undefined
    if (step.kind === 'failure') this.services.counters.authenticationFailures++
    return step
  }

  /** v5 [MQTT-4.12.0-5], [MQTT-4.12.0-7]: the method never changes, and without one there is no AUTH. */
  check(packet: AuthPacket, expected: number): void {
    if (this.method === undefined || packet.properties.authenticationMethod !== this.method) {
      throw new ProtocolError(ReasonCode.protocolError, 'authentication method differs from CONNECT')
    }
    if (packet.reasonCode !== expected) throw new ProtocolError(ReasonCode.protocolError, 'AUTH out of place')
  }

  /** Sends AUTH with the method of the connection. v5 [MQTT-4.12.0-5]. */
  send(reasonCode: number, data: Uint8Array | undefined): void {
    if (this.method === undefined) return
    const properties = { authenticationMethod: this.method }
    this.connection.send(
      encodeAuth(reasonCode, data === undefined ? properties : { ...properties, authenticationData: data }),
    )
  }
}
