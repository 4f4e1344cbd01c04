import { DEFAULT_INSTANCE, type InstanceName } from '@midge/protocol-core'
import type { ConnectionInfo } from '../ports.ts'

/** The instance that a CONNECT is about, and the username inside it. */
export interface ChosenInstance {
  instance: InstanceName
  username: string | undefined
}

/**
 * Finds the instance from where the client came in (port, server name of TLS, host of WebSocket) and from its username
 * (`instance:user`). The one place that decides this; there is one instance, so everybody is in it.
 *
 * @param _info - facts of the connection, told by its listener
 * @param username - as sent in CONNECT
 */
export function chooseInstance(_info: ConnectionInfo, username: string | undefined): ChosenInstance {
  return { instance: DEFAULT_INSTANCE, username }
}
