import {
  FilterIndex,
  type FilterNode,
  MatchCache,
  parseShare,
  RouteInterest,
  type Subscription,
} from '@midge/protocol-core'
import type { GroupMember, Subscriber } from '../ground/subscriber.ts'
import { LiveTarget, Match, type RouteTarget, StoredTarget } from './match.ts'
import { ShareGroup } from './share-group.ts'

/** Topics whose compiled match is kept; beyond it the least used are compiled again. */
const MATCH_CACHE_TOPICS_MAX = 65_536
/** Targets in them, some hundred bytes each: a thousand subscribers of '#' times all topics would fill any memory. */
const MATCH_CACHE_TARGETS_MAX = 1_000_000

/** Online receivers by themselves, all others by a string. */
type EntryKey = Subscriber | string
type Entry =
  | { kind: 'live'; subscriber: Subscriber; subscription: Subscription }
  | { kind: 'stored'; clientId: string; subscription: Subscription }
  | RouteEntry
  | { kind: 'group'; group: ShareGroup }
type RouteEntry = { kind: 'route'; nodeId: string; interest: RouteInterest }

/**
 * Who gets a message, for one instance: online sessions of this node, stored sessions of the cluster, other nodes and
 * share groups, all in one filter index so that a topic is matched in one walk.
 */
export class Router {
  /** Grows with every change; a match taken at the same version is still right. */
  version = 0
  private readonly index = new FilterIndex<EntryKey, Entry>()
  private readonly cache: MatchCache<Match> = new MatchCache<Match>(this.index.changes, MATCH_CACHE_TOPICS_MAX)
  /** Targets compiled since the cache was last empty. */
  private cachedTargets = 0
  private readonly groups = new Map<string, ShareGroup>()
  private readonly routesByNode = new Map<string, Set<string>>()
  private readonly storedByClient = new Map<string, Map<string, Subscription>>()
  private readonly found: FilterNode<EntryKey, Entry>[] = []

  match(topicName: string): Match {
    const cached = this.cache.get(topicName)
    if (cached !== undefined) return cached
    const match = this.compile(topicName)
    this.cachedTargets += match.live.length + match.stored.length
    if (this.cachedTargets > MATCH_CACHE_TARGETS_MAX) {
      this.cache.clear()
      this.cachedTargets = match.live.length + match.stored.length
    }
    this.cache.set(topicName, match)
    return match
  }

  group(name: string): ShareGroup | undefined {
    return this.groups.get(name)
  }

  allGroups(): IterableIterator<ShareGroup> {
    return this.groups.values()
  }

  addLive(member: GroupMember, subscription: Subscription): void {
    if (parseShare(subscription.topicFilter) === undefined) {
      this.addSubscriber(member, subscription)
    } else {
      this.version++
      this.openGroup(subscription.topicFilter).addMember(member, subscription.qos)
    }
  }

  removeLive(member: GroupMember, topicFilter: string): void {
    const group = this.groups.get(topicFilter)
    if (group === undefined) {
      this.removeSubscriber(member, topicFilter)
    } else {
      this.version++
      group.removeMember(member)
      this.closeGroup(group)
    }
  }

  /** A receiver of a filter that is not shared. */
  addSubscriber(subscriber: Subscriber, subscription: Subscription): void {
    this.version++
    this.index.add(subscription.topicFilter, subscriber, { kind: 'live', subscriber, subscription })
  }

  removeSubscriber(subscriber: Subscriber, topicFilter: string): void {
    this.version++
    this.index.remove(topicFilter, subscriber)
  }

  /**
   * What other nodes have to send here for this filter, from the online subscribers of this node.
   * A stored session granted QoS 1 or 2 is fed from its queue, so it needs only the QoS 0 messages.
   */
  interestIn(topicFilter: string): RouteInterest {
    const group = this.groups.get(topicFilter)
    if (group !== undefined) return group.hasLocalMembers ? RouteInterest.all : RouteInterest.none
    let interest: RouteInterest = RouteInterest.none
    for (const entry of this.index.node(topicFilter)?.entries.values() ?? []) {
      if (entry.kind !== 'live') continue
      if (!entry.subscriber.isStored || entry.subscription.qos === 0) return RouteInterest.all
      interest = RouteInterest.qos0
    }
    return interest
  }

  storedClientIds(): IterableIterator<string> {
    return this.storedByClient.keys()
  }

  storedSubscriptions(clientId: string): Map<string, Subscription> | undefined {
    return this.storedByClient.get(clientId)
  }

