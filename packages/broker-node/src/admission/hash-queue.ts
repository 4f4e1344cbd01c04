import type { Counters } from '../counters.ts'

/** How much is known for the one who waits; a lower one goes first. */
export const Standing = {
  /** Has logged in from there before. */
  known: 0,
  fresh: 1,
  /** Logins from there have failed lately. */
  doubtful: 2,
} as const
export type Standing = (typeof Standing)[keyof typeof Standing]

/** Who wants a password hashed. */
export interface HashClaim {
  /** Takes turns with the other networks, see `networkOf`. */
  network: string
  /** What is kept in memory for it while it waits. */
  bytes: number
  /** Asked again when its turn comes: what has failed meanwhile counts for what still waits. */
  standing(): Standing
  /** False when nobody waits for the answer any more; asked again before the work begins. */
  isWanted(): boolean
}

/** Bounds of a {@link HashQueue}. */
export interface HashQueueOptions {
  /** Hashes computed at the same time; each takes 19 MiB and a thread of the pool. */
  runningMax: number
  waitingMax: number
  /** A job that has not begun by then is given up, so that its client can be told in time. */
  waitMsMax: number
  counters: Counters
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
}

interface Waiter {
  claim: HashClaim
  expiresAtMs: number
  start(): Promise<void>
  giveUp(): void
}

/** What waits in one standing. */
class Lanes {
  /** Waiting jobs by network, in the order in which the networks have their turns. */
  readonly byNetwork: Map<string, Waiter[]> = new Map()
  /** Networks that have not had a turn since they came; some may have left again. */
  private newcomers: string[] = []

  add(waiter: Waiter): void {
    const { network } = waiter.claim
    const lane = this.byNetwork.get(network)
    if (lane !== undefined) {
      lane.push(waiter)
      return
    }
    this.byNetwork.set(network, [waiter])
    this.newcomers.push(network)
  }

  /** The newest newcomer: who has just come must not pay for a queue that is all others' doing. */
  nextNetwork(): string | undefined {
    let newest = this.newcomers.pop()
    while (newest !== undefined && !this.byNetwork.has(newest)) newest = this.newcomers.pop()
    return newest ?? this.byNetwork.keys().next().value
  }

  /** Behind all others: the next turn comes when they had theirs. */
  endTurn(network: string, lane: Waiter[]): void {
    this.byNetwork.delete(network)
    if (lane.length > 0) this.byNetwork.set(network, lane)
  }

  /** Takes out whom `isOver` says. @returns them */
  sweep(isOver: (waiter: Waiter) => boolean): Waiter[] {
    const over: Waiter[] = []
    for (const [network, lane] of this.byNetwork) {
      const left: Waiter[] = []
      for (const waiter of lane) (isOver(waiter) ? over : left).push(waiter)
      if (left.length === lane.length) continue
      if (left.length === 0) this.byNetwork.delete(network)
      else this.byNetwork.set(network, left)
    }
    this.newcomers = this.newcomers.filter(network => this.byNetwork.has(network))
    return over
  }

  /** Lets go of the newest job of the longest lane that is longer than `lengthMin`. */
  shorten(lengthMin: number): Waiter | undefined {
    let longest: Waiter[] | undefined
    for (const lane of this.byNetwork.values()) {
      if (lane.length > (longest?.length ?? lengthMin)) longest = lane
    }
    const last = longest?.pop()
    if (longest?.length === 0 && last !== undefined) this.byNetwork.delete(last.claim.network)
    return last
  }
}

const BEST_FIRST: readonly Standing[] = [Standing.known, Standing.fresh, Standing.doubtful]
const WORST_FIRST: readonly Standing[] = [Standing.doubtful, Standing.fresh, Standing.known]
/** Every so many jobs the worst standing goes first: who shares a network with an attacker still gets in. */
const TURNS = 4
const SWEEP_MS = 250
/** A full room is not looked through for every newcomer. */
const SWEEP_MS_MIN = 100
/** Claims above this size (a CONNECT may carry a will) are large, and may hold so much together while they wait. */
const LARGE_BYTES_MIN = 16 * 1024
const LARGE_BYTES_MAX = 64 * 1024 * 1024

/**
 * Waiting room in front of the thread pool: few jobs run, a bounded number waits, nobody waits for long.
 *
 * The better standing goes first; within one, networks take turns, the newest first, so that one network with a thousand
 * jobs delays another by one of them. When the room is full, the longest lane of the worst standing gives up its newest job.
 * Large claims have a bound of their own, in bytes.
 */
