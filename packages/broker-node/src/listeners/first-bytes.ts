import type { ListenerKind, ListenerOptions } from './options.ts'

/** What the first bytes of a connection look like. */
export type FirstBytes = 'mqtt' | 'tls' | 'http' | 'proxy' | 'unknown'

/** Type of CONNECT, the only packet that may come first, [MQTT-3.1.0-1]; MQTT 3.1 leaves its flags unused. */
const CONNECT_TYPE = 1
const TLS_HANDSHAKE_BYTE = 0x16
const TLS_MAJOR_VERSION = 0x03
const CARRIAGE_RETURN = 0x0d
const HTTP_VERB = /^(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PRI) /

/**
 * Tells what a connection speaks from the bytes that arrived first.
 *
 * @param bytes - at least one byte; later packets are not looked for
 */
export function classifyFirstBytes(bytes: Uint8Array): FirstBytes {
  const first = bytes[0]
  // The type of a TLS handshake is a CONNECT with flags, but none of three bytes.
  if (first === TLS_HANDSHAKE_BYTE && (bytes.length === 1 || bytes[1] === TLS_MAJOR_VERSION)) return 'tls'
  if (first !== undefined && first >>> 4 === CONNECT_TYPE) return 'mqtt'
  // The signature of PROXY v2 is CR LF CR LF NUL …; nothing else here begins with CR.
  if (first === CARRIAGE_RETURN) return 'proxy'
  const text = String.fromCharCode(...bytes.subarray(0, 8))
  if (text.startsWith('PROXY ')) return 'proxy'
  return HTTP_VERB.test(text) ? 'http' : 'unknown'
}

/** The first bytes that a listener of this kind waits for on the bare socket. */
export function expectedFirstBytes(kind: ListenerKind): FirstBytes {
  if (kind === 'tcp') return 'mqtt'
  return kind === 'ws' ? 'http' : 'tls'
}

const SPOKEN: Record<FirstBytes, string> = {
  mqtt: 'Plain MQTT client',
  tls: 'TLS client',
  http: 'HTTP client',
  proxy: 'PROXY protocol header',
  unknown: 'Client that does not speak MQTT',
}
const PORT_NAMES: Record<ListenerKind, string> = {
  tcp: 'plain port',
  tls: 'TLS port',
  ws: 'WebSocket port',
  wss: 'secure WebSocket port',
}

/** Says in words who knocked at which door, and which door to use instead. */
export function describeWrongProtocol(seen: FirstBytes, options: ListenerOptions, port: number): string {
  const where = `${SPOKEN[seen]} on the ${PORT_NAMES[options.kind]} ${port}`
  if (seen === 'proxy') return `${where}; set proxyProtocol on this listener if a load balancer is in front of it`
  const right = rightDoor(seen, options.kind)
  if (right === undefined) return where
  const rightPort = options.otherPorts?.[right] ?? portInBlock(right, options, port)
  return rightPort === undefined || rightPort === 0
    ? `${where}; use a ${PORT_NAMES[right]}`
    : `${where}; use the ${PORT_NAMES[right]} ${rightPort}`
}

function portInBlock(right: ListenerKind, { kind, blockOffsets }: ListenerOptions, port: number): number | undefined {
  const from = blockOffsets?.[kind]
  const to = blockOffsets?.[right]
  return from === undefined || to === undefined ? undefined : port - from + to
}

function rightDoor(seen: FirstBytes, kind: ListenerKind): ListenerKind | undefined {
  const isWebSocketPort = kind === 'ws' || kind === 'wss'
  switch (seen) {
    case 'mqtt':
      return 'tcp'
    case 'tls':
      return isWebSocketPort ? 'wss' : 'tls'
    case 'http':
      return kind === 'tls' || kind === 'wss' ? 'wss' : 'ws'
    default:
      return undefined
  }
}
