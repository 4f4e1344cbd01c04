import type { HeldSlot, InstanceName, QuotaStore, SlotAnswer, SlotLimit } from '@midge/protocol-core'

/** A slot that could not be given back is tried again after this. */
const RETRY_MS = 1_000

/** Who takes a place among the connections of an instance. */
export interface Guest {
  username: string | undefined
  clientId: string
}

/** The place of one connection; it has to be given back. */
export class ConnectionSlot implements HeldSlot {
  readonly name: string
  readonly claim: string
  readonly kinds: readonly string[]
  private readonly slots: ConnectionSlots
  private isFreed = false

  constructor(slots: ConnectionSlots, held: HeldSlot, kinds: readonly string[]) {
    this.slots = slots
    this.name = held.name
    this.claim = held.claim
    this.kinds = kinds
  }

  free(): void {
    if (this.isFreed) return
    this.isFreed = true
    this.slots.free(this)
  }
}

/**
 * The connections of one instance on this node, as far as they are counted. A user with a client id has one place: who
 * connects again while its dead socket is not noticed yet takes its own.
 */
export class ConnectionSlots {
  private readonly quotas: QuotaStore
  private readonly instance: InstanceName
  private readonly held = new Set<ConnectionSlot>()
  private readonly leaving = new Set<ConnectionSlot>()
  private timer: NodeJS.Timeout | undefined = undefined
  private lastClaim = 0

  constructor(quotas: QuotaStore, instance: InstanceName) {
    this.quotas = quotas
    this.instance = instance
  }

  get isEmpty(): boolean {
    return this.held.size === 0 && this.leaving.size === 0
  }

  /** @returns the slot, or what has no room */
  async take(
    guest: Guest,
    limits: readonly SlotLimit[],
  ): Promise<ConnectionSlot | Extract<SlotAnswer, { isTaken: false }>> {
    const slot = this.slotOf(
      guest,
      limits.map(({ kind }) => kind),
    )
    // Held from now on: an answer that is lost may have been a yes.
    this.held.add(slot)
    try {
      const { name, claim } = slot
      const answer = await this.quotas.takeSlots({ instance: this.instance, name, claim, limits })
      if (answer.isTaken) return slot
      this.held.delete(slot)
      return answer
    } catch (error) {
      slot.free()
      throw error
    }
  }

  /** Counts a connection that is there already, whatever the limit. */
  adopt(guest: Guest, kinds: readonly string[]): ConnectionSlot {
    const slot = this.slotOf(guest, kinds)
    this.held.add(slot)
    return slot
  }

  /** Called by the slot. */
  free(slot: ConnectionSlot): void {
    this.held.delete(slot)
    this.leaving.add(slot)
    void this.tell(slot)
  }

  /** Tells again what is held: after a limit came into being, and from time to time, since counts may be lost. */
  async keep(): Promise<void> {
    const byKind = new Map<string, HeldSlot[]>()
    for (const slot of this.held) {
      for (const kind of slot.kinds) {
        const slots = byKind.get(kind)
        if (slots === undefined) byKind.set(kind, [slot])
        else slots.push(slot)
      }
    }
    await Promise.all([...byKind].map(([kind, slots]) => this.quotas.keepSlots(this.instance, kind, slots)))
  }

  private slotOf({ username = '', clientId }: Guest, kinds: readonly string[]): ConnectionSlot {
    const claim = (++this.lastClaim).toString(36)
    return new ConnectionSlot(this, { name: `${username}\0${clientId}`, claim }, kinds)
  }

  private async tell(slot: ConnectionSlot): Promise<void> {
    try {
      await this.quotas.freeSlots(this.instance, slot.kinds, slot)
      this.leaving.delete(slot)
    } catch {
      this.timer ??= setTimeout(() => this.tellAgain(), RETRY_MS).unref()
    }
  }

  private tellAgain(): void {
    this.timer = undefined
    for (const slot of this.leaving) void this.tell(slot)
  }
}
