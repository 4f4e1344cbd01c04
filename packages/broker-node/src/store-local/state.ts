import {
  type InstanceName,
  type Message,
  type Qos,
  RetainedIndex,
  type StoredWill,
  type Subscription,
} from '@midge/protocol-core'
import { Deadlines, type Scheduled } from './deadlines.ts'
import { EntryQueue } from './entry-queue.ts'

const NO_SUBSCRIPTIONS: ReadonlyMap<string, Subscription> = new Map()
const NO_PACKET_IDS: ReadonlySet<number> = new Set()
const NO_GROUPS: ReadonlySet<Group> = new Set()

/** `username` is `undefined` for an anonymous client. */
export interface SessionOwner {
  readonly username: string | undefined
}

/** One session, connected or not. Scheduled for its expiry while it is not connected. */
export class LocalSession implements Scheduled {
  readonly instance: InstanceName
  readonly clientId: string
  /** Names the session in journal keys, so that these stay short whatever the client id is. */
  readonly id: number
  epoch = 0
  nodeId = ''
  /** Whose client id it is; absent in what was written before owners were. */
  owner: SessionOwner | undefined = undefined
  connected = false
  expirySeconds = 0
  /** Newest queue entry that may have been sent on the connections of before. */
  sentSeq = 0
  dueAtMs = 0
  /** The will of the open connection. */
  will: StoredWill | undefined = undefined
  readonly queue: EntryQueue = new EntryQueue()
  // Made with the first entry: every idle connection has a session.
  #subscriptions: Map<string, Subscription> | undefined = undefined
  #inbound: Set<number> | undefined = undefined
  #heldGroups: Set<Group> | undefined = undefined

  constructor(instance: InstanceName, clientId: string, id: number) {
    this.instance = instance
    this.clientId = clientId
    this.id = id
  }

  get subscriptions(): ReadonlyMap<string, Subscription> {
    return this.#subscriptions ?? NO_SUBSCRIPTIONS
  }

  subscribe(subscription: Subscription): void {
    this.#subscriptions ??= new Map()
    this.#subscriptions.set(subscription.topicFilter, subscription)
  }

  /** @returns false when there was no such subscription */
  unsubscribe(topicFilter: string): boolean {
    return this.#subscriptions?.delete(topicFilter) === true
  }

  unsubscribeAll(): void {
    this.#subscriptions = undefined
  }

  /** Packet ids of QoS 2 that the client has not released. */
  get inbound(): ReadonlySet<number> {
    return this.#inbound ?? NO_PACKET_IDS
  }

  addInbound(packetId: number): void {
    this.#inbound ??= new Set()
    this.#inbound.add(packetId)
  }

  /** @returns false when it was not there */
  removeInbound(packetId: number): boolean {
    return this.#inbound?.delete(packetId) === true
  }

  /** Groups of which this session holds messages. */
  get heldGroups(): ReadonlySet<Group> {
    return this.#heldGroups ?? NO_GROUPS
  }

  addHeldGroup(group: Group): void {
    this.#heldGroups ??= new Set()
    this.#heldGroups.add(group)
  }

  removeHeldGroup(group: Group): void {
    this.#heldGroups?.delete(group)
  }
}

/** A will on its way to publication. Scheduled for when it is due, and again for the end of each claim. */
export class WillRecord implements Scheduled {
  /** The epoch of its connection. */
  readonly id: number
  /** When its delay, or its session, is over. */
  firesAtMs = 0
  readonly instance: InstanceName
  readonly clientId: string
  readonly will: StoredWill
  dueAtMs = 0

  constructor(of: { instance: InstanceName; clientId: string }, id: number, will: StoredWill) {
    this.id = id
    this.instance = of.instance
    this.clientId = of.clientId
    this.will = will
  }
}

/** A retained message; scheduled for its expiry when it has one. */
export class RetainedRecord implements Scheduled {
  readonly instance: InstanceName
  readonly message: Message
  /** As it is stored. */
  readonly bytes: number
  dueAtMs = 0

  constructor(instance: InstanceName, message: Message, bytes: number) {
    this.instance = instance
    this.message = message
    this.bytes = bytes
  }
}

