import type { Duplex } from 'node:stream'
import type { InstanceName } from '@midge/protocol-core'

/** What a listener knows of a connection before the first MQTT byte. */
export interface ConnectionInfo {
  /** Unique in this process, for the log. */
  connectionId: string
  transport: 'tcp' | 'tls' | 'ws' | 'wss'
  instance: InstanceName
  /** The client's address; with PROXY protocol the one the load balancer told. */
  remoteAddress: string
  remotePort: number
  localPort: number
  /** Common Name of a verified client certificate. */
  certCommonName: string | undefined
}

/** Takes over a connection that speaks MQTT from its next byte on; implemented by the engine. */
export interface ConnectionAcceptor {
  accept(stream: Duplex, info: ConnectionInfo): void
}

/** The credentials of one CONNECT. */
export interface Credentials {
  instance: InstanceName
  clientId: string
  username: string | undefined
  password: Uint8Array | undefined
  certCommonName: string | undefined
  remoteAddress: string
}

/** `username` is the identity that ACL and limits see; `undefined` for an anonymous client. */
export type AuthenticationResult = { ok: true; username: string | undefined } | { ok: false; reasonCode: number }

/** Decides who a client is. May answer at once or later; never throws for bad credentials. */
export interface Authenticator {
  authenticate(credentials: Credentials): AuthenticationResult | Promise<AuthenticationResult>
}

/** One step of an enhanced authentication exchange. v5 section 4.12. */
export type ExchangeStep =
  | { kind: 'continue'; data: Uint8Array }
  | { kind: 'success'; username: string; data: Uint8Array | undefined }
  | { kind: 'failure'; reasonCode: number }

/** One running exchange; `step` gets the client's Authentication Data of CONNECT first, then of each AUTH. */
export interface AuthExchange {
  step(data: Uint8Array | undefined): ExchangeStep | Promise<ExchangeStep>
}

/** Enhanced authentication by Authentication Method, for example `SCRAM-SHA-256`. */
export interface EnhancedAuthenticator {
  /** @returns a fresh exchange, or `undefined` for a method the server does not know (0x8C). */
  begin(method: string, credentials: Credentials): AuthExchange | undefined
}

/** The part of pino that the node uses, so that no folder but `observe` knows the library. */
export interface Logger {
  trace(fields: object, text: string): void
  debug(fields: object, text: string): void
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
  isLevelEnabled(level: string): boolean
  child(bindings: Record<string, unknown>): Logger
}
