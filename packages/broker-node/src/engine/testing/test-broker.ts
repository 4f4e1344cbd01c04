import { createServer, type Server } from 'node:net'
import { Duplex } from 'node:stream'
import type { Store } from '@midge/protocol-core'
import { LocalDirectory } from '../../cluster-local/local-directory.ts'
import { LocalQuotas } from '../../cluster-local/local-quotas.ts'
import { NoLink } from '../../cluster-local/no-link.ts'
import type { Limits } from '../../config/schema.ts'
import { Counters } from '../../counters.ts'
import type { ConnectionInfo } from '../../ports.ts'
import { MidgeBroker, type MidgeBrokerOptions } from '../aedes/broker.ts'
import { RawClient } from './raw-client.ts'
import { MemoryLogger, openTestStore, TEST_LIMITS } from './test-services.ts'

export const TEST_INFO: ConnectionInfo = {
  connectionId: 'test',
  transport: 'tcp',
  remoteAddress: '127.0.0.1',
  remotePort: 1,
  localAddress: '127.0.0.1',
  localPort: 1883,
  serverName: undefined,
  host: undefined,
  path: undefined,
  certCommonName: undefined,
}

/** Two ends of one stream in memory; what one writes the other reads, a tick later. */
export function streamPair(): [Duplex, Duplex] {
  const a: PairEnd = new PairEnd()
  const b: PairEnd = new PairEnd()
  a.other = b
  b.other = a
  return [a, b]
}

class PairEnd extends Duplex {
  other: PairEnd | undefined
  private callback: (() => void) | undefined

  override _read(): void {
    const { callback } = this
    this.callback = undefined
    callback?.()
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    const { other } = this
    if (other === undefined || other.destroyed) {
      callback()
      return
    }
    other.callback = callback
    other.push(Buffer.from(chunk))
  }

  override _final(callback: () => void): void {
    this.other?.push(null)
    callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const { other } = this
    this.other = undefined
    if (other !== undefined && !other.destroyed) setImmediate(() => other.destroy())
    callback(error)
  }
}

export interface TestBroker {
  broker: MidgeBroker
  store: Store
  counters: Counters
  logger: MemoryLogger
  port: number
  dial(version?: 3 | 4 | 5): Promise<RawClient>
  stop(): Promise<void>
}

export interface TestBrokerOptions extends Omit<Partial<MidgeBrokerOptions>, 'limits'> {
  limits?: Partial<Limits>
  /** Puts something between the engine and the memory store. */
  wrapStore?: (store: Store) => Store
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** A broker on the memory store behind a real socket. */
export async function startBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const { limits, wrapStore, ...rest } = options
  const allLimits = { ...TEST_LIMITS, ...limits }
  const memory = await openTestStore(allLimits)
  const store = wrapStore === undefined ? memory : wrapStore(memory)
  const directory = new LocalDirectory({ listSubscriptions: () => store.listSubscriptions() })
  const counters = new Counters()
  const logger = new MemoryLogger()
  const link = new NoLink()
  const quotas = new LocalQuotas()
  const own = { nodeId: 'n1', limits: allLimits, counters, logger, store, directory, link, quotas }
  const broker = new MidgeBroker({ ...own, ...rest })
  await broker.start()
  const server = createServer(socket => broker.accept(socket, TEST_INFO))
  const port = await listen(server)
  const clients: RawClient[] = []
  return {
    broker,
    store,
    counters,
    logger,
    port,
    async dial(version: 3 | 4 | 5 = 5): Promise<RawClient> {
      const client = await RawClient.dial(port, version)
      clients.push(client)
      return client
    },
    async stop(): Promise<void> {
      for (const client of clients) client.stream.destroy()
      await broker.core.stop()
      await new Promise(resolve => server.close(resolve))
      await new Promise<void>(resolve => broker.close(() => resolve()))
      await memory.stop()
    },
  }
}

/** A promise with its settlers, to hold a call of the store or a hook open. */
export class Gate<T = void> {
  readonly passed: Promise<T>
  open: (value: T) => void = () => undefined
  fail: (error: Error) => void = () => undefined

  constructor() {
    this.passed = new Promise<T>((resolve, reject) => {
      this.open = resolve
      this.fail = reject
    })
  }
}

/** A store that forwards to another one, with some methods replaced. */
export function overriding(store: Store, replaced: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, name) {
      const own = replaced[name as keyof Store]
      if (own !== undefined) return own
      const value = target[name as keyof Store]
      return typeof value === 'function' ? (value as (...args: never[]) => unknown).bind(target) : value
    },
  })
}

/** Waits until a condition holds, for what announces itself by no event. */
export async function poll(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 5000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within 5 s: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
