import type { Connection } from './connection.ts'

/** Fields that every log line about a connection carries. */
export function describe(connection: Connection): Record<string, unknown> {
  const { info } = connection
  return {
    connectionId: info.connectionId,
    clientId: connection.clientId,
    username: connection.username,
    remote: `${info.remoteAddress}:${info.remotePort}`,
    transport: info.transport,
  }
}
