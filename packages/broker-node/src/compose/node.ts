import type { Config } from '../config/schema.ts'
import type { MidgeBroker } from '../engine/aedes/broker.ts'
import type { HttpServer } from '../http/server.ts'
import type { Bootstrap } from '../lifecycle/bootstrap.ts'
import type { Readiness } from '../lifecycle/readiness.ts'
import type { Details, RunningNode } from '../lifecycle/running-node.ts'
import type { InstancePorts } from '../listeners/instance-ports.ts'
import type { RunningListener } from '../listeners/options.ts'
import type { EventLoopLag } from '../observe/event-loop-lag.ts'
import type { SecretsInForce } from '../tenancy/first-instance.ts'
import type { Tenancy } from '../tenancy/tenancy.ts'
import type { Backing } from './backing.ts'
import { detailsOf } from './node-details.ts'
import type { TenancyParts } from './node-tenancy.ts'

/** What a node is made of. */
export interface NodeParts {
  config: Config
  backing: Backing
  broker: MidgeBroker
  tenancy: TenancyParts
  readiness: Readiness
  /** Grows while the node starts. */
  listeners: RunningListener[]
  /** Opened last. */
  instancePorts: InstancePorts | undefined
  /** Also while it is not open yet. */
  http: HttpServer | undefined
  bootstrap: Bootstrap
  /** Known when the node has started. */
  inForce: SecretsInForce
  lag: EventLoopLag
  /** Known when the node has started. */
  stopWebhooks: (() => void) | undefined
}

/** The parts of a node as one thing that can be drained and stopped, in the order that loses nothing. */
export class ComposedNode implements RunningNode {
  readonly done: Promise<number> = new Promise<number>(() => undefined)
  private readonly parts: NodeParts
  private draining: Promise<void> | undefined = undefined
  private stopping: Promise<void> | undefined = undefined

  constructor(parts: NodeParts) {
    this.parts = parts
  }

  /** What operators and tenants have set up. */
  get tenancy(): Tenancy {
    return this.parts.tenancy.plane
  }

  details(): Details {
    return detailsOf({ ...this.parts, httpPort: this.parts.http?.port })
  }

  /** Once, however often and by whomever it is asked for. */
  drain(): Promise<void> {
    this.draining ??= this.drainAll()
    return this.draining
  }

  private async drainAll(): Promise<void> {
    const { readiness, listeners, instancePorts, broker } = this.parts
    readiness.drain()
    await Promise.all([...listeners, instancePorts].map(listener => listener?.stopAccepting()))
    await broker.core.drain()
  }

  stop(): Promise<void> {
    this.stopping ??= this.stopAll()
    return this.stopping
  }

  private async stopAll(): Promise<void> {
    const { readiness, listeners, instancePorts, broker, backing, http, lag } = this.parts
    readiness.stop()
    lag.stop()
    await Promise.all([...listeners.map(listener => listener.close()), instancePorts?.stop()])
    await broker.stop()
    this.parts.stopWebhooks?.()
    await backing.stop()
    await http?.stop()
  }
}