/** One message of a share group. */
export class GroupEntry {
  readonly seq: number
  readonly qos: Qos
  readonly message: Message
  readonly size: number
  /** Client id of the member that has taken it. */
  holder: string | undefined = undefined
  epoch = 0
  packetId = 0
  released = false

  constructor(seq: number, qos: Qos, message: Message, size: number) {
    this.seq = seq
    this.qos = qos
    this.message = message
    this.size = size
  }
}

/** The queue of one share group. */
export class Group {
  readonly instance: InstanceName
  readonly name: string
  /** Names the group in journal keys. */
  readonly id: number
  readonly entries: Map<number, GroupEntry> = new Map()
  bytes = 0
  /** Given to the next message that arrives. */
  nextSeq = 1
  /** No entry from here on has ever been taken. */
  freshSeq = 1
  /** Sequence numbers of returned entries, ascending; all below `freshSeq`. */
  returned: number[] = []
  /** What each member holds, by client id. */
  readonly held: Map<string, Set<number>> = new Map()

  constructor(instance: InstanceName, name: string, id: number) {
    this.instance = instance
    this.name = name
    this.id = id
  }
}

const NO_WILLS: readonly WillRecord[] = []

/** Everything of one instance; instances share nothing. */
export class Tenant {
  readonly sessions: Map<string, LocalSession> = new Map()
  readonly groups: Map<string, Group> = new Map()
  /** Wills of connections that have ended, by client id, oldest first. */
  readonly wills: Map<string, WillRecord[]> = new Map()
  readonly retained: RetainedIndex<RetainedRecord> = new RetainedIndex()
  /** Of all that is in `retained`. */
  retainedBytes = 0
}

/** The state of the local store. Its parts change it; {@link Recorder} writes the changes down. */
export class State {
  readonly tenants: Map<InstanceName, Tenant> = new Map()
  /** Sessions with an open connection, by node. */
  readonly connected: Map<string, Set<LocalSession>> = new Map()
  readonly wills: Map<number, WillRecord> = new Map()
  readonly sessionDeadlines: Deadlines<LocalSession> = new Deadlines()
  readonly willDeadlines: Deadlines<WillRecord> = new Deadlines()
  readonly retainedDeadlines: Deadlines<RetainedRecord> = new Deadlines()
  readonly secrets: Map<string, Uint8Array> = new Map()
  readonly records: Map<string, string> = new Map()
  epoch = 0
  /** No epoch from here on may be given out before a higher bound is written down. */
  epochBound = 0
  lastSessionId = 0
  lastGroupId = 0

  tenant(instance: InstanceName): Tenant {
    let tenant = this.tenants.get(instance)
    if (tenant === undefined) {
      tenant = new Tenant()
      this.tenants.set(instance, tenant)
    }
    return tenant
  }

  session(instance: InstanceName, clientId: string): LocalSession | undefined {
    return this.tenants.get(instance)?.sessions.get(clientId)
  }

  group(instance: InstanceName, name: string): Group | undefined {
    return this.tenants.get(instance)?.groups.get(name)
  }

  /** Unpublished wills of earlier connections of a client id, oldest first. */
  willsOf(instance: InstanceName, clientId: string): readonly WillRecord[] {
    return this.tenants.get(instance)?.wills.get(clientId) ?? NO_WILLS
  }

  addWill(record: WillRecord): void {
    this.wills.set(record.id, record)
    const { wills } = this.tenant(record.instance)
    const others = wills.get(record.clientId)
    if (others === undefined) wills.set(record.clientId, [record])
    else others.push(record)
  }

  removeWill(record: WillRecord): void {
    this.wills.delete(record.id)
    const { wills } = this.tenant(record.instance)
    const left = this.willsOf(record.instance, record.clientId).filter(other => other !== record)
    if (left.length === 0) wills.delete(record.clientId)
    else wills.set(record.clientId, left)
  }

  markConnected(session: LocalSession): void {
    let sessions = this.connected.get(session.nodeId)
    if (sessions === undefined) {
      sessions = new Set()
      this.connected.set(session.nodeId, sessions)
    }
    sessions.add(session)
    session.connected = true
  }

  markDisconnected(session: LocalSession): void {
    session.connected = false
    const sessions = this.connected.get(session.nodeId)
    sessions?.delete(session)
    if (sessions?.size === 0) this.connected.delete(session.nodeId)
  }
}
