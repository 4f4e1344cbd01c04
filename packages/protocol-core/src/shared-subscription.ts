class Member<T> {
  readonly value: T
  previous: Member<T>
  next: Member<T>

  constructor(value: T) {
    this.value = value
    this.previous = this
    this.next = this
  }
}

/**
 * The members of a shared subscription, taking turns.
 *
 * Deterministic: members are asked in the order in which they joined, beginning after the one chosen last; a new
 * member waits for the end of the round. Adding and removing cost a constant. Spec: v5 section 4.8.2.
 */
export class MemberRing<T> {
  readonly #members: Map<T, Member<T>>
  /** Whose turn it is. */
  #turn: Member<T> | undefined

  constructor() {
    this.#members = new Map()
    this.#turn = undefined
  }

  get size(): number {
    return this.#members.size
  }

  has(value: T): boolean {
    return this.#members.has(value)
  }

  /** The members in the order in which they joined. */
  values(): IterableIterator<T> {
    return this.#members.keys()
  }

  /** @returns false when it was a member already; its place is then unchanged */
  add(value: T): boolean {
    if (this.#members.has(value)) return false
    const member = new Member(value)
    this.#members.set(value, member)
    const turn = this.#turn
    if (turn === undefined) {
      this.#turn = member
      return true
    }
    member.next = turn
    member.previous = turn.previous
    turn.previous.next = member
    turn.previous = member
    return true
  }

  /** @returns false when it was not a member */
  remove(value: T): boolean {
    const member = this.#members.get(value)
    if (member === undefined) return false
    this.#members.delete(value)
    if (this.#turn === member) this.#turn = member.next === member ? undefined : member.next
    member.previous.next = member.next
    member.next.previous = member.previous
    return true
  }

  /**
   * Chooses the next member that is available and passes the turn on. Members that are not available keep no claim:
   * they are asked again when the turn comes round. `isAvailable` must not change the ring.
   * @returns `undefined` when none is available
   */
  next(isAvailable: (value: T) => boolean): T | undefined {
    let member = this.#turn
    for (let left = this.#members.size; left > 0 && member !== undefined; left--) {
      if (isAvailable(member.value)) {
        this.#turn = member.next
        return member.value
      }
      member = member.next
    }
    return undefined
  }
}
