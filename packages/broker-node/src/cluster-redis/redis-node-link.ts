import {
  FrameReader,
  type InstanceName,
  type LinkListener,
  type Message,
  type NodeCommand,
  type NodeLink,
  type PublishRun,
  type TakeoverAnswer,
} from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import type { BlockingLink } from '../redis/blocking-link.ts'
import type { CommandLink } from '../redis/command-link.ts'
import type { RetryGate } from '../redis/retry-gate.ts'
import type { ClusterKeys } from './cluster-keys.ts'
import type { ClusterScript } from './cluster-scripts.ts'
import type { ControlBus } from './control-bus.ts'
import { InboxReader } from './inbox.ts'
import type { NodeRegistry } from './node-registry.ts'
import { FlushWaiter, Outbox } from './outbox.ts'
import { PeerRequests } from './peer-requests.ts'
import { INBOX_FRAMES_MAX } from './timings.ts'

/** How long a question waits for its answer. */
const QUESTION_ANSWER_MS = 2_000
/** In a question, and in an answer. */
const QUESTION_CHARACTERS_MAX = 256 * 1024

/** What the link reports besides its messages; all optional. */
export interface LinkReports {
  /** Messages for `nodeId` that were dropped because the way there was full or the node gone. */
  onDropped?: (nodeId: string, count: number) => void
  /** Frames from `senderNodeId` that never arrived: trimmed, or lost by Redis. */
  onGap?: (senderNodeId: string, missingFrames: number) => void
  /** A frame that this node could not read. */
  onUnreadable?: (reason: string) => void
}

/** What a {@link RedisNodeLink} is made of. */
export interface RedisNodeLinkOptions extends LinkReports {
  commands: CommandLink<ClusterScript>
  inboxLink: BlockingLink
  gate: RetryGate
  bus: ControlBus
  registry: NodeRegistry
  keys: ClusterKeys
  takeoverAnswerMs: number
  logger: Logger
}

/** {@link NodeLink} over Redis: an inbox stream per node, fed with frames of messages and commands. */
export class RedisNodeLink implements NodeLink {
  /** Frames and messages moved so far, both ways, for the metrics. */
  framesSent = 0
  framesReceived = 0
  private readonly options: RedisNodeLinkOptions
  private readonly outboxes = new Map<string, Outbox>()
  private readonly frameReader = new FrameReader()
  private readonly takeovers: PeerRequests<TakeoverAnswer>
  private readonly questions: PeerRequests<string | undefined>
  private listener: LinkListener | undefined
  private inbox: InboxReader | undefined
  private inboxFromId = '$'
  private dirty: Outbox[] = []
  private waiter: FlushWaiter | undefined
  private isTickScheduled = false
  private knownIds = ''
  private frameEpoch = 0
  private readonly endTick: () => void

  constructor(options: RedisNodeLinkOptions) {
    this.options = options
    this.endTick = () => this.flushTick()
    options.registry.observe({
      onInboxCreated: entryId => {
        this.inboxFromId = entryId
        this.inbox?.restartAt(entryId)
      },
      onPeers: () => this.tellPeers(),
      onGone: nodeId => this.forget(nodeId),
      onDead: nodeId => this.listener?.onNodeDead(nodeId),
      onLeaseLost: () => this.listener?.onLeaseLost(),
    })
    this.takeovers = new PeerRequests<TakeoverAnswer>(options.takeoverAnswerMs, 'unknown')
    this.questions = new PeerRequests<string | undefined>(QUESTION_ANSWER_MS, undefined)
  }

  async start(listener: LinkListener): Promise<void> {
    this.listener = listener
    const { registry, bus, inboxLink, keys, logger, onGap, onUnreadable } = this.options
    await bus.start()
    await registry.start()
    const options = {
      link: inboxLink,
      key: keys.inbox(registry.nodeId),
      reader: this.frameReader,
      onFrame: (reader: FrameReader) => this.receive(reader),
      onGap: (nodeId: string, missing: number) => {
        logger.warn({ event: 'cluster.inbox_gap', senderNodeId: nodeId, missingFrames: missing }, 'frames were lost')
        onGap?.(nodeId, missing)
      },
      onUnreadable: (reason: string) => onUnreadable?.(reason),
      logger,
    }
    this.inbox = new InboxReader(options, this.inboxFromId)
    this.inbox.start()
    this.tellPeers()
  }

