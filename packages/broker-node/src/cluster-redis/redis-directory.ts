import type { Directory, DirectoryListener, InstanceName, RouteInterest, Subscription } from '@midge/protocol-core'
import {
  decodeInterest,
  decodeSubscription,
  encodeInterest,
  encodeSubscription,
  routeField,
  splitField,
  storedField,
} from './directory-rows.ts'
import type { Peer } from './node-registry.ts'
import { ReplicatedTable, type TableObserver } from './replicated-table.ts'
import { SettleBarrier } from './settle-barrier.ts'
import { type TableOwnerOptions, watchTables } from './table-peers.ts'
import { LAST_WRITES_MS, TABLE_READ_COUNT } from './timings.ts'

const ROUTES = 'routes'
const STORED = 'stored'
/** Heartbeats that the reaper of a node has to remove its routes before another node does it. */
const ORPHAN_BEATS = 3

/**
 * {@link Directory} over Redis: two replicated tables, and the barrier across them.
 *
 * A node defends its own routes: a row of this node that the table has and should not, or the other way round (a
 * former process of this id, a reaper that was wrong, a Redis that lost data), is put right as soon as it is seen.
 */
export class RedisDirectory implements Directory {
  private readonly options: TableOwnerOptions
  private readonly routes: ReplicatedTable
  private readonly stored: ReplicatedTable
  private readonly barrier: SettleBarrier
  private readonly ownRoutes = new Map<string, string>()
  /** Nodes that the listener has been told are gone, while rows of theirs may still be in the table. */
  private readonly goneNodes = new Set<string>()
  /** Gone nodes with rows left in the table, and the heartbeats since. */
  private readonly orphans = new Map<string, number>()
  private listener: DirectoryListener | undefined
  private poll: NodeJS.Timeout | undefined

  constructor(options: TableOwnerOptions) {
    this.options = options
    const { registry, timings } = options
    this.barrier = new SettleBarrier({
      capMs: timings.barrierMs,
      isAwaited: nodeId => nodeId !== registry.nodeId && !this.goneNodes.has(nodeId) && registry.mayServe(nodeId),
    })
    this.routes = this.createTable(ROUTES, (field, value) => this.onRouteRow(field, value))
    this.stored = this.createTable(STORED, (field, value) => this.onStoredRow(field, value))
    watchTables([this.routes, this.stored], { ...options, barrier: this.barrier })
    registry.observe({
      onPeers: peers => this.sweepOrphans(peers),
      onJoined: nodeId => this.onNodeJoined(nodeId),
      onGone: nodeId => this.onNodeGone(nodeId),
      onDead: nodeId => this.dropRoutesOf(nodeId),
    })
  }

  async start(listener: DirectoryListener): Promise<void> {
    this.listener = listener
    const { bus, registry, timings } = this.options
    // Registered first: whoever writes from now on waits for this node, whoever wrote before is in what it loads.
    await bus.start()
    await registry.start()
    await Promise.all([this.routes.start(), this.stored.start()])
    this.findOrphans()
    this.poll = setInterval(() => this.follow(), timings.pollMs)
    bus.onListening(() => this.follow())
  }

  setRoute(instance: InstanceName, topicFilter: string, interest: RouteInterest): void {
    const field = routeField(this.options.registry.nodeId, instance, topicFilter)
    const value = interest === 0 ? undefined : encodeInterest(interest)
    if (this.ownRoutes.get(field) === value) return
    if (value === undefined) this.ownRoutes.delete(field)
    else this.ownRoutes.set(field, value)
    this.routes.set(field, value)
  }

  addStored(instance: InstanceName, clientId: string, subscription: Subscription): void {
    this.stored.set(storedField(instance, clientId, subscription.topicFilter), encodeSubscription(subscription))
    this.listener?.onStored(instance, clientId, subscription)
  }

  removeStored(instance: InstanceName, clientId: string, topicFilter: string): void {
    this.stored.set(storedField(instance, clientId, topicFilter), undefined)
    this.listener?.onStoredRemoved(instance, clientId, topicFilter)
  }

  settled(): Promise<boolean> {
    return this.barrier.wait([
      [ROUTES, this.routes.lastBatch()],
      [STORED, this.stored.lastBatch()],
    ])
  }

  inSync(): boolean {
    return this.routes.isCurrent() && this.stored.isCurrent()
  }

  async stop(): Promise<void> {
    clearInterval(this.poll)
    for (const field of this.ownRoutes.keys()) this.routes.set(field, undefined)
    this.ownRoutes.clear()
    this.listener = undefined
    await Promise.all([this.routes.stop(LAST_WRITES_MS), this.stored.stop(LAST_WRITES_MS)])
    this.barrier.stop()
  }

