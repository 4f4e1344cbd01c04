/** Something that does at the end of a turn what it has collected in it. */
export interface TickMember {
  /** Called at the end of every requested tick; must not throw. */
  endTick(): void
}

/**
 * The end of a turn of the event loop: everything collected in one turn (frames, commits, acknowledgements to the
 * store) leaves together, so that the cost per message is an append.
 */
export class Tick {
  private readonly members: TickMember[] = []
  private isRequested = false

  /** Members are called in the order in which they have joined. */
  join(member: TickMember): void {
    this.members.push(member)
  }

  /** Asks for an end of this turn; once is enough, and often costs nothing. */
  request(): void {
    if (this.isRequested) return
    this.isRequested = true
    setImmediate(this.end)
  }

  private readonly end = (): void => {
    this.isRequested = false
    for (let i = 0; i < this.members.length; i++) this.members[i]?.endTick()
  }
}

/** What a {@link FlushList} holds. */
export interface Flushable {
  flush(): void
}

/** Those that have something to flush at the end of the tick; each adds itself once a tick. */
export class FlushList<T extends Flushable> implements TickMember {
  private readonly tick: Tick
  private items: T[] = []

  constructor(tick: Tick) {
    this.tick = tick
  }

  add(item: T): void {
    this.items.push(item)
    this.tick.request()
  }

  endTick(): void {
    const { items } = this
    if (items.length === 0) return
    this.items = []
    for (let i = 0; i < items.length; i++) items[i]?.flush()
  }
}
