import type { InstanceName, LinkListener, Message, NodeLink, PublishRun, TakeoverAnswer } from '@midge/protocol-core'

/**
 * The link of a node that runs alone: it has no peers and always its lease.
 *
 * `send` and its siblings do nothing, because nothing in the tables of such a node names another one.
 */
export class NoLink implements NodeLink {
  private listener: LinkListener | undefined

  start(listener: LinkListener): Promise<void> {
    this.listener = listener
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

  /** A takeover within this node is the engine's own business. */
  takeover(_nodeId: string, _instance: InstanceName, _clientId: string, _epoch: number): Promise<TakeoverAnswer> {
    return Promise.resolve('unknown')
  }

  kick(_nodeId: string, _instance: InstanceName, _clientId: string, _reasonCode: number): void {
    // No other node exists.
  }

  drain(_nodeId: string): void {
    // No other node exists.
  }

  /** There is only this node to ask, whatever it is called. */
  async ask(_nodeId: string, question: string): Promise<string | undefined> {
    return this.listener?.onQuestion(question).catch(() => undefined)
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
