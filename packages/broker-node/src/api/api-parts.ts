import type { AclDecision, AclIdentity, AclQuestion, InstanceName } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import type { Tenancy } from '../tenancy/tenancy.ts'
import type { ClusterViews } from '../views/cluster-views.ts'

/** What the API stands on. */
export interface ApiParts {
  tenancy: Tenancy
  views: ClusterViews
  /** What a client with this name may do now, and by which rule. */
  explain(instance: InstanceName, client: AclIdentity, question: AclQuestion): AclDecision
  /**
   * Compares a password with what is kept of one; without one it takes as long, and says no.
   *
   * @returns `undefined` when too many wait for an answer
   */
  passwordMatches(hash: string | undefined, password: string, address: string): Promise<boolean | undefined>
  /** Ports that are bound here for everybody; instances have ports of their own of the same transports. */
  listeners(): readonly BoundListener[]
  /** False until the control plane has been read. */
  isStarted(): boolean
  nodeId: string
  version: string
  logger: Logger
  /** Unix time in milliseconds. */
  now(): number
}

/** A port that clients can use. */
export interface BoundListener {
  transport: 'tcp' | 'tls' | 'ws' | 'wss'
  port: number
}