export class HashQueue {
  private readonly options: HashQueueOptions
  private readonly lanes: readonly [Lanes, Lanes, Lanes] = [new Lanes(), new Lanes(), new Lanes()]
  private running = 0
  private waiting = 0
  private turn = 0
  private sweptAtMs = 0
  private largeBytes = 0
  private sweeper: NodeJS.Timeout | undefined = undefined

  constructor(options: HashQueueOptions) {
    this.options = options
  }

  /** @returns what `job` returns; `undefined` when it was not run: no room, no turn in time, or not wanted any more */
  run<T>(claim: HashClaim, job: () => Promise<T>): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      const waiter: Waiter = {
        claim,
        expiresAtMs: this.options.now() + this.options.waitMsMax,
        start: () => job().then(resolve, reject),
        giveUp: () => resolve(undefined),
      }
      if (this.running < this.options.runningMax) this.start(waiter)
      else if (this.largeBytes + largeBytesOf(claim) > LARGE_BYTES_MAX) resolve(undefined)
      else if (this.waiting < this.options.waitingMax || this.makeRoom(claim)) this.enqueue(waiter)
      else resolve(undefined)
    })
  }

  private start(waiter: Waiter): void {
    this.running++
    void waiter.start().then(() => {
      this.running--
      const next = this.takeNext()
      if (next !== undefined) this.start(next)
    })
  }

  private enqueue(waiter: Waiter): void {
    this.lanes[waiter.claim.standing()].add(waiter)
    this.count(waiter, 1)
    this.sweeper ??= setInterval(() => this.sweep(), SWEEP_MS).unref()
  }

  private takeNext(): Waiter | undefined {
    this.turn = (this.turn + 1) % TURNS
    for (const standing of this.turn === 0 ? WORST_FIRST : BEST_FIRST) {
      const next = this.takeFrom(standing)
      if (next !== undefined) return next
    }
    return undefined
  }

  private takeFrom(standing: Standing): Waiter | undefined {
    const nowMs = this.options.now()
    const lanes = this.lanes[standing]
    for (let network = lanes.nextNetwork(); network !== undefined; network = lanes.nextNetwork()) {
      const lane = lanes.byNetwork.get(network) ?? []
      let next: Waiter | undefined
      while (next === undefined && lane.length > 0) {
        const waiter = lane.shift()
        if (waiter === undefined) break
        this.count(waiter, -1)
        if (isOver(waiter, nowMs)) waiter.giveUp()
        else if (waiter.claim.standing() > standing) this.enqueue(waiter)
        else next = waiter
      }
      lanes.endTurn(network, lane)
      if (next !== undefined) return next
    }
    return undefined
  }

  /** @returns false when everybody who waits has as good a claim to the place */
  private makeRoom(claim: HashClaim): boolean {
    if (this.options.now() - this.sweptAtMs >= SWEEP_MS_MIN) this.sweep()
    if (this.waiting < this.options.waitingMax) return true
    const ownStanding = claim.standing()
    for (const standing of WORST_FIRST) {
      if (standing < ownStanding) return false
      const lanes = this.lanes[standing]
      const own = lanes.byNetwork.get(claim.network)?.length ?? 0
      const last = lanes.shorten(standing === ownStanding ? own + 1 : 0)
      if (last === undefined) continue
      last.giveUp()
      this.count(last, -1)
      return true
    }
    return false
  }

  /** Gives up what nobody waits for and what has waited too long. */
  private sweep(): void {
    const nowMs = this.options.now()
    this.sweptAtMs = nowMs
    for (const lanes of this.lanes) {
      for (const waiter of lanes.sweep(one => isOver(one, nowMs))) {
        waiter.giveUp()
        this.count(waiter, -1)
      }
    }
    if (this.waiting > 0) return
    clearInterval(this.sweeper)
    this.sweeper = undefined
  }

  private count(waiter: Waiter, change: 1 | -1): void {
    this.waiting += change
    this.largeBytes += change * largeBytesOf(waiter.claim)
    this.options.counters.hashesWaitingCurrent += change
  }
}

/** Large ones share no hash with others: each keeps its own bytes. */
export function isLarge(bytes: number): boolean {
  return bytes >= LARGE_BYTES_MIN
}

function largeBytesOf({ bytes }: HashClaim): number {
  return isLarge(bytes) ? bytes : 0
}

function isOver(waiter: Waiter, nowMs: number): boolean {
  return waiter.expiresAtMs <= nowMs || !waiter.claim.isWanted()
}
