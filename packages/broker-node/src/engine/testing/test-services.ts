import { EMPTY_BYTES, encodeUtf8, Message, type Store, type Subscription } from '@midge/protocol-core'
import { LocalDirectory } from '../../cluster-local/local-directory.ts'
import { NoLink } from '../../cluster-local/no-link.ts'
import type { Limits } from '../../config/schema.ts'
import { Counters } from '../../counters.ts'
import type { Logger } from '../../ports.ts'
import { openLocalStore } from '../../store-local/index.ts'
import { OpenDoor } from '../aedes/open-door.ts'
import type { EngineServices } from '../ground/services.ts'
import { Tick } from '../ground/tick.ts'
import { SilentHooks } from './silent-hooks.ts'

export const TEST_LIMITS: Limits = {
  maxPacketBytes: 1024 * 1024,
  receiveMax: 100,
  inflightInboundMax: 1000,
  offlineQueueMessages: 1000,
  offlineQueueBytes: 8 * 1024 * 1024,
  onlineQueueMessages: 1000,
  onlineQueueBytes: 8 * 1024 * 1024,
  sessionExpirySecondsMax: 604_800,
  keepAliveSecondsMax: 0,
  topicLevelsMax: 32,
  topicAliasMax: 16,
  connectTimeoutMs: 10_000,
  outputBufferBytesMax: 16 * 1024 * 1024,
  drainTimeoutMs: 60_000,
  subscriptionsPerSessionMax: 10_000,
  connectionsMax: 10_000,
}

/** One line that the broker logged. */
export interface LogLine {
  level: string
  event: string
  fields: Record<string, unknown>
}

export class MemoryLogger implements Logger {
  readonly lines: LogLine[] = []
  trace(): void {}
  debug(): void {}
  info(fields: object): void {
    this.add('info', fields)
  }
  warn(fields: object): void {
    this.add('warn', fields)
  }
  error(fields: object): void {
    this.add('error', fields)
  }
  isLevelEnabled(): boolean {
    return true
  }
  child(): Logger {
    return this
  }
  private add(level: string, fields: object): void {
    const known = { ...fields } as Record<string, unknown>
    this.lines.push({ level, event: String(known['event']), fields: known })
  }
}

/** A store in memory with the limits that the engine has. */
export function openTestStore(limits: Limits): Promise<Store> {
  return openLocalStore({ dataDir: '', durability: 'memory', limits })
}

/** What a part of the engine stands on when it is tested without a broker: everything real, on a store in memory. */
export interface TestServices extends EngineServices {
  readonly logger: MemoryLogger
  readonly hooks: SilentHooks
}

export async function testServices(replaced: Partial<TestServices> = {}): Promise<TestServices> {
  const store = replaced.store ?? (await openTestStore(TEST_LIMITS))
  return {
    nodeId: 'n1',
    limits: TEST_LIMITS,
    counters: new Counters(),
    logger: new MemoryLogger(),
    nowMs: Date.now,
    store,
    directory: new LocalDirectory({ listSubscriptions: () => store.listSubscriptions() }),
    link: new NoLink(),
    hooks: new SilentHooks(),
    door: new OpenDoor(new Counters()),
    tick: new Tick(),
    ...replaced,
  }
}

export function subscription(topicFilter: string, options: Partial<Subscription> = {}): Subscription {
  return {
    topicFilter,
    qos: 0,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionId: 0,
    ...options,
  }
}

export function testMessage(topicName: string, payload: string, fields: Partial<Message> = {}): Message {
  return new Message({
    topicName,
    topicBytes: encodeUtf8(topicName),
    payload: encodeUtf8(payload),
    qos: 1,
    retain: false,
    properties: EMPTY_BYTES,
    expiresAtMs: 0,
    publisherId: 'publisher',
    ...fields,
  })
}
