import type { InstanceName } from '@midge/protocol-core'
import type { ConnectionInfo } from '../ports.ts'

/** The four ways in. */
export type ListenerKind = ConnectionInfo['transport']

/** A certificate for clients that ask for one of these names in TLS (SNI). */
export interface HostCertificate {
  /** `mqtt.example.org`, or `*.example.org` for all names of one label below. */
  hosts: readonly string[]
  certFile: string
  keyFile: string
}

/** Files and rules of a TLS listener. */
export interface ListenerTlsOptions {
  /** PEM, the server's certificate first, then its chain. */
  certFile: string
  keyFile: string
  /** For names of their own; whoever asks for another name, or none, gets that of `certFile`. */
  certificates?: readonly HostCertificate[]
  /** Changed files are noticed after this time at the latest, with the next handshake; 10 s when absent. */
  checkFilesMs?: number
  /** PEM, the authorities that may sign client certificates. */
  caFile?: string | undefined
  /** Refuses a client without a certificate that `caFile` has signed. */
  requireClientCert?: boolean
  /** TLS 1.2 when absent. */
  minVersion?: 'TLSv1.2' | 'TLSv1.3'
}

/** Rules of a WebSocket listener. */
export interface ListenerWebSocketOptions {
  /** Request paths that are MQTT, compared exactly; `/` and `/mqtt` when absent. */
  paths?: readonly string[]
  /** Bound of one WebSocket message; should be a little above the largest MQTT packet. */
  payloadBytesMax: number
}

/** Plain values from which one listener starts. */
export interface ListenerOptions {
  kind: ListenerKind
  host: string
  /** 0 takes a free port. */
  port: number
  /** The setting that chose the port, as error texts name it: key and environment variable. */
  setting: string
  /** Open connections of this listener; one more is closed at once and counted. */
  connectionsMax: number
  /** From the TCP connection to the first MQTT byte, everything in between included. */
  connectTimeoutMs: number
  /** Requires a PROXY protocol header (v1 or v2) on every connection. */
  proxyProtocol: boolean
  /**
   * Tells the acceptor the Common Name of a verified client certificate, which makes it an identity. Off when absent:
   * with `proxyProtocol` it also comes from the PROXY header, so whoever can reach the port can be anybody.
   */
  tellCertCommonName?: boolean
  /** Instance that the port is of; that of each client when absent. */
  boundInstance?: InstanceName | undefined
  /** See `ConnectionInfo.loginRequired`. */
  loginRequired?: boolean
  /** Connections that the kernel may hold before they are accepted; 4,096 when absent. */
  backlog?: number
  /** For `tls` and `wss`. */
  tls?: ListenerTlsOptions
  /** For `ws` and `wss`. */
  webSocket?: ListenerWebSocketOptions
  /** Where the other listeners are, so that a client at the wrong door can be told the right one. */
  otherPorts?: Partial<Record<ListenerKind, number>>
  /** The same for ports that come in blocks: how far each kind lies above the first port of a block. */
  blockOffsets?: Partial<Record<ListenerKind, number>>
}

/** A listener that has its port. */
export interface RunningListener {
  readonly kind: ListenerKind
  readonly address: { host: string; port: number }
  /** Gives the port back; open connections stay. */
  stopAccepting(): Promise<void>
  /** Gives the port back and ends the connections that were not yet handed over; the others are the acceptor's. */
  close(): Promise<void>
}
