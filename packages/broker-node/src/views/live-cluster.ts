import { BrokerError, type InstanceName, type NodeLink } from '@midge/protocol-core'
import type { FactsSlice, SubscriptionFacts } from '../ports.ts'
import type {
  ClusterViews,
  ConnectionView,
  InstanceStatistics,
  LogView,
  NodeView,
  PublishWish,
  QueuedMessageView,
  RetainedView,
  SessionView,
  ViewPage,
  ViewRequest,
} from './cluster-views.ts'
import { FleetLog } from './fleet-log.ts'
import { type ListPart, pageOverParts } from './fleet-pages.ts'
import { MessageDesk, type MessageDeskParts } from './message-desk.ts'
import { type NodeOracle, NodeQuestions, nodeAnswer } from './node-questions.ts'
import { SessionDesk, type SessionDeskParts } from './session-desk.ts'
import { SessionTransfer, type SessionTransferParts } from './session-transfer.ts'

/** Part names of the list of subscriptions: those that every node knows come before those of one node. */
const STORED_PART = '0'
const CLEAN_PART = '1'

/** What is known of this node alone, and what every node knows. */
export interface LocalViews extends NodeOracle {
  storedSubscriptions: NodeOracle['cleanSubscriptions']
}

/** What {@link LiveCluster} is made of. */
export interface LiveClusterParts
  extends Omit<SessionDeskParts, 'kick'>,
    Omit<MessageDeskParts, 'store'>,
    Omit<SessionTransferParts, 'storedSubscriptions'> {
  store: SessionDeskParts['store'] & MessageDeskParts['store'] & SessionTransferParts['store']
  directory: SessionDeskParts['directory'] & SessionTransferParts['directory']
  link: Pick<NodeLink, 'ask' | 'peers' | 'drain'>
  local: LocalViews
  /** This node is to go out of service. */
  drainSelf(): void
}

/** {@link ClusterViews} by asking the nodes and the store. */
export class LiveCluster implements ClusterViews {
  private readonly parts: LiveClusterParts
  private readonly questions: NodeQuestions
  private readonly sessionDesk: SessionDesk
  private readonly sessionTransfer: SessionTransfer
  private readonly messageDesk: MessageDesk
  private readonly fleetLog: FleetLog

  constructor(parts: LiveClusterParts) {
    this.parts = parts
    this.questions = new NodeQuestions(parts.nodeId, parts.link)
    this.sessionDesk = new SessionDesk({ ...parts, kick: (instance, clientId) => this.kick(instance, clientId) })
    const storedSubscriptions = parts.local.storedSubscriptions.bind(parts.local)
    this.sessionTransfer = new SessionTransfer({ ...parts, storedSubscriptions })
    this.messageDesk = new MessageDesk(parts)
    this.fleetLog = new FleetLog(this.questions)
  }

  /** What this node says when it is asked. */
  answer(question: string): Promise<string> {
    return nodeAnswer(this.parts.local, question)
  }

  connections(instance: InstanceName, request: ViewRequest): Promise<ViewPage<ConnectionView>> {
    const parts = this.questions.nodeIds().map((nodeId): ListPart<ConnectionView> => {
      const slice = async (after: string | undefined, countMax: number) => {
        const question = {
          about: 'connections',
          instance,
          countMax,
          ...(after === undefined ? {} : { after }),
        } as const
        const found = await this.questions.ask(nodeId, question)
        return found === undefined ? undefined : { ...found, items: found.items.map(row => ({ ...row, nodeId })) }
      }
      return { name: nodeId, slice }
    })
    return pageOverParts(parts, request)
  }

  async connection(instance: InstanceName, clientId: string): Promise<ConnectionView | undefined> {
    const answers = await this.questions.askAll({ about: 'connection', instance, clientId })
    const views = answers.flatMap(({ nodeId, answer }) => (answer === null ? [] : { ...answer, nodeId }))
    // In the moment of a takeover there are two.
    return views.sort((a, b) => b.connectedAtMs - a.connectedAtMs)[0]
  }

  async kick(instance: InstanceName, clientId: string): Promise<boolean> {
    const answers = await this.questions.askAll({ about: 'kick', instance, clientId })
    return answers.some(({ answer }) => answer)
  }

  async restart(instance: InstanceName): Promise<void> {
    await this.questions.askAll({ about: 'restart', instance })
  }