  peers(): string[] {
    return this.options.registry.peerIds()
  }

  send(nodeId: string, instance: InstanceName, message: Message, groups: string[]): void {
    const outbox = this.outboxes.get(nodeId) ?? this.openOutbox(nodeId)
    outbox.append(instance, message, groups)
    if (!outbox.isDirty) this.markDirty(outbox)
  }

  sendRun(nodeId: string, instance: InstanceName, run: PublishRun): void {
    const outbox = this.outboxes.get(nodeId) ?? this.openOutbox(nodeId)
    outbox.appendRun(instance, run)
    if (!outbox.isDirty) this.markDirty(outbox)
  }

  pokeGroup(nodeId: string, instance: InstanceName, group: string): void {
    const outbox = this.outboxes.get(nodeId) ?? this.openOutbox(nodeId)
    outbox.poke(instance, group)
    if (!outbox.isDirty) this.markDirty(outbox)
  }

  takeover(nodeId: string, instance: InstanceName, clientId: string, epoch: number): Promise<TakeoverAnswer> {
    const { registry } = this.options
    const { id, answer } = this.takeovers.ask(nodeId)
    const ask = (isThere: boolean): void => {
      if (isThere) this.command(nodeId, { kind: 'takeover', request: id, instance, clientId, epoch })
      // A node that has lost its lease obeys when it wakes up; nobody waits for that.
      if (!isThere || !registry.mayServe(nodeId)) this.takeovers.settle(id, 'unknown')
    }
    if (registry.isKnown(nodeId)) ask(true)
    else void registry.isFound(nodeId).then(ask)
    return answer
  }

  kick(nodeId: string, instance: InstanceName, clientId: string, reasonCode: number): void {
    const { registry } = this.options
    if (nodeId === registry.nodeId) this.listener?.onKick(instance, clientId, reasonCode)
    // A node that is not there has no clients.
    else if (registry.isKnown(nodeId)) this.command(nodeId, { kind: 'kick', instance, clientId, reasonCode })
  }

  drain(nodeId: string): void {
    const { registry } = this.options
    if (nodeId === registry.nodeId) this.listener?.onDrain()
    else if (registry.isKnown(nodeId)) this.command(nodeId, { kind: 'drain' })
  }

  async ask(nodeId: string, question: string): Promise<string | undefined> {
    const { registry } = this.options
    if (nodeId === registry.nodeId) return this.listener?.onQuestion(question).catch(() => undefined)
    if (!registry.isKnown(nodeId) || question.length > QUESTION_CHARACTERS_MAX) return undefined
    const { id, answer } = this.questions.ask(nodeId)
    this.command(nodeId, { kind: 'question', request: id, question })
    return answer
  }

  flushed(): Promise<void> {
    if (this.waiter === undefined) {
      this.waiter = new FlushWaiter()
      this.scheduleTick()
    }
    return this.waiter.promise
  }

  hasLease(): boolean {
    return this.options.registry.hasLease()
  }

  async stop(): Promise<void> {
    this.takeovers.stop()
    this.questions.stop()
    await this.flushed().catch(() => undefined)
    await this.inbox?.stop()
    await this.options.registry.stop()
    for (const outbox of this.outboxes.values()) outbox.close()
    this.outboxes.clear()
    this.listener = undefined
  }

  private openOutbox(nodeId: string): Outbox {
    const { commands, registry, keys, gate, onDropped } = this.options
    const key = keys.inbox(nodeId)
    const outbox = new Outbox(registry.nodeId, {
      nodeId,
      epoch: this.nextFrameEpoch(),
      add: async frame => {
        this.framesSent++
        const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
        const bound = ['NOMKSTREAM', 'MAXLEN', '~', INBOX_FRAMES_MAX]
        const entryId = await commands.now('xadd', key, ...bound, '*', 'f', bytes)
        if (entryId === null) {
          registry.reportMissingInbox()
          this.forgetRequests(nodeId)
        }
        return entryId !== null
      },
      untilHealthy: () => gate.healthy(),
      onDropped: count => onDropped?.(nodeId, count),
    })
    this.outboxes.set(nodeId, outbox)
    return outbox
  }

