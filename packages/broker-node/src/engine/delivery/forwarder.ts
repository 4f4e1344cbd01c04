import { type InstanceName, type Message, type PublishRun, RouteInterest } from '@midge/protocol-core'
import type { EngineServices } from '../ground/services.ts'
import type { TickMember } from '../ground/tick.ts'
import type { Match } from '../routing/match.ts'
import { deliverToMember } from './deliver.ts'

/** Shorter runs travel between nodes as single messages: those repeat neither topic nor header. */
const RUN_MESSAGES_MIN = 4

const NO_GROUPS: string[] = []

/** Takes messages to other nodes and to share groups at QoS 0, which have no queue. */
export class Forwarder implements TickMember {
  private readonly services: Pick<EngineServices, 'counters' | 'directory' | 'link' | 'tick'>
  private isSyncKnown = false
  private isOutOfSync = false

  constructor(services: Pick<EngineServices, 'counters' | 'directory' | 'link' | 'tick'>) {
    this.services = services
  }

  /** True while the route table may be incomplete: then every node gets every message. */
  get sendsToAll(): boolean {
    // Asked for every message; the answer holds for the tick.
    if (!this.isSyncKnown) {
      this.isSyncKnown = true
      this.isOutOfSync = !this.services.directory.inSync()
      this.services.tick.request()
    }
    return this.isOutOfSync
  }

  endTick(): void {
    this.isSyncKnown = false
  }

  forwardRun(instance: InstanceName, run: PublishRun, match: Match): void {
    const { sendsToAll } = this
    if (match.groups.length > 0 || run.count < RUN_MESSAGES_MIN) {
      if (match.groups.length === 0 && match.nodes.length === 0 && !sendsToAll) return
      for (const message of run.messages()) this.forward(instance, message, match)
    } else if (sendsToAll) {
      for (const nodeId of this.services.link.peers()) this.sendRun(nodeId, instance, run)
    } else {
      for (const route of match.nodes) this.sendRun(route.nodeId, instance, run)
    }
  }

  forward(instance: InstanceName, message: Message, match: Match): void {
    const groups = match.groups.length === 0 ? undefined : this.serveGroups(message, match)
    if (this.sendsToAll) {
      for (const nodeId of this.services.link.peers())
        this.send(nodeId, instance, message, groups?.get(nodeId) ?? NO_GROUPS)
      return
    }
    for (const route of match.nodes) {
      if (message.qos > 0 && route.interest !== RouteInterest.all) continue
      this.send(route.nodeId, instance, message, groups?.get(route.nodeId) ?? NO_GROUPS)
      groups?.delete(route.nodeId)
    }
    if (groups === undefined) return
    // Nodes that are only in for the group get a copy that their other subscribers do not match anyway.
    for (const [nodeId, names] of groups) this.send(nodeId, instance, message, names)
  }

  /** @returns the groups that members of other nodes serve, by node */
  private serveGroups(message: Message, match: Match): Map<string, string[]> | undefined {
    let groupsByNode: Map<string, string[]> | undefined
    for (const group of match.groups) {
      // Above QoS 0 the group's queue has it.
      if (message.qos > 0 && group.qosMax > 0) continue
      const next = group.next()
      if (next === undefined) continue
      if (typeof next !== 'string') {
        deliverToMember(next, group.name, message)
        continue
      }
      groupsByNode ??= new Map()
      const names = groupsByNode.get(next)
      if (names === undefined) groupsByNode.set(next, [group.name])
      else names.push(group.name)
    }
    return groupsByNode
  }

  private send(nodeId: string, instance: InstanceName, message: Message, groups: string[]): void {
    this.services.counters.linkMessagesSent++
    this.services.link.send(nodeId, instance, message, groups)
  }

  private sendRun(nodeId: string, instance: InstanceName, run: PublishRun): void {
    this.services.counters.linkMessagesSent += run.count
    this.services.link.sendRun(nodeId, instance, run)
  }
}
