import type { InstanceName, NodeLink } from '@midge/protocol-core'
import type { ConnectionFacts, FactsSlice, SubscriptionFacts } from '../ports.ts'
import type { ClientLogEntry } from './client-log.ts'
import type { NodeView } from './cluster-views.ts'

/** With room for what is around it, see `NodeLink.ask`. */
const ANSWER_CHARACTERS_MAX = 240 * 1024

/** What a node is asked by the others, and by itself. */
export type NodeQuestion =
  | { about: 'connections'; instance: InstanceName; after?: string; countMax: number }
  | { about: 'connection'; instance: InstanceName; clientId: string }
  | { about: 'count'; instance: InstanceName }
  | { about: 'kick'; instance: InstanceName; clientId: string }
  | { about: 'restart'; instance: InstanceName }
  | { about: 'ended' }
  | { about: 'subscriptions'; instance: InstanceName; clientId?: string; after?: string; countMax: number }
  | { about: 'log'; instance: InstanceName; afterSeq: number; countMax: number }
  | { about: 'node' }

/** Answers by what was asked about. */
export interface NodeAnswers {
  connections: FactsSlice<ConnectionFacts>
  connection: ConnectionFacts | null
  count: number
  /** Whether the client was there. */
  kick: boolean
  /** How many were closed. */
  restart: number
  /** When the store knows of all that were closed. */
  ended: true
  subscriptions: FactsSlice<SubscriptionFacts>
  log: ClientLogEntry[]
  node: NodeView
}

/** Whoever knows what happens on this node. */
export interface NodeOracle {
  connections(instance: InstanceName, after: string | undefined, countMax: number): FactsSlice<ConnectionFacts>
  connection(instance: InstanceName, clientId: string): ConnectionFacts | undefined
  count(instance: InstanceName): number
  kick(instance: InstanceName, clientId: string): boolean
  restart(instance: InstanceName): Promise<number>
  /** Resolves when the store knows of every connection that has closed by now, and wills due with it are published. */
  ended(): Promise<void>
  cleanSubscriptions(
    instance: InstanceName,
    slice: { after: string | undefined; countMax: number },
    clientId?: string,
  ): FactsSlice<SubscriptionFacts>
  log(instance: InstanceName, afterSeq: number, countMax: number): ClientLogEntry[]
  node(): NodeView
}

/** Asks nodes, in the words of {@link NodeQuestion}. */
export class NodeQuestions {
  private readonly nodeId: string
  private readonly link: Pick<NodeLink, 'ask' | 'peers'>

  constructor(nodeId: string, link: Pick<NodeLink, 'ask' | 'peers'>) {
    this.nodeId = nodeId
    this.link = link
  }

  /** All live nodes, in an order that is the same on all of them. */
  nodeIds(): string[] {
    return [this.nodeId, ...this.link.peers()].sort()
  }

  /** @returns `undefined` when the node does not answer */
  async ask<Q extends NodeQuestion>(nodeId: string, question: Q): Promise<NodeAnswers[Q['about']] | undefined> {
    const text = await this.link.ask(nodeId, JSON.stringify(question))
    // Answers come from nodes of this cluster, by `nodeAnswer`.
    return text === undefined ? undefined : (JSON.parse(text) as NodeAnswers[Q['about']])
  }

  /** The answers of those that answer. */
  async askAll<Q extends NodeQuestion>(question: Q): Promise<{ nodeId: string; answer: NodeAnswers[Q['about']] }[]> {
    const asked = this.nodeIds().map(async nodeId => ({ nodeId, answer: await this.ask(nodeId, question) }))
    return (await Promise.all(asked)).flatMap(({ nodeId, answer }) => (answer === undefined ? [] : { nodeId, answer }))
  }
}

/** @returns the answer of this node, as JSON. Rejects for a question that it does not know. */
export async function nodeAnswer(oracle: NodeOracle, text: string): Promise<string> {
  // Questions come from nodes of this cluster, by `NodeQuestions`.
  const question = JSON.parse(text) as NodeQuestion
  return JSON.stringify(await answer(oracle, question))
}

/** As much of a list as fits an answer. */
function fitting<T>(countMax: number, read: (countMax: number) => T): T {
  let list = read(countMax)
  for (let count = countMax; count > 1 && JSON.stringify(list).length > ANSWER_CHARACTERS_MAX; ) {
    count >>>= 1
    list = read(count)
  }
  return list
}

function answer(oracle: NodeOracle, question: NodeQuestion): unknown {
  switch (question.about) {
    case 'connections':
      return fitting(question.countMax, countMax => oracle.connections(question.instance, question.after, countMax))
    case 'connection':
      return oracle.connection(question.instance, question.clientId) ?? null
    case 'count':
      return oracle.count(question.instance)
    case 'kick':
      return oracle.kick(question.instance, question.clientId)
    case 'restart':
      return oracle.restart(question.instance)
    case 'ended':
      return oracle.ended().then(() => true)
    case 'subscriptions': {
      const { instance, after, clientId } = question
      return fitting(question.countMax, countMax => oracle.cleanSubscriptions(instance, { after, countMax }, clientId))
    }
    case 'log':
      return fitting(question.countMax, countMax => oracle.log(question.instance, question.afterSeq, countMax))
    case 'node':
      return oracle.node()
    default:
      throw new RangeError('a question of a later release')
  }
}
