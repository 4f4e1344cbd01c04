import { envName } from '../config/config-keys.ts'
import type { Config } from '../config/schema.ts'
import type { ListenerKind, ListenerOptions } from '../listeners/options.ts'

/** Room for the frame headers of a WebSocket message that carries one MQTT packet. */
const WEB_SOCKET_SLACK_BYTES = 64 * 1024

/** Connections beyond the limit that may be open at one time to be told so. */
const REFUSED_CONNECTIONS_MAX = 1000

const KINDS: readonly ListenerKind[] = ['tcp', 'tls', 'ws', 'wss']

type ListenerConfig = Pick<Config, 'listeners' | 'limits'>

/** The listeners that are switched on, in the order in which they open. */
export function planListeners(config: ListenerConfig): ListenerOptions[] {
  const active = KINDS.filter(kind => config.listeners[kind].port !== 0)
  const otherPorts: Partial<Record<ListenerKind, number>> = {}
  for (const kind of active) otherPorts[kind] = config.listeners[kind].port
  const further = config.listeners.more.map(more => ({
    ...optionsOf(likeFirst(config, more), more.kind, otherPorts),
    setting: nameOf('listeners.more'),
    loginRequired: more.loginRequired,
    boundInstance: more.instance,
  }))
  return [...active.map(kind => optionsOf(config, kind, otherPorts)), ...further]
}

/** The configuration as if a further listener were the one of its kind: it is like that one where it says nothing. */
function likeFirst(config: ListenerConfig, more: Config['listeners']['more'][number]): ListenerConfig {
  const own = Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined))
  const listeners = withSharedFiles(config.listeners)
  return { ...config, listeners: { ...listeners, [more.kind]: { ...listeners[more.kind], ...own } } }
}

/**
 * How the ports of instances listen: as the listener of their kind does, TLS and WebSocket over TLS only where there is a
 * certificate.
 */
export function instanceListeners(config: ListenerConfig & Pick<Config, 'instances'>): ListenerOptions[] {
  const listeners = withSharedFiles(config.listeners)
  const kinds = (['tcp', 'tls', 'wss'] as const).filter(
    kind => kind === 'tcp' || listeners[kind].certFile !== undefined,
  )
  return kinds.map(kind => ({
    ...optionsOf({ ...config, listeners }, kind, {}),
    host: config.instances.portHost,
    setting: nameOf('instances.portBaseMin'),
  }))
}

/** The secure WebSocket listener has the certificates of TLS when it has none, also when it is off itself. */
function withSharedFiles(listeners: Config['listeners']): Config['listeners'] {
  const { tls, wss } = listeners
  const { certFile, keyFile, certificates } = tls
  return wss.certFile === undefined ? { ...listeners, wss: { ...wss, certFile, keyFile, certificates } } : listeners
}

/** A setting by both its names, for a person who has to change it. */
function nameOf(key: string): string {
  return `\`${key}\` (${envName(key)})`
}

function optionsOf(
  config: Pick<Config, 'listeners' | 'limits'>,
  kind: ListenerKind,
  otherPorts: Partial<Record<ListenerKind, number>>,
): ListenerOptions {
  const { limits, listeners } = config
  const { host, port, proxyProtocol } = listeners[kind]
  const options: ListenerOptions = {
    kind,
    host,
    port,
    setting: nameOf(`listeners.${kind}.port`),
    // The engine refuses with a reason beyond the limit; only a flood of refused ones is cut off here.
    connectionsMax: limits.connectionsMax + REFUSED_CONNECTIONS_MAX,
    connectTimeoutMs: limits.connectTimeoutMs,
    proxyProtocol,
    otherPorts,
  }
  if (kind === 'tls' || kind === 'wss') {
    const { certFile = '', keyFile = '', certificates, caFile, requireClientCert, minVersion } = listeners[kind]
    options.tls = { certFile, keyFile, certificates, caFile, requireClientCert, minVersion }
    options.tellCertCommonName = listeners[kind].certCnAsUsername
  }
  if (kind === 'ws' || kind === 'wss') {
    options.webSocket = {
      paths: listeners[kind].paths,
      payloadBytesMax: limits.maxPacketBytes + WEB_SOCKET_SLACK_BYTES,
    }
  }
  return options
}
