import type {
  HeldSlot,
  InstanceName,
  QuotaStore,
  SlotAnswer,
  SlotLimit,
  SlotRequest,
  TokenLease,
  TokenWish,
} from '@midge/protocol-core'
import type { CommandLink } from '../redis/command-link.ts'
import type { ClusterKeys } from './cluster-keys.ts'
import type { ClusterScript } from './cluster-scripts.ts'

/** Slots of one call: bounds how long it keeps Redis from everybody else. */
const KEEP_SLOTS_MAX = 1_000
/** Who is alive is asked at most this often, by each node for each instance. */
const LOOK_EVERY_MS = 1_000

/** What {@link RedisQuotas} works with. */
export interface RedisQuotasParts {
  redis: CommandLink<ClusterScript>
  keys: ClusterKeys
  /** This process among all that ever had the node id. */
  token: string
  /** A node that is silent for this long has let go of its clients. */
  leaseMs: number
}

/** What this node has last looked at for one instance. */
interface Look {
  atMs: number
  /** Settles with it. */
  seen: Promise<void>
  /** The processes that were alive. */
  alive: readonly string[]
  /** Kinds whose slots hold no others. */
  clean: Set<string>
  running: Map<string, Promise<void>>
}

/** The quotas of a cluster: slots and buckets of an instance lie in one slot of Redis, so that each step is atomic. */
export class RedisQuotas implements QuotaStore {
  private readonly parts: RedisQuotasParts
  private readonly looks = new Map<InstanceName, Look>()
  /** Grows whenever slots have become free here. */
  private dropCount = 0

  constructor(parts: RedisQuotasParts) {
    this.parts = parts
  }

  async takeSlots(request: SlotRequest): Promise<SlotAnswer> {
    const { instance } = request
    for (;;) {
      const { dropCount } = this
      const answer = await this.tryTake(request)
      // A limit of 0 is met although nobody holds a slot.
      if (answer.isTaken || answer.used === 0) return answer
      await this.dropDead(instance, answer.full.kind)
      if (this.dropCount === dropCount) return answer
    }
  }

  async freeSlots(instance: InstanceName, kinds: readonly string[], { name, claim }: HeldSlot): Promise<void> {
    const { redis } = this.parts
    await redis.one({ script: 'free-slots-n', keys: this.slotKeys(instance, kinds), args: [name, this.holding(claim)] })
  }

  async keepSlots(instance: InstanceName, kind: string, held: readonly HeldSlot[]): Promise<void> {
    const { redis } = this.parts
    const keys = this.slotKeys(instance, [kind])
    for (let at = 0; at < held.length; at += KEEP_SLOTS_MAX) {
      const some = held.slice(at, at + KEEP_SLOTS_MAX)
      const args = some.flatMap(({ name, claim }) => [name, this.holding(claim)])
      await redis.one({ script: 'keep-slots-1', keys, args: [some.length, ...args] })
    }
  }

  async usedSlots(instance: InstanceName, kind: string): Promise<number> {
    const [key = ''] = this.slotKeys(instance, [kind])
    return Number(await this.parts.redis.one({ command: 'hlen', args: [key] }))
  }

  async leaseTokens(instance: InstanceName, wishes: readonly TokenWish[]): Promise<TokenLease[]> {
    if (wishes.length === 0) return []
    const { redis, keys } = this.parts
    const reply = await redis.one({
      script: 'lease-tokens-n',
      keys: wishes.map(({ bucket }) => keys.bucket(instance, bucket)),
      args: wishes.flatMap(({ ratePerSecond, burst, want }) => [ratePerSecond, burst, want]),
    })
    const numbers = asArray(reply).map(Number)
    return wishes.map((_, i) => {
      const [granted = 0, waitMs = 0, left = 0] = numbers.slice(3 * i, 3 * i + 3)
      return { granted, waitMs, left }
    })
  }

  private async tryTake({ instance, name, claim, limits }: SlotRequest): Promise<SlotAnswer> {
    const kinds = limits.map(({ kind }) => kind)
    const reply = await this.parts.redis.one({
      script: 'take-slots-n',
      keys: this.slotKeys(instance, kinds),
      args: [name, this.holding(claim), ...limits.map(({ max }) => max)],
    })
    const [position = 0, used = 0] = asArray(reply).map(Number)
    const full: SlotLimit | undefined = limits[position - 1]
    return full === undefined ? { isTaken: true } : { isTaken: false, full, used }
  }

  private async dropDead(instance: InstanceName, kind: string): Promise<void> {
    const look = await this.lookAt(instance)
    if (look.alive.length === 0 || look.clean.has(kind)) return
    let running = look.running.get(kind)
    if (running === undefined) {
      running = this.drop(instance, kind, look).finally(() => look.running.delete(kind))
      look.running.set(kind, running)
    }
    await running
  }

  private async drop(instance: InstanceName, kind: string, look: Look): Promise<void> {
    const { redis } = this.parts
    const keys = this.slotKeys(instance, [kind])
    const dropped = Number(await redis.one({ script: 'drop-slots-1', keys, args: [...look.alive] }))
    // Nobody takes a slot for a process that is dead already: there is nothing more to find until another one dies.
    look.clean.add(kind)
    if (dropped > 0) this.dropCount++
  }

  private async lookAt(instance: InstanceName): Promise<Look> {
    const nowMs = performance.now()
    let look = this.looks.get(instance)
    if (look === undefined) {
      const seen = Promise.resolve()
      look = { atMs: Number.NEGATIVE_INFINITY, seen, alive: [], clean: new Set(), running: new Map() }
      this.looks.set(instance, look)
    }
    if (nowMs - look.atMs >= LOOK_EVERY_MS) {
      look.atMs = nowMs
      look.seen = this.see(look)
    }
    await look.seen
    return look
  }

  private async see(look: Look): Promise<void> {
    const alive = await this.aliveTokens()
    if (alive.join() !== look.alive.join()) look.clean.clear()
    look.alive = alive
  }

  private async aliveTokens(): Promise<string[]> {
    const { redis, keys, token, leaseMs } = this.parts
    const args = [leaseMs]
    const reply = await redis.one({ script: 'alive-nodes-2', keys: [keys.nodes(), keys.nodeOwners()], args })
    return [...new Set([token, ...asArray(reply).map(String)])].sort()
  }

  private holding(claim: string): string {
    return `${this.parts.token}#${claim}`
  }

  private slotKeys(instance: InstanceName, kinds: readonly string[]): string[] {
    return kinds.map(kind => this.parts.keys.slots(instance, kind))
  }
}

function asArray(reply: unknown): unknown[] {
  return Array.isArray(reply) ? reply : []
}
