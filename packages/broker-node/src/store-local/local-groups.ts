import type { DetachedMessage, GroupTarget, InstanceName, QueueLimits, TakenEntry } from '@midge/protocol-core'
import type { Recorder } from './recorder.ts'
import { Group, GroupEntry, type LocalSession, type State } from './state.ts'

/** Share groups: one queue each, from which members take. */
export class LocalGroups {
  readonly #state: State
  readonly #recorder: Recorder
  readonly #limits: QueueLimits

  constructor(state: State, recorder: Recorder, limits: QueueLimits) {
    this.#state = state
    this.#recorder = recorder
    this.#limits = limits
  }

  /** @returns false when the group's queue is full */
  append(
    instance: InstanceName,
    target: GroupTarget,
    {
      detached,
      nowMs,
      limits = this.#limits,
    }: { detached: DetachedMessage; nowMs: number; limits?: QueueLimits | undefined },
  ): boolean {
    const group = this.#state.group(instance, target.group) ?? this.#create(instance, target.group)
    const size = detached.bytes.length
    if (isFull(group, size, limits)) {
      this.#dropExpired(group, nowMs)
      if (isFull(group, size, limits)) return false
    }
    const entry = new GroupEntry(group.nextSeq++, target.qos, detached.message, size)
    group.entries.set(entry.seq, entry)
    group.bytes += size
    this.#recorder.groupEntry(group, entry, detached.bytes)
    return true
  }

  take(session: LocalSession, name: string, packetIds: number[], nowMs: number): TakenEntry[] {
    const group = this.#state.group(session.instance, name)
    const taken: TakenEntry[] = []
    if (group === undefined) return taken
    for (const packetId of packetIds) {
      const entry = this.#next(group, nowMs)
      if (entry === undefined) break
      entry.holder = session.clientId
      entry.epoch = session.epoch
      entry.packetId = packetId
      heldBy(group, session.clientId).add(entry.seq)
      session.addHeldGroup(group)
      this.#recorder.held(group, entry)
      taken.push(takenEntry(entry))
    }
    return taken
  }

  held(session: LocalSession, name: string): TakenEntry[] {
    const group = this.#state.group(session.instance, name)
    const seqs = group?.held.get(session.clientId)
    if (group === undefined || seqs === undefined) return []
    const taken: TakenEntry[] = []
    for (const seq of [...seqs].sort(ascending)) {
      const entry = group.entries.get(seq)
      if (entry === undefined) continue
      entry.epoch = session.epoch
      this.#recorder.held(group, entry)
      taken.push(takenEntry(entry))
    }
    return taken
  }

  ack(instance: InstanceName, name: string, clientId: string, seqs: number[]): void {
    const group = this.#state.group(instance, name)
    if (group === undefined) return
    for (const seq of seqs) {
      const entry = group.entries.get(seq)
      if (entry?.holder === clientId) this.#remove(group, entry)
    }
  }

  release(instance: InstanceName, name: string, clientId: string, seqs: number[]): void {
    const group = this.#state.group(instance, name)
    if (group === undefined) return
    for (const seq of seqs) {
      const entry = group.entries.get(seq)
      if (entry?.holder !== clientId || entry.released) continue
      entry.released = true
      this.#recorder.held(group, entry)
    }
  }

  giveBack(instance: InstanceName, name: string, clientId: string, keepQos2: boolean): void {
    const group = this.#state.group(instance, name)
    if (group !== undefined) this.#giveBack(group, clientId, keepQos2 ? 'keep' : 'return')
  }

  delete(instance: InstanceName, name: string): void {
    const group = this.#state.group(instance, name)
    if (group === undefined) return
    for (const clientId of group.held.keys()) this.#state.session(instance, clientId)?.removeHeldGroup(group)
    this.#state.tenant(instance).groups.delete(name)
    this.#recorder.groupDeleted(group)
  }

  connectionEnded(session: LocalSession): void {
    for (const group of session.heldGroups) this.#giveBack(group, session.clientId, 'keep')
  }