  sessions(instance: InstanceName, request: ViewRequest): Promise<ViewPage<SessionView>> {
    return this.sessionDesk.list(instance, request)
  }

  session(instance: InstanceName, clientId: string): Promise<SessionView | undefined> {
    return this.sessionDesk.find(instance, clientId)
  }

  queue(instance: InstanceName, clientId: string, request: ViewRequest): Promise<ViewPage<QueuedMessageView>> {
    return this.sessionDesk.queue(instance, clientId, request)
  }

  purgeQueue(instance: InstanceName, clientId: string): Promise<void> {
    return this.sessionDesk.purge(instance, clientId)
  }

  deleteSession(instance: InstanceName, clientId: string): Promise<void> {
    return this.sessionDesk.end(instance, clientId)
  }

  exportSession(instance: InstanceName, clientId: string): AsyncIterable<string> {
    return this.sessionTransfer.takeOut(instance, clientId)
  }

  importSession(instance: InstanceName, lines: string): Promise<string> {
    return this.sessionTransfer.putIn(instance, lines)
  }

  subscriptions(
    instance: InstanceName,
    request: ViewRequest,
    of?: { clientId: string },
  ): Promise<ViewPage<SubscriptionFacts>> {
    const stored = async (after: string | undefined, countMax: number): Promise<FactsSlice<SubscriptionFacts>> =>
      this.parts.local.storedSubscriptions(instance, { after, countMax }, of?.clientId)
    const clean = this.questions.nodeIds().map((nodeId): ListPart<SubscriptionFacts> => {
      const slice = (after: string | undefined, countMax: number) => {
        const where = { ...(after === undefined ? {} : { after }), ...of }
        return this.questions.ask(nodeId, { about: 'subscriptions', instance, countMax, ...where })
      }
      return { name: `${CLEAN_PART}${nodeId}`, slice }
    })
    return pageOverParts([{ name: STORED_PART, slice: stored }, ...clean], request)
  }

  retained(instance: InstanceName, topicFilter: string, request: ViewRequest): Promise<ViewPage<RetainedView>> {
    return this.messageDesk.retained(instance, topicFilter, request)
  }

  retainedMessage(instance: InstanceName, topic: string): Promise<RetainedView | undefined> {
    return this.messageDesk.retainedMessage(instance, topic)
  }

  deleteRetained(instance: InstanceName, topicFilter: string): Promise<number> {
    return this.messageDesk.deleteRetained(instance, topicFilter)
  }

  exportRetained(instance: InstanceName, topicFilter: string): AsyncIterable<string> {
    return this.messageDesk.exportRetained(instance, topicFilter)
  }

  importRetained(instance: InstanceName, lines: string): Promise<number> {
    return this.messageDesk.importRetained(instance, lines)
  }

  publish(instance: InstanceName, messages: readonly PublishWish[]): Promise<void> {
    return this.messageDesk.publish(instance, messages)
  }

  async wipe(instance: InstanceName): Promise<void> {
    await this.restart(instance)
    // Also of sessions that are not stored: their wills would come behind what is removed here.
    await this.questions.askAll({ about: 'ended' })
    await this.sessionDesk.wipe(instance)
    await this.messageDesk.deleteRetained(instance, '#')
  }

  log(instance: InstanceName, since: string | undefined, countMax: number): Promise<LogView[]> {
    return this.fleetLog.read(instance, since, countMax)
  }

  followLog(instance: InstanceName, signal: AbortSignal): AsyncIterable<LogView> {
    return this.fleetLog.follow(instance, signal)
  }

  async statistics(instance: InstanceName): Promise<InstanceStatistics> {
    const counts = await this.questions.askAll({ about: 'count', instance })
    return { connections: counts.reduce((sum, { answer }) => sum + answer, 0) }
  }

  async nodes(): Promise<NodeView[]> {
    const views = this.questions.nodeIds().map(async nodeId => {
      const view = await this.questions.ask(nodeId, { about: 'node' })
      return view ?? { nodeId, ready: false }
    })
    return Promise.all(views)
  }

  async drain(nodeId: string): Promise<void> {
    if (!this.questions.nodeIds().includes(nodeId)) throw new BrokerError('MIDGE_NOT_FOUND', 'no such node')
    if (nodeId === this.parts.nodeId) this.parts.drainSelf()
    else this.parts.link.drain(nodeId)
  }
}
