import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { BrokerError } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { Logger } from '../ports.ts'
import type { Arrival } from './arrival.ts'
import { Certificates } from './certificates.ts'
import type { ListenerOptions, ListenerTlsOptions } from './options.ts'

/**
 * Puts TLS around checked sockets. The TLS server never listens itself: it gets sockets whose PROXY header has been
 * read, and does all the rest (handshake, tickets, client certificates).
 *
 * @param inner - what comes inside TLS; plain MQTT when absent
 */
export function createTlsLayer(
  options: ListenerOptions,
  logger: Logger,
  counters: Counters,
  inner: ((arrival: Arrival, stream: Duplex) => void) | undefined,
): (arrival: Arrival, socket: Socket) => void {
  if (options.tls === undefined) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${options.setting}: a ${options.kind} listener needs a certificate`)
  }
  const certificates = new Certificates(options.setting, options.tls)
  const server = createTlsServer(options, options.tls, certificates)
  /** By the two ends of the connection, which both the bare socket and the one around it can tell. */
  const handshakes = new Map<string, Arrival>()

  server.on('secureConnection', stream => {
    const arrival = handshakes.get(endsOf(stream))
    if (arrival === undefined) {
      stream.destroy()
      return
    }
    // A certificate seen by a load balancer counts only if TLS ended there, not if it ends here.
    arrival.setCertCommonName(verifiedCommonName(stream))
    arrival.setServerName(stream.servername || undefined)
    if (inner === undefined) arrival.awaitMqtt(stream)
    else inner(arrival, stream)
  })
  server.on('tlsClientError', (error, stream) => {
    counters.tlsErrors++
    logger.debug({ event: 'listener.tls_error', err: error }, 'TLS handshake failed')
    stream.destroy()
  })
  return (arrival, socket) => {
    const ends = endsOf(socket)
    handshakes.set(ends, arrival)
    if (certificates.refresh(logger)) server.setSecureContext(certificates.main)
    socket.once('close', () => handshakes.delete(ends))
    server.emit('connection', socket)
  }
}

function createTlsServer(options: ListenerOptions, tls: ListenerTlsOptions, certificates: Certificates): Server {
  if (tls.requireClientCert === true && tls.caFile === undefined) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${options.setting}: requireClientCert needs a caFile`)
  }
  return createServer({
    ...certificates.main,
    SNICallback: (serverName, done) => done(null, certificates.find(serverName)),
    // The arrival's own deadline comes first, and is counted.
    handshakeTimeout: options.connectTimeoutMs * 2,
    requestCert: tls.caFile !== undefined,
    rejectUnauthorized: tls.requireClientCert ?? false,
  })
}

/** A Common Name is an identity only when the chain was checked; otherwise anybody could write it. */
function verifiedCommonName(stream: TLSSocket): string | undefined {
  if (!stream.authorized) return undefined
  const name: string | string[] | undefined = stream.getPeerCertificate().subject?.CN
  // A subject with two Common Names is nobody in particular.
  return typeof name === 'string' && name.length > 0 ? name : undefined
}

function endsOf(socket: Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}|${socket.localAddress}`
}
