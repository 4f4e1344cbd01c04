import { encodeAuth } from '@midge/protocol-core'
import type { Connection } from '../connection/connection.ts'

/** Sends AUTH with the method of the connection. v5 [MQTT-4.12.0-5]. */
export function sendAuth(connection: Connection, reasonCode: number, data: Uint8Array | undefined): void {
  const authenticationMethod = connection.terms.authenticationMethod
  if (authenticationMethod === undefined) return
  connection.send(
    encodeAuth(
      reasonCode,
      data === undefined ? { authenticationMethod } : { authenticationMethod, authenticationData: data },
    ),
  )
}