  addStored(clientId: string, subscription: Subscription): void {
    this.version++
    let own = this.storedByClient.get(clientId)
    if (own === undefined) {
      own = new Map()
      this.storedByClient.set(clientId, own)
    }
    own.set(subscription.topicFilter, subscription)
    if (parseShare(subscription.topicFilter) === undefined) {
      this.index.add(subscription.topicFilter, `s${clientId}`, { kind: 'stored', clientId, subscription })
    } else {
      this.openGroup(subscription.topicFilter).addStored(clientId, subscription.qos)
    }
  }

  removeStored(clientId: string, topicFilter: string): void {
    const own = this.storedByClient.get(clientId)
    if (own?.delete(topicFilter) !== true) return
    this.version++
    if (own.size === 0) this.storedByClient.delete(clientId)
    const group = this.groups.get(topicFilter)
    if (group === undefined) {
      this.index.remove(topicFilter, `s${clientId}`)
    } else {
      group.removeStored(clientId)
      this.closeGroup(group)
    }
  }

  removeAllStored(): void {
    for (const [clientId, own] of [...this.storedByClient]) {
      for (const topicFilter of [...own.keys()]) this.removeStored(clientId, topicFilter)
    }
  }

  setRoute(nodeId: string, topicFilter: string, interest: RouteInterest): void {
    this.version++
    let own = this.routesByNode.get(nodeId)
    if (own === undefined) {
      own = new Set()
      this.routesByNode.set(nodeId, own)
    }
    if (interest === RouteInterest.none) own.delete(topicFilter)
    else own.add(topicFilter)
    if (parseShare(topicFilter) !== undefined) {
      const group = this.openGroup(topicFilter)
      group.setNode(nodeId, interest !== RouteInterest.none)
      this.closeGroup(group)
    } else if (interest === RouteInterest.none) {
      this.index.remove(topicFilter, `n${nodeId}`)
    } else {
      this.index.add(topicFilter, `n${nodeId}`, { kind: 'route', nodeId, interest })
    }
  }

  removeNode(nodeId: string): void {
    const own = this.routesByNode.get(nodeId)
    if (own === undefined) return
    for (const topicFilter of [...own]) this.setRoute(nodeId, topicFilter, RouteInterest.none)
    this.routesByNode.delete(nodeId)
  }

  private openGroup(name: string): ShareGroup {
    const known = this.groups.get(name)
    if (known !== undefined) return known
    const group = new ShareGroup(name)
    this.groups.set(name, group)
    this.index.add(group.topicFilter, `g${name}`, { kind: 'group', group })
    return group
  }

  private closeGroup(group: ShareGroup): void {
    if (!group.isEmpty) return
    this.groups.delete(group.name)
    this.index.remove(group.topicFilter, `g${group.name}`)
  }

  private compile(topicName: string): Match {
    const found = this.found
    found.length = 0
    this.index.matchInto(topicName, found)
    const match = new Match()
    const merging = found.length > 1 ? new Merging() : undefined
    for (const node of found) {
      for (const entry of node.entries.values()) addTo(match, entry, merging)
    }
    found.length = 0
    return match
  }
}

/** Finds the targets that overlapping subscriptions of one match share. */
class Merging {
  readonly live: Map<Subscriber, LiveTarget> = new Map()
  readonly stored: Map<string, StoredTarget> = new Map()
  readonly nodes: Map<string, RouteTarget> = new Map()
}

function addTo(match: Match, entry: Entry, merging: Merging | undefined): void {
  switch (entry.kind) {
    case 'live':
      addLiveTo(match, entry.subscriber, entry.subscription, merging)
      return
    case 'stored':
      if (entry.subscription.qos > 0) addStoredTo(match, entry.clientId, entry.subscription, merging)
      return
    case 'route':
      addRouteTo(match, entry, merging)
      return
    case 'group':
      match.groups.push(entry.group)
  }
}

function addLiveTo(
  match: Match,
  subscriber: Subscriber,
  subscription: Subscription,
  merging: Merging | undefined,
): void {
  const known = merging?.live.get(subscriber)
  if (known !== undefined) {
    known.merge(subscription)
    return
  }
  const target = new LiveTarget(subscriber, subscription)
  match.live.push(target)
  merging?.live.set(subscriber, target)
}

function addStoredTo(match: Match, clientId: string, subscription: Subscription, merging: Merging | undefined): void {
  const known = merging?.stored.get(clientId)
  if (known !== undefined) {
    known.merge(subscription)
    return
  }
  const target = new StoredTarget(clientId, subscription)
  match.stored.push(target)
  merging?.stored.set(clientId, target)
}

function addRouteTo(match: Match, route: RouteEntry, merging: Merging | undefined): void {
  const known = merging?.nodes.get(route.nodeId)
  if (known !== undefined) {
    if (route.interest > known.interest) known.interest = route.interest
    return
  }
  const target: RouteTarget = { nodeId: route.nodeId, interest: route.interest }
  match.nodes.push(target)
  merging?.nodes.set(route.nodeId, target)
}