  /** Rows in each table, for the metrics. */
  sizes(): { routes: number; stored: number } {
    return { routes: this.routes.size, stored: this.stored.size }
  }

  /** Equal on nodes whose tables are equal and settled; `undefined` for a table with changes on their way. */
  summaries(): { routes: string | undefined; stored: string | undefined } {
    return { routes: this.routes.summary(), stored: this.stored.summary() }
  }

  private follow(): void {
    this.routes.follow()
    this.stored.follow()
  }

  private createTable(name: string, onRow: TableObserver['onRow']): ReplicatedTable {
    const { redis, gate, keys, registry, timings, logger, bus } = this.options
    return new ReplicatedTable({
      name,
      redis,
      gate,
      keys,
      nodeId: registry.nodeId,
      processToken: registry.token,
      staleMs: timings.staleMs,
      readBatches: TABLE_READ_COUNT,
      logger,
      observer: {
        onRow,
        onWritten: (batch, point, nodeIds) => {
          bus.broadcast({ kind: 'changed', table: name })
          for (const nodeId of nodeIds) if (this.goneNodes.has(nodeId)) this.onNodeJoined(nodeId)
          this.barrier.onWritten(name, batch, point, nodeIds)
        },
        onApplied: (point, origins) => {
          const applied = { kind: 'applied', nodeId: registry.nodeId, table: name, ...point } as const
          if (origins === undefined) bus.broadcast(applied)
          else for (const nodeId of origins) bus.sendTo(nodeId, applied)
        },
      },
    })
  }

  private onRouteRow(field: string, value: string | undefined): void {
    const parts = splitField(field)
    if (parts === undefined) return
    const [nodeId, instance, topicFilter] = parts
    if (nodeId === this.options.registry.nodeId) {
      const wanted = this.ownRoutes.get(field)
      if (wanted !== value) this.routes.set(field, wanted)
      return
    }
    if (!this.goneNodes.has(nodeId)) this.listener?.onRoute(nodeId, instance, topicFilter, decodeInterest(value))
    else if (value !== undefined) this.orphans.set(nodeId, 0)
  }

  private onStoredRow(field: string, value: string | undefined): void {
    const parts = splitField(field)
    if (parts === undefined) return
    const [instance, clientId, topicFilter] = parts
    if (value === undefined) {
      this.listener?.onStoredRemoved(instance, clientId, topicFilter)
      return
    }
    const subscription = decodeSubscription(topicFilter, value)
    if (subscription !== undefined) this.listener?.onStored(instance, clientId, subscription)
  }

  private onNodeJoined(nodeId: string): void {
    if (!this.goneNodes.delete(nodeId)) return
    this.orphans.delete(nodeId)
    // Back before its rows were removed: the listener has forgotten what the table still has.
    this.forEachRouteOf(nodeId, field => this.onRouteRow(field, this.routes.get(field)))
  }

  private onNodeGone(nodeId: string): void {
    this.goneNodes.add(nodeId)
    this.orphans.set(nodeId, 0)
    this.barrier.forget(nodeId)
    this.listener?.onNodeGone(nodeId)
  }

  private dropRoutesOf(nodeId: string): void {
    const fields: string[] = []
    this.forEachRouteOf(nodeId, field => fields.push(field))
    for (const field of fields) this.routes.set(field, undefined)
  }

  private forEachRouteOf(nodeId: string, visit: (field: string) => void): void {
    const prefix = `${nodeId}\0`
    for (const [field] of this.routes.entries()) if (field.startsWith(prefix)) visit(field)
  }

  /** Rows of nodes that died before this one came. */
  private findOrphans(): void {
    const owners = new Set<string>()
    for (const [field] of this.routes.entries()) owners.add(field.slice(0, field.indexOf('\0')))
    for (const nodeId of owners) if (!this.options.registry.isKnown(nodeId)) this.onNodeGone(nodeId)
  }

  /** Routes whose reaper died in the middle: the node with the lowest id removes them. */
  private sweepOrphans(peers: Peer[]): void {
    if (!this.routes.isCurrent()) return
    const isLowest = !peers.some(peer => peer.nodeId < this.options.registry.nodeId)
    for (const [nodeId, beats] of this.orphans) {
      this.orphans.set(nodeId, beats + 1)
      if (beats < ORPHAN_BEATS) continue
      this.orphans.delete(nodeId)
      if (isLowest) this.dropRoutesOf(nodeId)
    }
  }
}
