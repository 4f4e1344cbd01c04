import { BrokerError } from '@midge/protocol-core'
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { z } from 'zod'
import type { HttpCaller } from '../outbound/http-caller.ts'

const FETCH_MS_MAX = 3000
const SET_BYTES_MAX = 64 * 1024
/** A set this old is asked for again when it is needed. */
const FRESH_MS_MAX = 600_000
/** A set that cannot be had again is good for so long: its server may be away without locking everybody out. */
const KEPT_MS_MAX = 3_600_000
/** Strangers can invent keys: so often at most is a set asked for because of a key that is not in it. */
const COOL_DOWN_MS = 30_000
/** After a failure. */
const RETRY_MS = 1000

const keySet = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string(), kid: z.string().optional() })).max(64) })

/** What was fetched, and when. */
interface Fetched {
  getKey: JWTVerifyGetKey
  kids: Set<string | undefined>
  atMs: number
}

/** Where a {@link KeySet} comes from. */
export interface KeySetOptions {
  url: string
  caller: Pick<HttpCaller, 'call'>
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
}

/** The public keys (JWKS) at an address: fetched once for all who wait, and kept. */
export class KeySet {
  private readonly options: KeySetOptions
  private fetched: Fetched | undefined = undefined
  private fetching: Promise<void> | undefined = undefined
  private triedAtMs = -Infinity
  private hasFailed = false

  constructor(options: KeySetOptions) {
    this.options = options
  }

  /**
   * @param kid - of the token that is to be verified
   * @throws BrokerError as `HttpCaller.call` does, when there is no set to be had
   */
  async keysFor(kid: string | undefined): Promise<JWTVerifyGetKey> {
    if (this.isAsked(kid)) {
      this.fetching ??= this.fetch().finally(() => {
        this.fetching = undefined
      })
      await this.fetching
    }
    const { fetched } = this
    if (fetched === undefined || this.options.now() - fetched.atMs > KEPT_MS_MAX) {
      throw new BrokerError('MIDGE_OUTBOUND_FAILED', 'the keys of the tokens cannot be had', { retryable: true })
    }
    return fetched.getKey
  }

  private isAsked(kid: string | undefined): boolean {
    const { fetched } = this
    const nowMs = this.options.now()
    const isKnown = fetched !== undefined && (kid === undefined || fetched.kids.has(kid))
    if (isKnown && nowMs - fetched.atMs < FRESH_MS_MAX) return false
    // Those that come while it is fetched wait for it as well.
    return this.fetching !== undefined || nowMs - this.triedAtMs >= (this.hasFailed ? RETRY_MS : COOL_DOWN_MS)
  }

  private async fetch(): Promise<void> {
    const { url, caller, now } = this.options
    this.triedAtMs = now()
    this.hasFailed = true
    const call = { url, method: 'GET', timeoutMs: FETCH_MS_MAX, answerBytesMax: SET_BYTES_MAX } as const
    try {
      const { status, body } = await caller.call({ ...call, headers: { accept: 'application/json' } })
      const set = status === 200 ? keySet.safeParse(JSON.parse(body.toString())) : undefined
      if (set?.success !== true) return
      // The library says what is wrong with a key when it is to be used.
      const kids = new Set(set.data.keys.map(({ kid }) => kid))
      this.fetched = { getKey: createLocalJWKSet(set.data as JSONWebKeySet), kids, atMs: now() }
      this.hasFailed = false
    } catch {
      // What was fetched before stays; without it keysFor says so.
    }
  }
}
