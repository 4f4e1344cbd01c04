export type { Limits } from './config/schema.ts'
export { Counters, DropReason } from './counters.ts'
export { MidgeBroker, type MidgeBrokerOptions } from './engine/aedes/broker.ts'
export type { AedesHookSet } from './engine/aedes/hook-set.ts'
export type {
  ConnectionAcceptor,
  ConnectionInfo,
  Door,
  Logger,
} from './ports.ts'
