import { createHash } from 'node:crypto'
import { createNodeMetrics } from '@midge/metrics-exporter'
import { DEFAULT_INSTANCE, type Directory, type NodeLink, type QueueLimits, type Store } from '@midge/protocol-core'
import { PasswordAuthenticator } from './auth/password-authenticator.ts'
import { ScramAuthenticator } from './auth/scram-authenticator.ts'
import { MemoryUserDirectory } from './auth/user-directory.ts'
import { LocalDirectory } from './cluster-local/local-directory.ts'
import { NoLink } from './cluster-local/no-link.ts'
import { createRedisCluster } from './cluster-redis/create-redis-cluster.ts'
import { type Config, MEMORY_DATA_DIR } from './config/schema.ts'
import { Counters, DropReason, PACKET_NAMES } from './counters.ts'
import { MidgeBroker } from './engine/broker.ts'
import { type HttpServer, startHttp } from './http/server.ts'
import type { StatusReport } from './http/status.ts'
import { type BootstrapUser, ensureBootstrapUser } from './lifecycle/bootstrap.ts'
import { durabilitySentence } from './lifecycle/durability.ts'
import { Readiness } from './lifecycle/readiness.ts'
import type { Details, RunningNode } from './lifecycle/running-node.ts'
import { MIDGE_VERSION } from './lifecycle/version.ts'
import { startListener } from './listeners/listener.ts'
import type { ListenerKind, ListenerOptions, RunningListener } from './listeners/options.ts'
import { sampleEventLoopLag } from './observe/event-loop-lag.ts'
import type { Logger } from './ports.ts'
import { openLocalStore } from './store-local/index.ts'
import { openRedisStore, type RedisStore } from './store-redis/index.ts'

/** Room for the frame headers of a WebSocket message that carries one MQTT packet. */
const WEB_SOCKET_SLACK_BYTES = 64 * 1024

/** Connections beyond the limit that may be open at one time to be told so. */
const REFUSED_CONNECTIONS_MAX = 1000
const REAP_COUNT_MAX = 500

/** Where a node keeps its state and how it reaches its peers; chosen by `redis.url`. */
interface Backing {
  kind: 'memory' | 'embedded' | 'redis'
  store: Store
  directory: Directory
  link: NodeLink
  /** Resolves when the store can be used for the first time. */
  ready: Promise<void>
  /** Ends connections that were open when a process of this node id died; called before the listeners open. */
  recover(): Promise<void>
  stop(): Promise<void>
}

/**
 * Builds a node from its configuration and starts it: health first, then store and cluster, then the listeners.
 *
 * While Redis is not there yet this waits, with `/readyz` at 503. Rejects with a `BrokerError` when the configuration
 * or a port is the problem.
 */
export async function startNode(config: Config, logger: Logger): Promise<RunningNode> {
  const counters = new Counters()
  const backing = await openBacking(config, logger, counters)
  const isInMemory = backing.kind === 'memory'
  const user = ensureBootstrapUser(config.dataDir === MEMORY_DATA_DIR ? undefined : config.dataDir, config.bootstrap)
  const broker = await createBroker(config, logger, counters, backing, user)
  const readiness = new Readiness({ store: backing.store, directory: backing.directory, link: backing.link })
  const listeners: RunningListener[] = []
  const lag = sampleEventLoopLag()
  const status = (): StatusReport => ({
    ...describeNode(config, backing, counters, readiness),
    listeners: listeners.map(({ kind, address }) => ({ transport: kind, ...address })),
    durability: { setting: config.durability, sentence: durabilitySentence(config.durability, isInMemory) },
    eventLoopLagMs: lag.takeMaxMs(),
  })
  const metrics = createNodeMetrics({
    counters,
    nodeId: config.nodeId,
    version: MIDGE_VERSION,
    packetNames: PACKET_NAMES,
    dropReasons: Object.values(DropReason),
    facts: () => ({ isReady: readiness.check().ready, clusterNodes: backing.link.peers().length + 1 }),
  })
  const http =
    config.http.port === 0
      ? undefined
      : await startHttp(config.http, { readiness: () => readiness.check(), status, metrics })
  const node = new ComposedNode({ config, backing, broker, readiness, listeners, http, user, lag })
  try {
    await backing.ready
    await broker.start()
    await backing.recover()
    broker.core.pokeSweeper()
    for (const options of listenerOptions(config))
      listeners.push(await startListener(options, broker, logger, counters))
  } catch (error) {
    await node.stop()
    throw error
  }
  readiness.start()
  await readiness.refresh()
  logger.info({ event: 'node.ready', store: backing.kind, listeners: status().listeners }, 'ready')
  return node
}

