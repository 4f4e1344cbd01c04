import type { InstanceName, LinkListener, Message, NodeLink, PublishRun } from '@midge/protocol-core'

/**
 * The link of a node that runs alone: it has no peers and always its lease.
 *
 * `send` and its siblings do nothing, because nothing in the tables of such a node names another one.
 */
export class NoLink implements NodeLink {
  start(listener: LinkListener): Promise<void> {
    listener.onNodesChanged([])
    return Promise.resolve()
  }

  peers(): string[] {
    return []
  }

  send(_nodeId: string, _instance: InstanceName, _message: Message, _groups: string[]): void {
    // No other node exists.
  }

  sendRun(_nodeId: string, _instance: InstanceName, _run: PublishRun): void {
    // No other node exists.
  }

  pokeGroup(_nodeId: string, _instance: InstanceName, _group: string): void {
    // No other node exists.
  }

  takeover(_nodeId: string, _instance: InstanceName, _clientId: string, _epoch: number): void {
    // No other node exists: a takeover within this one is the engine's own business.
  }

  flushed(): Promise<void> {
    return Promise.resolve()
  }

  hasLease(): boolean {
    return true
  }

  stop(): Promise<void> {
    return Promise.resolve()
  }
}
