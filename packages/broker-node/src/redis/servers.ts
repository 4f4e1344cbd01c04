import { Cluster, type Redis } from 'ioredis'
import type { RedisClient } from './connect.ts'
import { slotOfKey } from './slot.ts'

/** How soon a Redis Cluster is asked again who serves what. */
const REFRESH_MS = 1_000

/** The servers behind a client: one, or the masters of a Redis Cluster. */
export interface Servers {
  /** Connections to all of them, also those that are not open. */
  all(): Redis[]
  /** Tells the connection for a key; `undefined` when nobody serves it at the moment. For the calls of one tick. */
  finder(): (key: string) => Redis | undefined
  /** Called now and then: looks whether other servers have taken over. */
  refresh(): void
  /** True when every part of the data has a server with an open connection. */
  areWhole(): boolean
}

/** @returns the servers of a client */
export function serversOf(client: RedisClient): Servers {
  return client instanceof Cluster ? new ClusterServers(client) : new OneServer(client)
}

class OneServer implements Servers {
  private readonly redis: Redis

  constructor(redis: Redis) {
    this.redis = redis
  }

  all(): Redis[] {
    return [this.redis]
  }

  finder(): (key: string) => Redis | undefined {
    return () => this.redis
  }

  refresh(): void {
    // There is only one.
  }

  areWhole(): boolean {
    return this.redis.status === 'ready'
  }
}

/**
 * A command goes to the connection of its slot's server without a detour: a queue of commands in the client would send
 * them late, when nobody waits for them any more.
 */
class ClusterServers implements Servers {
  private readonly cluster: Cluster
  private refreshedAtMs = 0

  constructor(cluster: Cluster) {
    this.cluster = cluster
  }

  /** None before the client is ready: its own first steps fail when somebody else connects its servers. */
  all(): Redis[] {
    return this.cluster.status === 'ready' ? this.cluster.nodes('master') : []
  }

  finder(): (key: string) => Redis | undefined {
    const { slots } = this.cluster
    const byAddress = this.byAddress()
    // The first of a slot's addresses is its master.
    return key => byAddress.get(slots[slotOfKey(key)]?.[0] ?? '')
  }

  refresh(): void {
    const nowMs = performance.now()
    if (this.cluster.status !== 'ready' || nowMs - this.refreshedAtMs < REFRESH_MS) return
    this.refreshedAtMs = nowMs
    this.cluster.refreshSlotsCache()
  }

  areWhole(): boolean {
    if (this.cluster.status !== 'ready') return false
    const byAddress = this.byAddress()
    const owners = new Set(this.cluster.slots.map(addresses => addresses[0]))
    return owners.size > 0 && [...owners].every(owner => byAddress.get(owner ?? '')?.status === 'ready')
  }

  private byAddress(): Map<string, Redis> {
    return new Map(this.cluster.nodes('all').map(node => [`${node.options.host}:${node.options.port}`, node]))
  }
}
