import type { InstanceName, Qos, StoreLimits } from '@midge/protocol-core'
import type { Client } from '../ground/client.ts'
import type { Outlet } from '../ground/outlet.ts'

/** A client of this node that publishes, as the publisher sees it. */
export interface PublishSource {
  readonly instance: InstanceName
  readonly clientId: string
  readonly client: Client
  readonly outlet: Outlet
  readonly session: { readonly isStored: boolean; readonly epoch: number }
  /** Packet id of the PUBLISH at hand; only means something at QoS 1 and 2. */
  readonly packetId: number
  /** True while messages of this client are on their way into the store. */
  readonly hasPending: boolean
  /** Of the client's instance. */
  readonly storeLimits: StoreLimits | undefined
  /** A message of this client has joined the batch for the store. */
  onPending(qos: Qos, packetId: number): void
  /** The store has answered for it. */
  onSettled(packetId: number): void
  /** The message is owned by the broker: PUBACK or PUBREC. */
  acknowledge(qos: Qos, packetId: number): void
  /** The message is owned by the broker, but could not be retained. */
  onUnretained(qos: Qos, packetId: number): void
  /** Reads this client no further until the step has settled. */
  waitFor(step: Promise<void>): void
}
