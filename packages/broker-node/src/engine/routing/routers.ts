import { type DirectoryListener, type InstanceName, instanceKey, RouteInterest } from '@midge/protocol-core'
import type { EngineServices } from '../ground/services.ts'
import { Router } from './router.ts'

/** The routers of all instances that have been used on this node, and what the cluster knows of them. */
export class Routers {
  private readonly services: Pick<EngineServices, 'directory'>
  private readonly routers = new Map<InstanceName, Router>()
  /** What other nodes were told, by instance and filter. */
  private readonly announced = new Map<string, RouteInterest>()

  constructor(services: Pick<EngineServices, 'directory'>) {
    this.services = services
  }

  of(instance: InstanceName): Router {
    let router = this.routers.get(instance)
    if (router === undefined) {
      router = new Router()
      this.routers.set(instance, router)
    }
    return router
  }

  entries(): IterableIterator<[InstanceName, Router]> {
    return this.routers.entries()
  }

  /** Tells the cluster what this node wants of a filter, if that has changed. */
  announce(instance: InstanceName, topicFilter: string): void {
    const interest = this.of(instance).interestIn(topicFilter)
    const key = instanceKey(instance, topicFilter)
    if ((this.announced.get(key) ?? RouteInterest.none) === interest) return
    if (interest === RouteInterest.none) this.announced.delete(key)
    else this.announced.set(key, interest)
    this.services.directory.setRoute(instance, topicFilter, interest)
  }

  /** What the directory tells of other nodes and of stored sessions. */
  directoryListener(): DirectoryListener {
    return {
      onRoute: (nodeId, instance, topicFilter, interest) => this.of(instance).setRoute(nodeId, topicFilter, interest),
      onStored: (instance, clientId, subscription) => this.of(instance).addStored(clientId, subscription),
      onStoredRemoved: (instance, clientId, topicFilter) => this.of(instance).removeStored(clientId, topicFilter),
      onNodeGone: nodeId => {
        for (const router of this.routers.values()) router.removeNode(nodeId)
      },
      onStoredReset: () => {
        for (const router of this.routers.values()) router.removeAllStored()
      },
    }
  }
}
