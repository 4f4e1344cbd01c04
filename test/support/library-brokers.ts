import { createServer, type Socket } from 'node:net'
import { after, type TestContext } from 'node:test'
import { createBroker } from '@midge/broker-node'
import { Aedes, type AedesOptions, type AedesPublishPacket, type Client, type PublishPacket } from 'aedes'
import { type ClientOptions, connectClient, type TestClient } from './clients.ts'
import { type RedisServer, startRedisServer } from './redis-server.ts'
import { until } from './until.ts'

type Deliver = (packet: AedesPublishPacket, done: () => void) => void
type Done = (error?: Error | null) => void

/** What programs use of a broker beyond what Aedes' own types tell. */
export interface LibraryBroker extends Aedes {
  readonly clients: Readonly<Record<string, Client>>
  readonly mq: {
    on(topic: string, deliver: Deliver, done?: () => void): unknown
    emit(packet: { topic: string; payload?: string | Buffer; qos?: number }, done?: Done): unknown
    removeListener(topic: string, deliver: Deliver, done?: () => void): unknown
  }
}

/** A client with the members that Aedes has and its types leave out. */
export interface LibraryClient extends Client {
  readonly broker: Aedes
  readonly subscriptions: Readonly<Record<string, { qos: number }>>
}

/** Hooks and options that both brokers take. */
export type LibraryOptions = Pick<
  AedesOptions,
  | 'id'
  | 'connectTimeout'
  | 'preConnect'
  | 'authenticate'
  | 'authorizePublish'
  | 'authorizeSubscribe'
  | 'authorizeForward'
  | 'published'
>

/** One way to make a broker. */
export interface BrokerKind {
  readonly name: string
  open(options: LibraryOptions): Promise<LibraryBroker>
}

// Aedes' types leave `mq` and `clients` out.
const stock: BrokerKind = { name: 'Aedes', open: async options => (await Aedes.createBroker(options)) as LibraryBroker }

const inMemory: BrokerKind = { name: 'Midge', open: options => createBroker({ memory: true, ...options }) }

let redis: Promise<RedisServer> | undefined
let brokersOnRedis = 0
after(async () => (await redis)?.stop())

/** A broker on a Redis of this test process; those with the same prefix are one cluster. */
export async function openOnRedis(keyPrefix: string, options: LibraryOptions = {}): Promise<LibraryBroker> {
  redis ??= startRedisServer()
  return createBroker({ redisUrl: (await redis).url, keyPrefix, ...options })
}

const onRedis: BrokerKind = {
  name: 'Midge on Redis',
  open: options => openOnRedis(`library-${++brokersOnRedis}`, options),
}

/** Stock Aedes says what is expected; whatever holds for it has to hold for Midge. */
export const BROKER_KINDS: readonly BrokerKind[] = [stock, inMemory, onRedis]

/** A broker behind a TCP port of its own. */
export class ListeningBroker {
  readonly broker: LibraryBroker
  readonly port: number
  readonly sockets: Set<Socket>

  constructor(broker: LibraryBroker, port: number, sockets: Set<Socket>) {
    this.broker = broker
    this.port = port
    this.sockets = sockets
  }

  /** Connects MQTT.js and waits until the broker is ready for it, which Aedes is some time after CONNACK. */
  async connect(clientId: string, options: Partial<ClientOptions> = {}): Promise<TestClient> {
    const isReady = (): boolean => Object.values(this.broker.clients).every(client => client.connected || client.closed)
    const client = await connectClient({ port: this.port, clientId, anonymous: true, ...options })
    await until('every client to be ready', isReady)
    return client
  }

  /** The client as hooks and events see it. */
  client(clientId: string): LibraryClient {
    const found = this.broker.clients[clientId]
    if (found === undefined) throw new Error(`${clientId} is not connected`)
    // Aedes' types leave `broker` and `subscriptions` out.
    return found as LibraryClient
  }

  publish(packet: Partial<PublishPacket> & { topic: string }): Promise<void> {
    const complete: PublishPacket = { cmd: 'publish', payload: '', qos: 0, retain: false, dup: false, ...packet }
    return new Promise((resolve, reject) => {
      this.broker.publish(complete, error => (error ? reject(error) : resolve()))
    })
  }

  subscribe(topic: string, deliver: Deliver): Promise<void> {
    return new Promise(resolve => this.broker.subscribe(topic, deliver, resolve))
  }

  unsubscribe(topic: string, deliver: Deliver): Promise<void> {
    return new Promise(resolve => this.broker.unsubscribe(topic, deliver, resolve))
  }
}

/** Opens a broker and a TCP server for it; both end with the test. */
export async function listen(t: TestContext, kind: BrokerKind, options: LibraryOptions = {}): Promise<ListeningBroker> {
  const broker = await kind.open(options)
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    broker.handle(socket)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(async () => {
    await new Promise<void>(resolve => broker.close(resolve))
    for (const socket of sockets) socket.destroy()
    await new Promise<void>(resolve => server.close(() => resolve()))
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return new ListeningBroker(broker, address.port, sockets)
}
