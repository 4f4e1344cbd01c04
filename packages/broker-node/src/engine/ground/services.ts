import type { Directory, NodeLink, Store } from '@midge/protocol-core'
import type { Limits } from '../../config/schema.ts'
import type { Counters } from '../../counters.ts'
import type { Door, Logger } from '../../ports.ts'
import type { Hooks } from './hooks.ts'
import type { Tick } from './tick.ts'

/** What every part of the engine stands on; made once. A part names those that it uses. */
export interface EngineServices {
  readonly nodeId: string
  readonly limits: Limits
  readonly counters: Counters
  readonly logger: Logger
  /** Wall clock. */
  readonly nowMs: () => number
  readonly store: Store
  readonly directory: Directory
  readonly link: NodeLink
  readonly hooks: Hooks
  readonly door: Door
  readonly tick: Tick
}