async function openBacking(config: Config, logger: Logger, counters: Counters): Promise<Backing> {
  const limits: QueueLimits = {
    offlineMessagesMax: config.limits.offlineQueueMessages,
    offlineBytesMax: config.limits.offlineQueueBytes,
    onlineMessagesMax: config.limits.onlineQueueMessages,
    onlineBytesMax: config.limits.onlineQueueBytes,
  }
  return config.redis.url === undefined
    ? openLocal(config, logger, limits)
    : openRedis(config, config.redis.url, logger, limits, counters)
}

async function openLocal(config: Config, logger: Logger, limits: QueueLimits): Promise<Backing> {
  const isInMemory = config.dataDir === MEMORY_DATA_DIR || config.durability === 'memory'
  const store = await openLocalStore({
    dataDir: config.dataDir,
    durability: isInMemory ? 'memory' : config.durability,
    limits,
    onProgress: progress => logger.info({ event: 'store.loading', ...progress }, 'reading the store back'),
  })
  const directory = new LocalDirectory({ listSubscriptions: () => store.listSubscriptions() })
  return {
    kind: isInMemory ? 'memory' : 'embedded',
    store,
    directory,
    link: new NoLink(),
    ready: Promise.resolve(),
    recover: async () => {
      await store.recover(Date.now())
    },
    stop: () => store.stop(),
  }
}

async function openRedis(
  config: Config,
  url: string,
  logger: Logger,
  limits: QueueLimits,
  counters: Counters,
): Promise<Backing> {
  const { nodeId, durability } = config
  const { keyPrefix } = config.redis
  const store = openRedisStore({ url, nodeId, keyPrefix, limits, durability, logger })
  const cluster = await createRedisCluster({
    url,
    nodeId,
    keyPrefix: `${keyPrefix}:`,
    logger,
    timings: { barrierMs: config.suback.barrierMs },
    onDropped: (_nodeId, count) => counters.drop(DropReason.linkFull, count),
    onGap: (_nodeId, frames) => {
      counters.linkFramesLost += frames
    },
    onUnreadable: () => {
      counters.linkFramesUnreadable++
    },
  })
  return {
    kind: 'redis',
    store,
    directory: cluster.directory,
    link: cluster.link,
    ready: store.ready.then(() => warnOfSettings(store, logger)),
    recover: () => reapOwn(store, nodeId),
    stop: async () => {
      await cluster.stop()
      await store.stop()
    },
  }
}

/** Says once which settings of Redis promise less than the durability that is configured; too old a Redis rejects. */
async function warnOfSettings(store: RedisStore, logger: Logger): Promise<void> {
  for (const { code, text } of await store.check()) logger.warn({ event: 'store.setting', setting: code }, text)
}

/** By now the node id is ours alone, so whatever it has open in the store is of a process that is gone. */
async function reapOwn(store: Store, nodeId: string): Promise<void> {
  let count: number
  do {
    count = await store.reapNode(nodeId, Date.now(), REAP_COUNT_MAX)
  } while (count > 0)
}

async function createBroker(
  config: Config,
  logger: Logger,
  counters: Counters,
  backing: Backing,
  user: BootstrapUser,
): Promise<MidgeBroker> {
  const users = new MemoryUserDirectory()
  await users.createUser(DEFAULT_INSTANCE, user.username, user.password)
  const { store, directory, link } = backing
  return new MidgeBroker({
    nodeId: config.nodeId,
    limits: config.limits,
    counters,
    logger,
    store,
    directory,
    link,
    authenticator: new PasswordAuthenticator({
      users,
      anonymousAllowed: config.auth.anonymous,
      // Listeners tell a Common Name only where it is to be the username.
      certCnAsUsername: true,
    }),
    enhancedAuthenticator: new ScramAuthenticator({
      users,
      // The same on every node of a cluster, which shares the first user's password.
      fakeSaltKey: createHash('sha256').update(`midge scram salts\n${user.password}`).digest(),
    }),
  })
}

function listenerOptions(config: Config): ListenerOptions[] {
  const kinds: ListenerKind[] = ['tcp', 'tls', 'ws', 'wss']
  const active = kinds.filter(kind => config.listeners[kind].port !== 0)
  const otherPorts: Partial<Record<ListenerKind, number>> = {}
  for (const kind of active) otherPorts[kind] = config.listeners[kind].port
  return active.map(kind => optionsOf(config, kind, otherPorts))
}

