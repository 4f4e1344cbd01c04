import {
  BrokerError,
  type ConnectBeginning,
  encodeConnack,
  fitProperties,
  type Properties,
  ProtocolError,
  ReasonCode,
  returnCodeOf,
  UnsupportedProtocolError,
} from '@midge/protocol-core'
import type { Connection } from '../connection/connection.ts'
import { describe } from '../ground/describe.ts'
import type { EngineServices } from '../ground/services.ts'

/** Session Present and Reason Code, in bytes. */
export const CONNACK_BODY_BYTES = 2

type RefusalServices = Pick<EngineServices, 'counters' | 'hooks' | 'logger'>

/** Why a CONNECT is turned down. */
export class Refusal {
  readonly reasonCode: number
  readonly text: string
  /** It is about a limit: the answer takes its time. */
  readonly isLimit: boolean

  constructor(reasonCode: number, text: string, isLimit = false) {
    this.reasonCode = reasonCode
    this.text = text
    this.isLimit = isLimit
  }
}

/** Answers CONNECT with the reason, in the words of the client's version, and closes. */
export function refuse(services: RefusalServices, connection: Connection, refusal: Refusal): void {
  const { reasonCode, text } = refusal
  const { version } = connection
  if (services.logger.isLevelEnabled('debug')) {
    services.logger.debug({ event: 'client.refused', ...describe(connection), reasonCode }, text)
  }
  if (version === 5) {
    const properties = connection.fitted(connection.reasonProperties(text), CONNACK_BODY_BYTES)
    sendIfTaken(connection, reasonCode, properties)
  } else if (returnCodeOf(reasonCode) > 0) connection.send(encodeConnack(version, false, returnCodeOf(reasonCode)))
  countRefusal(services, reasonCode)
  services.hooks.refused(connection, reasonCode, text)
  connection.shut(text, 'refused')
}

/**
 * Answers a CONNECT that could not be decoded, as far as its version is known. v5 [MQTT-3.1.4-1], v3.1.1
 * [MQTT-3.1.2-2]: an unknown level of a known protocol is answered, the rest is closed.
 */
export function refuseUndecoded(
  services: RefusalServices,
  connection: Connection,
  failure: { error: ProtocolError; beginning: ConnectBeginning },
): void {
  const { error } = failure
  const { version, packetBytesMax } = failure.beginning
  if (error instanceof UnsupportedProtocolError) {
    if (error.nameIsValid) {
      const code = error.isLater ? error.reasonCode : returnCodeOf(error.reasonCode)
      connection.send(encodeConnack(error.isLater ? 5 : 4, false, code))
    }
  } else if (version === 5) {
    const properties = { reasonString: error.text }
    const packet = { properties, bodyBytes: CONNACK_BODY_BYTES, packetBytesMax }
    sendIfTaken(connection, error.reasonCode, fitProperties(packet))
  } else if (version !== 0 && returnCodeOf(error.reasonCode) > 0) {
    connection.send(encodeConnack(version, false, returnCodeOf(error.reasonCode)))
  }
  countRefusal(services, error.reasonCode)
  services.hooks.failed(connection, new Error(error.text))
  connection.shut(error.text, 'refused')
}

/** @param properties - undefined for a client that takes no CONNACK at all, v5 [MQTT-3.1.2-24]: it sees the close */
function sendIfTaken(connection: Connection, reasonCode: number, properties: Properties | undefined): void {
  if (properties !== undefined) connection.send(encodeConnack(5, false, reasonCode, properties))
}

/** What a failure while handling CONNECT means for the client; `undefined` when it says nothing about it. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error
  if (error instanceof BrokerError && error.code === 'MIDGE_CLIENT_ID_OWNED') {
    return new Refusal(ReasonCode.clientIdentifierNotValid, 'the client id belongs to another user')
  }
  return error instanceof ProtocolError ? new Refusal(error.reasonCode, error.text) : undefined
}

function countRefusal({ counters }: RefusalServices, reasonCode: number): void {
  counters.connectionsRefusedTotal++
  counters.closedWith(reasonCode)
}
