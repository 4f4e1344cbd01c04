import type { Message } from '../message.ts'
import type { TakeoverAnswer } from '../node-command.ts'
import type { PublishRun } from '../publish-run.ts'
import type { InstanceName } from './instance-name.ts'

/** Receives what other nodes send to this one. */
export interface LinkListener {
  /** A message published elsewhere, for this node's online subscribers; `groups` names shared subscriptions to serve (QoS 0). */
  onMessage(instance: InstanceName, message: Message, groups: string[]): void
  /** Neighbouring QoS 0 messages of one topic, sent by {@link NodeLink.sendRun}. */
  onRun(instance: InstanceName, run: PublishRun): void
  /** A group with members here has messages to take. */
  onGroupGrew(instance: InstanceName, group: string): void
  /**
   * Another node opened this client id with a newer epoch: close the connection of `epoch` or older.
   * @returns how that connection ended; the other node may wait for it
   */
  onTakeover(instance: InstanceName, clientId: string, epoch: number): TakeoverAnswer | Promise<TakeoverAnswer>
  /** Close the connection of this client, if it has one here, with this reason code. */
  onKick(instance: InstanceName, clientId: string, reasonCode: number): void
  /** This node is to go out of service; asked again, it does nothing more. */
  onDrain(): void
  /** Another node asks; see {@link NodeLink.ask}. A rejection is no answer. */
  onQuestion(question: string): Promise<string>
  /** A node joined or left the cluster. */
  onNodesChanged(liveNodeIds: string[]): void
  /** A node died (lease expired) and this node was elected to clean up after it. */
  onNodeDead(nodeId: string): void
  /** This node could not confirm its own lease in time: it must stop acknowledging and let go of its clients. */
  onLeaseLost(): void
}

/**
 * The way to the other nodes. Messages go into each node's inbox in frames, in the order of the calls; a frame leaves
 * with the tick, at 64 KiB, or at 200 messages.
 */
export interface NodeLink {
  /** Registers the node, starts the heartbeat and the inbox. */
  start(listener: LinkListener): Promise<void>
  /** Ids of the live nodes other than this one. */
  peers(): string[]
  /** Queues a message for a node; never waits. `groups` as in {@link LinkListener.onMessage}. */
  send(nodeId: string, instance: InstanceName, message: Message, groups: string[]): void
  /** Queues a run for a node, as one entry; the bytes are copied before the call returns. */
  sendRun(nodeId: string, instance: InstanceName, run: PublishRun): void
  pokeGroup(nodeId: string, instance: InstanceName, group: string): void
  /**
   * Makes a node close its connection of this client with `epoch` or older. Arrives as surely as messages do.
   * @returns what the node answers; `unknown` when it is gone or dead, or has not answered within a second. Never rejects.
   */
  takeover(nodeId: string, instance: InstanceName, clientId: string, epoch: number): Promise<TakeoverAnswer>
  /** Makes a node close the connection of a client; arrives as surely as messages do. */
  kick(nodeId: string, instance: InstanceName, clientId: string, reasonCode: number): void
  /** Makes a node go out of service: unready, no new clients, the present ones move off. Arrives as surely as messages do. */
  drain(nodeId: string): void
  /**
   * Asks a node, this one included, what only it knows. Question and answer are text, JSON of whoever asks, at most
   * 256 KiB; they travel among messages and hold up none.
   * @returns `undefined` when the node is not there, or has not answered within two seconds. Never rejects.
   */
  ask(nodeId: string, question: string): Promise<string | undefined>
  /** Resolves when everything sent so far is in the inboxes; rejects with `MIDGE_STORE_UNAVAILABLE`. */
  flushed(): Promise<void>
  /** True while the lease is valid. */
  hasLease(): boolean
  /** Leaves the cluster: peers see a node that went, not one that died. */
  stop(): Promise<void>
}
