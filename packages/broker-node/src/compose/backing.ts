import type { Directory, NodeLink, QuotaStore, RecordStore, SecretStore, Store } from '@midge/protocol-core'
import type { Config } from '../config/schema.ts'

/** The part of the configuration that chooses and shapes a {@link Backing}. */
export type BackingConfig = Pick<Config, 'nodeId' | 'dataDir' | 'durability' | 'redis' | 'limits' | 'suback'>

/** Where a node keeps its state and how it reaches its peers; chosen by `redis.url`. */
export interface Backing {
  kind: 'memory' | 'embedded' | 'redis'
  store: Store
  directory: Directory
  link: NodeLink
  /** What operators and tenants have set up; whoever starts it waits for Redis as long as it takes. */
  records: RecordStore
  quotas: QuotaStore
  /** The keys of `store`; waits as `ready` does. */
  secrets: SecretStore
  /**
   * Resolves when the store can be used for the first time, and waits for one that is absent or slow.
   *
   * @throws BrokerError `MIDGE_CONFIG_INVALID` for a store that can never do
   */
  ready(): Promise<void>
  /** Why neither store nor peers can be reached at the moment; `undefined` when they may. */
  outage(): string | undefined
  /**
   * Repeats a step of the start until the store has taken it; the step has to be safe to repeat.
   *
   * @param what - the step in words, for the log
   */
  patiently<T>(what: string, step: () => Promise<T>): Promise<T>
  /**
   * Ends connections that were open when a process of this node id died; called before the listeners open. Waits as
   * `ready` does.
   */
  recover(): Promise<void>
  /** Also ends the waits of `ready` and `recover`, which then reject. */
  stop(): Promise<void>
}