function optionsOf(
  config: Config,
  kind: ListenerKind,
  otherPorts: Partial<Record<ListenerKind, number>>,
): ListenerOptions {
  const { limits, listeners } = config
  const { host, port, proxyProtocol } = listeners[kind]
  const options: ListenerOptions = {
    kind,
    host,
    port,
    setting: `listeners.${kind}.port`,
    instance: DEFAULT_INSTANCE,
    // The engine refuses with a reason beyond the limit; only a flood of refused ones is cut off here.
    connectionsMax: limits.connectionsMax + REFUSED_CONNECTIONS_MAX,
    connectTimeoutMs: limits.connectTimeoutMs,
    proxyProtocol,
    otherPorts,
  }
  if (kind === 'tls' || kind === 'wss') {
    const { certFile = '', keyFile = '', caFile, requireClientCert, minVersion, certCnAsUsername } = listeners[kind]
    options.tls = { certFile, keyFile, caFile, requireClientCert, minVersion }
    options.tellCertCommonName = certCnAsUsername
  }
  if (kind === 'ws' || kind === 'wss') {
    options.webSocket = {
      paths: listeners[kind].paths,
      payloadBytesMax: limits.maxPacketBytes + WEB_SOCKET_SLACK_BYTES,
    }
  }
  return options
}

function describeNode(
  config: Config,
  backing: Backing,
  counters: Counters,
  readiness: Readiness,
): Omit<StatusReport, 'listeners' | 'durability' | 'eventLoopLagMs'> {
  const sum = (counts: Iterable<number>): number => [...counts].reduce((total, count) => total + count, 0)
  return {
    version: MIDGE_VERSION,
    nodeId: config.nodeId,
    uptimeSeconds: Math.round(process.uptime()),
    ...readiness.check(),
    store: backing.kind,
    cluster: { nodes: [config.nodeId, ...backing.link.peers()] },
    counts: {
      connections: counters.connectionsCurrent,
      sessions: counters.sessionsCurrent,
      subscriptions: counters.subscriptionsCurrent,
      messagesReceived: sum(counters.messagesReceived),
      messagesSent: sum(counters.messagesSent),
      messagesDropped: sum(counters.dropped.values()),
    },
  }
}

interface NodeParts {
  config: Config
  backing: Backing
  broker: MidgeBroker
  readiness: Readiness
  listeners: RunningListener[]
  http: HttpServer | undefined
  user: BootstrapUser
  lag: { stop(): void }
}

class ComposedNode implements RunningNode {
  readonly done: Promise<number> = new Promise<number>(() => undefined)
  private readonly parts: NodeParts
  private stopping: Promise<void> | undefined = undefined

  constructor(parts: NodeParts) {
    this.parts = parts
  }

  details(): Details {
    const { config, backing, listeners, http, user } = this.parts
    const portOf = (kind: ListenerKind): number | undefined => listeners.find(item => item.kind === kind)?.address.port
    const isWildcard = config.listeners.tcp.host === '0.0.0.0' || config.listeners.tcp.host === '::'
    const httpHost = config.http.host === '0.0.0.0' || config.http.host === '::' ? 'localhost' : config.http.host
    return {
      nodeId: config.nodeId,
      instance: DEFAULT_INSTANCE,
      host: isWildcard ? 'localhost' : config.listeners.tcp.host,
      tcpPort: portOf('tcp'),
      tlsPort: portOf('tls'),
      wsPort: portOf('ws'),
      wssPort: portOf('wss'),
      httpUrl: http === undefined ? undefined : `http://${httpHost}:${http.port}`,
      username: user.username,
      password: user.password,
      isPasswordGenerated: user.generated,
      isAnonymousAllowed: config.auth.anonymous,
      store:
        backing.kind === 'redis' ? 'Redis' : backing.kind === 'memory' ? 'memory' : `embedded in ${config.dataDir}`,
    }
  }

  async drain(): Promise<void> {
    const { readiness, listeners, broker } = this.parts
    readiness.drain()
    await Promise.all(listeners.map(listener => listener.stopAccepting()))
    await broker.core.drain()
  }

  stop(): Promise<void> {
    this.stopping ??= this.stopAll()
    return this.stopping
  }

  private async stopAll(): Promise<void> {
    const { readiness, listeners, broker, backing, http, lag } = this.parts
    readiness.stop()
    lag.stop()
    await Promise.all(listeners.map(listener => listener.close()))
    await broker.core.stop()
    await new Promise<void>(resolve => {
      if (broker.closed) resolve()
      else broker.close(resolve)
    })
    await backing.stop()
    await http?.stop()
  }
}
