import { createHash } from 'node:crypto'
import type { Claim } from '../ports.ts'
import { Standing } from './hash-queue.ts'
import { networkOf } from './network.ts'

/** Somebody who wants to be a user, from somewhere. */
export interface Attempt {
  username: string
  /** As `networkOf` says. */
  network: string
  /** Stands for instance, user and network together. */
  key: string
}

/** @param username - who the claim is about; a SCRAM exchange names it only in its first message */
export function attemptOf(claim: Claim, username: string): Attempt {
  const network = networkOf(claim.info.remoteAddress)
  // Names are long if a client wants them to be; ten thousand keys must not be.
  const text = `${claim.instance.length}:${network.length}:${claim.instance}${network}${username}`
  return { username, network, key: createHash('sha256').update(text).digest('base64') }
}

/** Bounds of a {@link LoginHistory}. */
export interface LoginHistoryOptions {
  /** Failures in a row that cost nothing: a person tries a few passwords. */
  failuresMax: number
  /** Longest time in which a user is not tried again from the same network. */
  backOffMsMax: number
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
}

interface Memory {
  failures: number
  lastMs: number
  blockedUntilMs: number
  hasSucceeded: boolean
}

/** Users and networks remembered, each; the least recently used are forgotten. */
const ENTRIES_MAX = 10_000
const BACK_OFF_MS_MIN = 1000
/** A failure this old counts no more. */
const FAILURE_LIFETIME_MS = 600_000

/**
 * What is known of earlier logins, by user and network: who has been let in before, and who has to wait before the
 * next try. Unknown users are remembered like known ones.
 */
export class LoginHistory {
  private readonly options: LoginHistoryOptions
  private readonly pairs: Map<string, Memory> = new Map()
  private readonly networks: Map<string, Memory> = new Map()

  constructor(options: LoginHistoryOptions) {
    this.options = options
  }

  standing(attempt: Attempt): Standing {
    const pair = this.pairs.get(attempt.key)
    if (pair?.hasSucceeded === true && pair.failures === 0) return Standing.known
    const network = this.networks.get(attempt.network)
    return network !== undefined && this.isFresh(network) ? Standing.doubtful : Standing.fresh
  }

  /** @returns milliseconds until this user may be tried from there again; 0 for now */
  waitMs(attempt: Attempt): number {
    const pair = this.pairs.get(attempt.key)
    return pair === undefined ? 0 : Math.max(0, pair.blockedUntilMs - this.options.now())
  }

  succeeded(attempt: Attempt): void {
    const nowMs = this.options.now()
    const memory = this.recall(this.pairs, attempt.key, nowMs)
    memory.failures = 0
    memory.blockedUntilMs = 0
    memory.hasSucceeded = true
  }

  failed(attempt: Attempt): void {
    const nowMs = this.options.now()
    const { failuresMax, backOffMsMax } = this.options
    this.recall(this.networks, attempt.network, nowMs).failures++
    const memory = this.recall(this.pairs, attempt.key, nowMs)
    memory.failures++
    const beyond = memory.failures - failuresMax
    if (beyond <= 0) return
    memory.blockedUntilMs = nowMs + Math.min(backOffMsMax, BACK_OFF_MS_MIN * 2 ** Math.min(beyond - 1, 30))
  }

  private recall(memories: Map<string, Memory>, key: string, nowMs: number): Memory {
    const known = memories.get(key)
    const memory = known ?? { failures: 0, lastMs: nowMs, blockedUntilMs: 0, hasSucceeded: false }
    if (!this.isFresh(memory)) memory.failures = 0
    memory.lastMs = nowMs
    memories.delete(key)
    if (memories.size >= ENTRIES_MAX) {
      const oldest = memories.keys().next()
      if (oldest.done !== true) memories.delete(oldest.value)
    }
    memories.set(key, memory)
    return memory
  }

  private isFresh(memory: Memory): boolean {
    return this.options.now() - memory.lastMs < FAILURE_LIFETIME_MS
  }
}
