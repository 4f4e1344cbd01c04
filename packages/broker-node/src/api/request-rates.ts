import { TokenBucket } from '@midge/protocol-core'
import { RequestProblem } from './problems.ts'

/** Requests of one key, on one node. */
const KEY_RATE = { ratePerSecond: 100, burst: 1000 }
/** Wrong keys and passwords from one address, on one node. */
const FAILURE_RATE = { ratePerSecond: 1, burst: 30 }
/** Keys, or addresses, that are counted at one time; the one that was new longest ago is forgotten first. */
const COUNTED_MAX = 10_000

/** Holds back whoever asks too often, and whoever guesses. */
export class RequestRates {
  private readonly keys: Map<string, TokenBucket> = new Map()
  private readonly failures: Map<string, TokenBucket> = new Map()

  /** @throws RequestProblem `rate_limited` */
  countRequest(keyId: string, nowMs: number): void {
    const bucket = bucketOf(this.keys, keyId, { rate: KEY_RATE, nowMs })
    if (!bucket.tryTake(1, nowMs)) throw tooMany('of this key', bucket.waitMs(1, nowMs))
  }

  /** Asked before a secret is looked at. @throws RequestProblem `rate_limited` */
  checkFailures(address: string, nowMs: number): void {
    const waitMs = this.failures.get(address)?.waitMs(1, nowMs) ?? 0
    if (waitMs > 0) throw tooMany('with wrong credentials from this address', waitMs)
  }

  countFailure(address: string, nowMs: number): void {
    bucketOf(this.failures, address, { rate: FAILURE_RATE, nowMs }).take(1, nowMs)
  }
}

function bucketOf(
  buckets: Map<string, TokenBucket>,
  name: string,
  { rate, nowMs }: { rate: typeof KEY_RATE; nowMs: number },
): TokenBucket {
  const known = buckets.get(name)
  if (known !== undefined) return known
  if (buckets.size >= COUNTED_MAX) for (const oldest of buckets.keys()) if (buckets.delete(oldest)) break
  const bucket = new TokenBucket(rate, nowMs)
  buckets.set(name, bucket)
  return bucket
}

function tooMany(what: string, waitMs: number): RequestProblem {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  const headers = { 'retry-after': String(seconds) }
  return new RequestProblem('rate_limited', `too many requests ${what}: wait ${seconds} s`, { headers })
}
