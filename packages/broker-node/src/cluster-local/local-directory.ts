import type {
  Directory,
  DirectoryListener,
  InstanceName,
  RouteInterest,
  StoredSubscription,
  Subscription,
} from '@midge/protocol-core'

/** What {@link LocalDirectory} is made of. */
export interface LocalDirectoryOptions {
  /** All subscriptions of stored sessions, in pages: `Store.listSubscriptions`. */
  listSubscriptions: () => AsyncIterable<StoredSubscription[]>
}

/**
 * The directory of a node that runs alone.
 *
 * There is nobody to tell routes to, and stored subscriptions live in the store: this class only turns changes into
 * calls of the listener, at once, as the cluster's directory does for changes of its own node.
 */
export class LocalDirectory implements Directory {
  private readonly listSubscriptions: () => AsyncIterable<StoredSubscription[]>
  private listener: DirectoryListener | undefined
  private ready = false

  constructor(options: LocalDirectoryOptions) {
    this.listSubscriptions = options.listSubscriptions
  }

  async start(listener: DirectoryListener): Promise<void> {
    this.listener = listener
    for await (const page of this.listSubscriptions()) {
      for (const stored of page) listener.onStored(stored.instance, stored.clientId, stored.subscription)
    }
    this.ready = true
  }

  setRoute(_instance: InstanceName, _topicFilter: string, _interest: RouteInterest): void {
    // A route is news for other nodes only.
  }

  addStored(instance: InstanceName, clientId: string, subscription: Subscription): void {
    this.listener?.onStored(instance, clientId, subscription)
  }

  removeStored(instance: InstanceName, clientId: string, topicFilter: string): void {
    this.listener?.onStoredRemoved(instance, clientId, topicFilter)
  }

  settled(): Promise<boolean> {
    return Promise.resolve(true)
  }

  inSync(): boolean {
    return this.ready
  }

  stop(): Promise<void> {
    this.ready = false
    this.listener = undefined
    return Promise.resolve()
  }
}
