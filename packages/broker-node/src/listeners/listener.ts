import { createServer, type Server } from 'node:net'
import { BrokerError, type InstanceName } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { ConnectionAcceptor, Logger } from '../ports.ts'
import { Arrival, type Entrance } from './arrival.ts'
import type { ListenerOptions, RunningListener } from './options.ts'
import { RepeatedLog } from './repeated-log.ts'
import { createTlsLayer } from './tls-layer.ts'
import { createWebSocketLayer } from './web-socket-layer.ts'

const BACKLOG = 4096
const KEEP_ALIVE_PROBE_MS = 60_000
/** How much later than its time a connection that says nothing may be closed, as a share of the time and at most. */
const DEADLINE_SHARE = 0.1
const DEADLINE_LATENESS_MS_MAX = 1000

/**
 * Starts one listener and hands every connection that begins to speak MQTT to `acceptor`.
 *
 * A plain TCP connection is handed over as the bare `net.Socket`, with its first bytes put back and no listener left.
 *
 * @throws {@link BrokerError} `MIDGE_PORT_IN_USE` naming address and setting; `MIDGE_CONFIG_INVALID` for an address
 * that cannot be had or a certificate file that cannot be used
 */
export async function startListener(
  options: ListenerOptions,
  acceptor: ConnectionAcceptor,
  logger: Logger,
  counters: Counters,
): Promise<RunningListener> {
  const entrance = createEntrance(options, acceptor, { logger, counters })
  const server = createPortServer(entrance, options.boundInstance)
  const { host, port } = await listen(server, options)
  return new NodeListener(options, { host, port }, server, entrance)
}

/** What the connections of a listener share, and those of several ports of one kind. */
export function createEntrance(
  options: ListenerOptions,
  acceptor: ConnectionAcceptor,
  { logger, counters }: { logger: Logger; counters: Counters },
): Entrance {
  return {
    options,
    acceptor,
    counters,
    logger,
    repeatedLog: new RepeatedLog(logger),
    arrivals: new Set(),
    upgrade: createUpgrade(options, logger, counters),
  }
}

/** A server for one port of an entrance, which does not listen yet. @param boundInstance - instance that the port is of */
export function createPortServer(entrance: Entrance, boundInstance?: InstanceName): Server {
  const { options, counters, logger, repeatedLog } = entrance
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS })
  server.maxConnections = options.connectionsMax
  server.on('drop', () => {
    counters.connectionsRefusedTotal++
    repeatedLog.info(
      'connections_max',
      { event: 'listener.connections_max', connectionsMax: options.connectionsMax },
      'Connection closed: the listener has all the connections it may have',
    )
  })
  server.on('connection', socket => {
    // A client may be gone between the kernel's accept and this call; then there is no address and no event to come.
    if (!socket.destroyed) new Arrival(socket, entrance, boundInstance)
  })
  // For example EMFILE: accept() fails for now, the listener stays.
  server.on('error', error => {
    if (server.listening) logger.error({ event: 'listener.failed', err: error }, 'The listener had an error')
  })
  return server
}

function createUpgrade(options: ListenerOptions, logger: Logger, counters: Counters): Entrance['upgrade'] {
  const webSocketLayer =
    options.kind === 'ws' || options.kind === 'wss' ? createWebSocketLayer(options, logger, counters) : undefined
  if (options.kind === 'tcp' || options.kind === 'ws') return webSocketLayer
  return createTlsLayer(options, logger, counters, webSocketLayer)
}

function listen(server: Server, options: ListenerOptions): Promise<RunningListener['address']> {
  const { host, port, setting } = options
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      reject(
        error.code === 'EADDRINUSE'
          ? new BrokerError(
              'MIDGE_PORT_IN_USE',
              `${host}:${port} is in use: set ${setting} to a free port, or to 0 to turn this listener off`,
              { cause: error },
            )
          : new BrokerError(
              'MIDGE_CONFIG_INVALID',
              `cannot bind ${host}:${port} (${error.code}): change ${setting} or its host`,
              {
                cause: error,
              },
            ),
      )
    }
    server.once('error', onError)
    server.listen({ host, port, backlog: options.backlog ?? BACKLOG }, () => {
      server.off('error', onError)
      const bound = server.address()
      resolve({ host, port: typeof bound === 'object' && bound !== null ? bound.port : port })
    })
  })
}

class NodeListener implements RunningListener {
  readonly kind: RunningListener['kind']
  readonly address: RunningListener['address']
  private readonly server: Server
  private readonly entrance: Entrance
  private readonly sweep: NodeJS.Timeout

  constructor(options: ListenerOptions, address: RunningListener['address'], server: Server, entrance: Entrance) {
    this.kind = options.kind
    this.address = address
    this.server = server
    this.entrance = entrance
    this.sweep = startSweep(entrance)
  }

  async stopAccepting(): Promise<void> {
    if (!this.server.listening) return
    // The callback would wait for every open connection; the port itself is free after this turn of the event loop.
    this.server.close()
    await new Promise<void>(resolve => setImmediate(resolve))
  }

  async close(): Promise<void> {
    await this.stopAccepting()
    clearInterval(this.sweep)
    for (const arrival of this.entrance.arrivals) arrival.socket.destroy()
    this.entrance.arrivals.clear()
  }
}

/** Ends connections that say nothing in time; the caller ends it. */
export function startSweep(entrance: Entrance): NodeJS.Timeout {
  const sweepMs = Math.min(entrance.options.connectTimeoutMs * DEADLINE_SHARE, DEADLINE_LATENESS_MS_MAX)
  return setInterval(sweepArrivals, sweepMs, entrance).unref()
}

/** One timer for all: a timer for each would be a good part of what a connection costs. */
function sweepArrivals(entrance: Entrance): void {
  const nowMs = performance.now()
  for (const arrival of entrance.arrivals) if (!arrival.expireAt(nowMs)) return
}
