import { DEFAULT_INSTANCE } from '@midge/protocol-core'
import type { Config } from '../config/schema.ts'
import type { Bootstrap } from '../lifecycle/bootstrap.ts'
import type { Details } from '../lifecycle/running-node.ts'
import type { ListenerKind, RunningListener } from '../listeners/options.ts'
import type { SecretsInForce } from '../tenancy/first-instance.ts'
import type { Backing } from './backing.ts'

/** What the details of a node are read from. */
export interface DetailsParts {
  config: Config
  backing: Backing
  listeners: readonly RunningListener[]
  /** Port of the HTTP server that is really bound; `undefined` when it is off. */
  httpPort: number | undefined
  bootstrap: Bootstrap
  /** What of it holds. */
  inForce: SecretsInForce
}

/** What a person needs to connect, with the ports that are really bound. */
export function detailsOf({ config, backing, listeners, httpPort, bootstrap, inForce }: DetailsParts): Details {
  const portOf = (kind: ListenerKind): number | undefined => listeners.find(item => item.kind === kind)?.address.port
  return {
    nodeId: config.nodeId,
    instance: DEFAULT_INSTANCE,
    host: reachable(listeners[0]?.address.host ?? config.listeners.tcp.host),
    tcpPort: portOf('tcp'),
    tlsPort: portOf('tls'),
    wsPort: portOf('ws'),
    wssPort: portOf('wss'),
    httpUrl: httpPort === undefined ? undefined : `http://${reachable(config.http.host)}:${httpPort}`,
    username: bootstrap.username,
    password: inForce.password ? bootstrap.password : undefined,
    isPasswordGenerated: bootstrap.isPasswordGenerated,
    apiKey: inForce.apiKey ? bootstrap.apiKey : undefined,
    isAnonymousAllowed: config.auth.anonymous,
    store: backing.kind === 'redis' ? 'Redis' : backing.kind === 'memory' ? 'memory' : `embedded in ${config.dataDir}`,
  }
}

/** A wildcard is an address to bind, not one to connect to. */
function reachable(host: string): string {
  return host === '0.0.0.0' || host === '::' ? 'localhost' : host
}
