import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { Counters } from '../counters.ts'
import type { Logger } from '../ports.ts'
import type { Arrival } from './arrival.ts'
import type { ListenerOptions } from './options.ts'
import { WebSocketStream } from './web-socket-stream.ts'

/** Best first. `mqttv3.1` is what clients of that time still ask for. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1'] as const
const PATHS: readonly string[] = ['/', '/mqtt']
const PAYLOAD_BYTES_MAX = 1_114_112
const HEADER_BYTES_MAX = 8192

/**
 * Puts WebSocket around checked streams, TLS or not. Spec: v5 and v3.1.1 section 6.
 *
 * `X-Forwarded-For` is not looked at: anybody can send it.
 */
export function createWebSocketLayer(
  options: ListenerOptions,
  logger: Logger,
  counters: Counters,
): (arrival: Arrival, stream: Duplex) => void {
  const paths = options.webSocket?.paths ?? PATHS
  const arrivals = new WeakMap<Duplex, Arrival>()
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: options.webSocket?.payloadBytesMax ?? PAYLOAD_BYTES_MAX,
    handleProtocols: offered => SUBPROTOCOLS.find(name => offered.has(name)) ?? false,
  })
  const server = createServer({ maxHeaderSize: HEADER_BYTES_MAX })

  server.on('request', (_request, response) => {
    response.writeHead(426, { connection: 'close', upgrade: 'websocket', 'content-type': 'text/plain' })
    response.end('This port speaks MQTT over WebSocket.\n')
  })
  server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    const arrival = arrivals.get(stream)
    const refusal = checkUpgrade(request, paths)
    if (arrival === undefined || refusal !== undefined) {
      counters.sawWrongProtocol('websocket_handshake')
      refuseUpgrade(stream, refusal?.status ?? 400, refusal?.text ?? 'Unknown connection')
      return
    }
    arrival.setTarget(request.headers.host, pathOf(request))
    webSockets.handleUpgrade(request, stream, head, webSocket => {
      arrival.awaitMqtt(new WebSocketStream(webSocket, () => counters.sawWrongProtocol('websocket_text')))
    })
  })
  server.on('clientError', (error, stream) => {
    counters.sawWrongProtocol('http_malformed')
    logger.debug({ event: 'listener.http_error', err: error }, 'Request could not be read')
    refuseUpgrade(stream, 400, 'Malformed request')
  })
  return (arrival, stream) => {
    arrivals.set(stream, arrival)
    server.emit('connection', stream)
    // Bytes that were put back wait in the stream, which the HTTP parser would not look at by itself.
    stream.resume()
  }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0] ?? ''
}

function checkUpgrade(
  request: IncomingMessage,
  paths: readonly string[],
): { status: number; text: string } | undefined {
  const path = pathOf(request)
  if (!paths.includes(path)) return { status: 404, text: `MQTT is at ${paths.join(' and ')}` }
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map(name => name.trim())
  // [MQTT-6.0.0-3] the client has to offer "mqtt".
  if (SUBPROTOCOLS.some(name => offered.includes(name))) return undefined
  return { status: 400, text: 'Offer the WebSocket subprotocol "mqtt"' }
}

function refuseUpgrade(stream: Duplex, status: number, text: string): void {
  if (!stream.writable) {
    stream.destroy()
    return
  }
  stream.once('finish', () => stream.destroy())
  stream.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Type: text/plain\r\n` +
      `Content-Length: ${Buffer.byteLength(text) + 1}\r\n\r\n${text}\n`,
  )
}
