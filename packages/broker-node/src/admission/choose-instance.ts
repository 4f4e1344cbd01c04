import { DEFAULT_INSTANCE, type InstanceName } from '@midge/protocol-core'
import type { ConnectionInfo } from '../ports.ts'
import type { Instance } from '../tenancy/model/instance.ts'

/** Where instances are looked up; `ControlTables` has them. */
export interface InstanceFinder {
  instances: { get(id: InstanceName): Instance | undefined }
  /** Instance that a TLS server name or the host of a WebSocket stands for. */
  findByHost(host: string): InstanceName | undefined
}

/** The instance that a CONNECT is about, and the username inside it. */
export interface ChosenInstance {
  instance: InstanceName
  username: string | undefined
}

/**
 * Finds the instance from where the client came in: the port of an instance, else the server name of TLS, else the host
 * of WebSocket. When none of them stands for an instance, `instance:user` in the username does, if there is an instance
 * of that name; everybody else is in `default`.
 *
 * @param info - facts of the connection, told by its listener
 * @param username - as sent in CONNECT
 * @returns an instance that may be gone, when its port is still open
 */
export function chooseInstance(
  finder: InstanceFinder,
  info: ConnectionInfo,
  username: string | undefined,
): ChosenInstance {
  const bound = info.boundInstance ?? byHost(finder, info.serverName) ?? byHost(finder, info.host)
  if (bound !== undefined) return { instance: bound, username }
  const colon = username?.indexOf(':') ?? -1
  if (username !== undefined && colon > 0) {
    const instance = username.slice(0, colon)
    if (finder.instances.get(instance) !== undefined) return { instance, username: username.slice(colon + 1) }
  }
  return { instance: DEFAULT_INSTANCE, username }
}

function byHost(finder: InstanceFinder, host: string | undefined): InstanceName | undefined {
  return host === undefined ? undefined : finder.findByHost(host)
}