  /** v5 [MQTT-4.8.2-5]: what was on its way at QoS 2 goes to no other member; the rest goes back. */
  sessionEnded(session: LocalSession): void {
    for (const group of session.heldGroups) this.#giveBack(group, session.clientId, 'drop')
  }

  /** `qos2`: what happens to messages at QoS 2. A released one has arrived and is never given to anybody else. */
  #giveBack(group: Group, clientId: string, qos2: 'keep' | 'return' | 'drop'): void {
    const seqs = group.held.get(clientId)
    if (seqs === undefined) return
    for (const seq of [...seqs]) {
      const entry = group.entries.get(seq)
      if (entry === undefined) continue
      if (entry.qos === 2 && qos2 === 'keep') continue
      if (entry.qos === 2 && (qos2 === 'drop' || entry.released)) {
        this.#remove(group, entry)
        continue
      }
      this.#letGo(group, entry)
      this.#recorder.notHeld(group, entry)
      group.returned.push(seq)
    }
    group.returned.sort(ascending)
  }

  /** The oldest entry that nobody holds, no longer listed as waiting. */
  #next(group: Group, nowMs: number): GroupEntry | undefined {
    for (;;) {
      const seq = group.returned.length > 0 ? group.returned.shift() : nextFresh(group)
      if (seq === undefined) return undefined
      const entry = group.entries.get(seq)
      if (entry === undefined) continue
      if (!isExpired(entry, nowMs)) return entry
      this.#remove(group, entry)
    }
  }

  #dropExpired(group: Group, nowMs: number): void {
    for (const entry of group.entries.values()) {
      if (entry.holder === undefined && isExpired(entry, nowMs)) this.#remove(group, entry)
    }
  }

  #remove(group: Group, entry: GroupEntry): void {
    this.#recorder.groupEntryRemoved(group, entry)
    this.#letGo(group, entry)
    group.entries.delete(entry.seq)
    group.bytes -= entry.size
    if (entry.seq === group.nextSeq - 1) this.#recorder.group(group)
  }

  #letGo(group: Group, entry: GroupEntry): void {
    const { holder } = entry
    if (holder === undefined) return
    entry.holder = undefined
    entry.released = false
    const seqs = group.held.get(holder)
    seqs?.delete(entry.seq)
    if (seqs?.size !== 0) return
    group.held.delete(holder)
    this.#state.session(group.instance, holder)?.removeHeldGroup(group)
  }

  #create(instance: InstanceName, name: string): Group {
    const group = new Group(instance, name, ++this.#state.lastGroupId)
    this.#state.tenant(instance).groups.set(name, group)
    this.#recorder.group(group)
    return group
  }
}

function nextFresh(group: Group): number | undefined {
  return group.freshSeq < group.nextSeq ? group.freshSeq++ : undefined
}

/** The sequence numbers that a member holds, created when it holds none. */
export function heldBy(group: Group, clientId: string): Set<number> {
  let seqs = group.held.get(clientId)
  if (seqs === undefined) {
    seqs = new Set()
    group.held.set(clientId, seqs)
  }
  return seqs
}

function takenEntry(entry: GroupEntry): TakenEntry {
  const { seq, packetId, qos, released, message } = entry
  return { seq, packetId, qos, released, message }
}

function isExpired(entry: GroupEntry, nowMs: number): boolean {
  return entry.message.expiresAtMs !== 0 && entry.message.expiresAtMs <= nowMs
}

function ascending(a: number, b: number): number {
  return a - b
}

/** A group is fed at the pace of the online and stands in for the offline: the wider bound of both holds. */
function isFull(group: Group, size: number, limits: QueueLimits): boolean {
  return (
    group.entries.size >= Math.max(limits.offlineQueueMessages, limits.onlineQueueMessages) ||
    group.bytes + size > Math.max(limits.offlineQueueBytes, limits.onlineQueueBytes)
  )
}
