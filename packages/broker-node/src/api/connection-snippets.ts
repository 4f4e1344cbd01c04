import type { z } from 'zod'
import type { Instance } from '../tenancy/model/instance.ts'
import type { BoundListener } from './api-parts.ts'
import type { connectionDetails } from './model/control-shapes.ts'

type ConnectionDetails = z.input<typeof connectionDetails>
type OfferedPort = ConnectionDetails['ports'][number]

/** TLS and WebSocket ports of an instance with ports of its own, from its first one on. */
const OWN_PORTS = [
  { transport: 'tcp', offset: 0 },
  { transport: 'tls', offset: 10_000 },
  { transport: 'wss', offset: 20_000 },
] as const

const SCHEMES = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' } as const

/**
 * How clients connect to an instance.
 *
 * @param host - name of the cluster; an instance with names of its own is found by the first of them
 */
export function connectionOf(
  { id, portBase, hosts, defaultUser }: Instance,
  listeners: readonly BoundListener[],
  host: string,
): ConnectionDetails {
  const name = hosts[0] ?? host
  // Without a port or a name of its own the instance is told by the username.
  const username = portBase === null && hosts.length === 0 && id !== 'default' ? `${id}:${defaultUser}` : defaultUser
  // A certificate opens both ports over TLS.
  const hasTls = listeners.some(({ transport }) => transport === 'tls' || transport === 'wss')
  const own = OWN_PORTS.filter(({ transport }) => transport === 'tcp' || hasTls)
  const bound =
    portBase === null ? listeners : own.map(({ transport, offset }) => ({ transport, port: portBase + offset }))
  const ports = bound.map(({ transport, port }) => ({
    transport,
    port,
    url: `${SCHEMES[transport]}://${name}:${port}`,
  }))
  return { host: name, username, ports, snippets: snippetsOf(name, username, ports) }
}

function snippetsOf(host: string, username: string, ports: readonly OfferedPort[]): Record<string, string> {
  const tls = ports.find(({ transport }) => transport === 'tls')
  const { port } = tls ?? ports.find(({ transport }) => transport === 'tcp') ?? { port: 1883 }
  const isTls = tls !== undefined
  const ownTracks = {
    _type: 'configuration',
    mode: 0,
    host,
    port,
    tls: isTls,
    auth: true,
    username,
    password: 'PASSWORD',
  }
  return {
    homeAssistant: `Settings > Devices & services > Add integration > MQTT\nBroker: ${host}\nPort: ${port}\nUsername: ${username}\nPassword: PASSWORD${isTls ? '\nBroker certificate validation: Auto' : ''}`,
    ownTracks: JSON.stringify(ownTracks, undefined, 2),
    esphome: `mqtt:\n  broker: ${host}\n  port: ${port}\n  username: ${JSON.stringify(username)}\n  password: !secret mqtt_password`,
    tasmota: `Backlog MqttHost ${host}; MqttPort ${port}; MqttUser ${username}; MqttPassword PASSWORD${isTls ? '; SetOption103 1' : ''}`,
    mosquittoSub: `mosquitto_sub -h ${host} -p ${port} -u '${username}' -P 'PASSWORD'${isTls ? ' --tls-use-os-certs' : ''} -t '#' -v`,
  }
}
