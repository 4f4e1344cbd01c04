import type { Client } from './client.ts'

/** Fields that every log line about a connection carries. */
export function describe(client: Client): Record<string, unknown> {
  const { info } = client
  return {
    connectionId: info.connectionId,
    instance: client.instance,
    clientId: client.clientId,
    username: client.username,
    remote: `${info.remoteAddress}:${info.remotePort}`,
    transport: info.transport,
  }
}
