/** Events that wait for one webhook, and their bytes. */
export const BACKLOG_EVENTS_MAX = 10_000
const BACKLOG_BYTES_MAX = 4 * 1024 * 1024
/** One request. */
export const BATCH_EVENTS_MAX = 100
const BATCH_BYTES_MAX = 256 * 1024

/** An event that waits. */
export interface WaitingEvent {
  /** JSON. */
  text: string
  atMs: number
}

/** Bytes that wait for all webhooks of the node together. */
export class BacklogRoom {
  private readonly bytesMax: number
  private bytes = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  /** @returns false when there is no room */
  take(bytes: number): boolean {
    if (this.bytes + bytes > this.bytesMax) return false
    this.bytes += bytes
    return true
  }

  giveBack(bytes: number): void {
    this.bytes -= bytes
  }
}

/** Events that wait for one webhook, oldest first; what finds no room is not taken. */
export class Backlog {
  private readonly room: BacklogRoom
  private events: WaitingEvent[] = []
  private bytes = 0

  constructor(room: BacklogRoom) {
    this.room = room
  }

  get length(): number {
    return this.events.length
  }

  /** Nothing more can be pushed, however small. */
  get isFull(): boolean {
    return this.events.length >= BACKLOG_EVENTS_MAX
  }

  /** @returns false when there is no room */
  push(event: WaitingEvent): boolean {
    const bytes = event.text.length
    if (this.isFull || this.bytes + bytes > BACKLOG_BYTES_MAX) return false
    if (!this.room.take(bytes)) return false
    this.events.push(event)
    this.bytes += bytes
    return true
  }

  /** The oldest events, as many as make one request; they stay until {@link Backlog.remove}. */
  head(): readonly WaitingEvent[] {
    let bytes = 0
    let count = 0
    for (const { text } of this.events) {
      bytes += text.length
      if (count === BATCH_EVENTS_MAX || (count > 0 && bytes > BATCH_BYTES_MAX)) break
      count++
    }
    return this.events.slice(0, count)
  }

  /** How many of the oldest events are older than that. */
  countBefore(atMs: number): number {
    const count = this.events.findIndex(event => event.atMs >= atMs)
    return count < 0 ? this.events.length : count
  }

  /** Removes the oldest events. */
  remove(count: number): void {
    const bytes = this.events.splice(0, count).reduce((sum, { text }) => sum + text.length, 0)
    this.bytes -= bytes
    this.room.giveBack(bytes)
  }
}
