import type { Connection } from '../connection/connection.ts'
import type { Rights } from '../ground/rights.ts'
import type { InstanceUsage } from '../limits/instance-usage.ts'
import type { Router } from '../routing/router.ts'
import type { Session } from '../sessions/session.ts'

/** A client whose CONNECT was accepted: its connection, and what CONNECT has bound it to. */
export interface OpenClient {
  readonly connection: Connection
  readonly session: Session
  /** Of its instance. */
  readonly router: Router
  readonly rights: Rights
  /** A bridge of MQTT 3.x; see `Terms`. */
  readonly isBridge: boolean
  /** Of its instance. */
  readonly usage: InstanceUsage
}

/** The same with CONNACK, when the limits of its publishing take hold. */
export interface AdmittedClient extends OpenClient {
  /** Receive Maximum that CONNACK told. */
  readonly receiveMax: number
  /** Topic aliases that CONNACK allowed. */
  readonly topicAliasMax: number
}
