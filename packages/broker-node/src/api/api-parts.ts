import type { AclDecision, AclIdentity, AclQuestion, InstanceName } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import type { Tenancy } from '../tenancy/tenancy.ts'

/** What the API stands on. */
export interface ApiParts {
  tenancy: Tenancy
  /** What a client with this name may do now, and by which rule. */
  explain(instance: InstanceName, client: AclIdentity, question: AclQuestion): AclDecision
  /** Compares a password with what is kept of one; without one it takes as long, and says no. */
  passwordMatches(hash: string | undefined, password: string): Promise<boolean>
  /** Ports that are bound here for everybody. */
  listeners(): readonly BoundListener[]
  /** True when instances may have ports of their own. */
  hasInstancePorts(): boolean
  /** False until the control plane has been read. */
  isStarted(): boolean
  life: InstanceLife
  nodeId: string
  version: string
  logger: Logger
  /** Unix time in milliseconds. */
  now(): number
}

/** What is done to all that an instance has in the cluster. */
export interface InstanceLife {
  /** Closes its connections on every node. */
  restart(instance: InstanceName): Promise<void>
  /** Closes its connections and removes sessions, queues, wills and retained messages. */
  wipe(instance: InstanceName): Promise<void>
}

/** A port that clients can use. */
export interface BoundListener {
  transport: 'tcp' | 'tls' | 'ws' | 'wss'
  port: number
}
