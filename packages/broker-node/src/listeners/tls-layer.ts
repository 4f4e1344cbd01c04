import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import { BrokerError } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { Logger } from '../ports.ts'
import type { Arrival } from './arrival.ts'
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
  const server = createTlsServer(options, options.tls)
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
    socket.once('close', () => handshakes.delete(ends))
    server.emit('connection', socket)
  }
}

function createTlsServer(options: ListenerOptions, tls: ListenerTlsOptions): Server {
  const settings: TlsOptions = {
    cert: readPem(tls.certFile, `${options.setting}: certificate`),
    key: readPem(tls.keyFile, `${options.setting}: private key`),
    minVersion: tls.minVersion ?? 'TLSv1.2',
    // The arrival's own deadline comes first, and is counted.
    handshakeTimeout: options.connectTimeoutMs * 2,
    requestCert: tls.caFile !== undefined,
    rejectUnauthorized: tls.requireClientCert ?? false,
  }
  if (tls.caFile !== undefined) settings.ca = readPem(tls.caFile, `${options.setting}: client authorities`)
  else if (tls.requireClientCert === true) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${options.setting}: requireClientCert needs a caFile`)
  }
  try {
    return createServer(settings)
  } catch (error) {
    throw new BrokerError(
      'MIDGE_CONFIG_INVALID',
      `${options.setting}: certificate ${tls.certFile} and key ${tls.keyFile} do not work: ${String(error)}`,
      { cause: error },
    )
  }
}

function readPem(file: string, what: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new BrokerError('MIDGE_CONFIG_INVALID', `${what} ${file} cannot be read: ${String(error)}`, { cause: error })
  }
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