  /**
   * An outbox begins its sequence anew, so each has an epoch of its own: a node that left and came back would take the
   * first frames of a second outbox for repeats.
   */
  private nextFrameEpoch(): number {
    this.frameEpoch = Math.max(this.options.registry.epoch, this.frameEpoch + 1)
    return this.frameEpoch
  }

  private markDirty(outbox: Outbox): void {
    outbox.isDirty = true
    this.dirty.push(outbox)
    this.scheduleTick()
  }

  private scheduleTick(): void {
    if (this.isTickScheduled) return
    this.isTickScheduled = true
    setImmediate(this.endTick)
  }

  private flushTick(): void {
    this.isTickScheduled = false
    const { dirty, waiter } = this
    this.dirty = []
    this.waiter = undefined
    if (waiter === undefined) {
      for (const outbox of dirty) outbox.endTick(undefined)
      return
    }
    // Earlier ticks' frames may still be on their way to nodes that this tick had nothing for.
    for (const outbox of this.outboxes.values()) outbox.endTick(waiter)
    waiter.paid()
  }

  private receive(reader: FrameReader): void {
    this.framesReceived++
    const { listener } = this
    if (listener === undefined) return
    while (reader.next()) {
      if (reader.message !== undefined) listener.onMessage(reader.instance, reader.message, reader.groups)
      else if (reader.run !== undefined) listener.onRun(reader.instance, reader.run)
      else if (reader.command !== undefined) this.obey(reader.nodeId, reader.command, listener)
      else listener.onGroupGrew(reader.instance, reader.group)
    }
    for (let i = 0; i < reader.unknownCommands; i++) this.options.onUnreadable?.('unknown command')
  }

  private obey(senderNodeId: string, command: NodeCommand, listener: LinkListener): void {
    switch (command.kind) {
      case 'takeover':
        void this.answerTakeover(senderNodeId, command, listener)
        break
      case 'takeoverAnswer':
        this.takeovers.settle(command.request, command.answer)
        break
      case 'kick':
        listener.onKick(command.instance, command.clientId, command.reasonCode)
        break
      case 'drain':
        listener.onDrain()
        break
      case 'question':
        void this.answerQuestion(senderNodeId, command, listener)
        break
      case 'answer':
        this.questions.settle(command.request, command.answer)
    }
  }

  private async answerTakeover(
    nodeId: string,
    { request, instance, clientId, epoch }: NodeCommand & { kind: 'takeover' },
    listener: LinkListener,
  ): Promise<void> {
    let answer: TakeoverAnswer = 'unknown'
    try {
      answer = await listener.onTakeover(instance, clientId, epoch)
    } catch (error) {
      const { logger } = this.options
      logger.error({ event: 'cluster.takeover_failed', reason: String(error) }, 'handling a takeover failed')
    }
    this.command(nodeId, { kind: 'takeoverAnswer', request, answer })
  }

  /** Who gets no answer waits for it no longer than for that of a node that has gone. */
  private async answerQuestion(
    nodeId: string,
    { request, question }: NodeCommand & { kind: 'question' },
    listener: LinkListener,
  ): Promise<void> {
    const answer = await listener.onQuestion(question).catch(() => undefined)
    if (answer === undefined || answer.length > QUESTION_CHARACTERS_MAX) return
    this.command(nodeId, { kind: 'answer', request, answer })
  }

  private forgetRequests(nodeId: string): void {
    this.takeovers.forget(nodeId)
    this.questions.forget(nodeId)
  }

  private command(nodeId: string, command: NodeCommand): void {
    const outbox = this.outboxes.get(nodeId) ?? this.openOutbox(nodeId)
    outbox.command(command)
    if (!outbox.isDirty) this.markDirty(outbox)
  }

  private tellPeers(): void {
    const ids = this.peers().sort()
    const joined = ids.join('\n')
    if (this.listener === undefined || joined === this.knownIds) return
    this.knownIds = joined
    this.listener.onNodesChanged(ids)
  }

  private forget(nodeId: string): void {
    this.forgetRequests(nodeId)
    this.outboxes.get(nodeId)?.close()
    this.outboxes.delete(nodeId)
    this.inbox?.forget(nodeId)
  }
}
