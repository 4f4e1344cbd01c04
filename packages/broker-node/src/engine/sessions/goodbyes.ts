import { type InstanceName, instanceKey } from '@midge/protocol-core'

/** Beyond this many the oldest is forgotten, and its will published should anybody ask. */
const GOODBYES_MAX = 10_000

/**
 * Connections with a will that ended with DISCONNECT, for as long as the store has not taken it down.
 *
 * A client may be back on another node before its DISCONNECT has reached the store. The store then takes the old
 * connection for a living one and refuses the report of its end. Whoever opened the new one asks here.
 */
export class Goodbyes {
  private readonly epochs = new Map<string, number>()

  /** DISCONNECT of the connection of `epoch` has arrived. */
  note(instance: InstanceName, clientId: string, epoch: number): void {
    const key = instanceKey(instance, clientId)
    // The newest goes to the end.
    this.epochs.delete(key)
    this.epochs.set(key, epoch)
    if (this.epochs.size <= GOODBYES_MAX) return
    for (const oldest of this.epochs.keys()) {
      this.epochs.delete(oldest)
      return
    }
  }

  /** The store knows. */
  forget(instance: InstanceName, clientId: string, epoch: number): void {
    if (this.has(instance, clientId, epoch)) this.epochs.delete(instanceKey(instance, clientId))
  }

  has(instance: InstanceName, clientId: string, epoch: number): boolean {
    return this.epochs.get(instanceKey(instance, clientId)) === epoch
  }
}
