import type { Duplex } from 'node:stream'
import type { InstanceName, ProtocolVersion } from '@midge/protocol-core'
import type { Caller, ConnectionInfo } from '../../ports.ts'

/** A client as those see it who decide about it, log it or show it to an application. */
export interface Client extends Caller {
  readonly info: ConnectionInfo
  readonly stream: Duplex
  /** Of CONNECT; '' before it. */
  readonly instance: InstanceName
  readonly clientId: string
  readonly username: string | undefined
  readonly version: ProtocolVersion
  /** The session ends with the connection. */
  readonly isClean: boolean
  /** CONNECT was accepted; stays true after the end. */
  readonly isEstablished: boolean
  readonly isClosed: boolean
  /** Ends the connection; a v5 client is told the reason. */
  close(reasonCode: number, reason: string): void
}

/** The client behind a claim at the door: every claim that the engine makes has one. */
export function isClient(caller: Caller): caller is Client {
  return 'stream' in caller
}
