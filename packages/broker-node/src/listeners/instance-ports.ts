import type { Server } from 'node:net'
import type { InstanceName } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { ConnectionAcceptor, Logger } from '../ports.ts'
import type { Entrance } from './arrival.ts'
import { createEntrance, createPortServer, startSweep } from './listener.ts'
import type { ListenerKind, ListenerOptions } from './options.ts'

/** How far each kind lies above the port of plain MQTT. */
const OFFSETS: Readonly<Record<ListenerKind, number>> = { tcp: 0, tls: 10_000, ws: 0, wss: 20_000 }
const RETRY_MS = 10_000
/** Few instances have many connections waiting to be accepted at one time. */
const BACKLOG = 128

/** What {@link InstancePorts} are made of. */
export interface InstancePortsOptions {
  /** For each kind that instances get, how it listens; `port` says nothing. */
  kinds: readonly ListenerOptions[]
  acceptor: ConnectionAcceptor
  logger: Logger
  counters: Counters
  /** After this time a port that could not be had is tried again. */
  retryMs?: number
}

interface InstancePort {
  instance: InstanceName
  entrance: Entrance
  server: Server
}

/**
 * The ports that instances have for themselves, opened and closed while the node runs. A port costs a socket: TLS,
 * WebSocket and the time-outs belong to all ports of a kind together.
 *
 * A port that another process has is tried again and ends nothing.
 */
export class InstancePorts {
  private readonly options: InstancePortsOptions
  private readonly entrances: readonly Entrance[]
  private readonly sweeps: readonly NodeJS.Timeout[]
  private readonly ports: Map<number, InstancePort> = new Map()
  private readonly failed: Set<number> = new Set()
  private readonly retry: NodeJS.Timeout
  private isStopped = false

  /** @throws BrokerError `MIDGE_CONFIG_INVALID` for a certificate that cannot be used */
  constructor(options: InstancePortsOptions) {
    const { kinds, acceptor, logger, counters, retryMs = RETRY_MS } = options
    this.options = options
    const blockOffsets = Object.fromEntries(kinds.map(({ kind }) => [kind, OFFSETS[kind]]))
    this.entrances = kinds.map(kind => createEntrance({ ...kind, blockOffsets }, acceptor, { logger, counters }))
    this.sweeps = this.entrances.map(startSweep)
    this.retry = setInterval(() => this.tryAgain(), retryMs).unref()
  }

  /** Ports that clients can use now. */
  get openCount(): number {
    return this.ports.size - this.failed.size
  }

  /** Ports that another process has. */
  get failedPorts(): number[] {
    return [...this.failed]
  }

  /** Opens the block of an instance. @returns once each of its ports is open or has failed */
  async open(instance: InstanceName, portBase: number): Promise<void> {
    if (this.isStopped) return
    await Promise.all(
      this.entrances.map(entrance => {
        const port = portBase + OFFSETS[entrance.options.kind]
        if (this.ports.has(port)) return undefined
        const server = createPortServer(entrance, instance)
        this.ports.set(port, { instance, entrance, server })
        return this.listen(port)
      }),
    )
  }

  /** Gives the block back; open connections stay. */
  async close(portBase: number): Promise<void> {
    for (const { options } of this.entrances) {
      const port = portBase + OFFSETS[options.kind]
      this.ports.get(port)?.server.close()
      this.ports.delete(port)
      this.failed.delete(port)
    }
    // A port is free after this turn of the event loop.
    await new Promise<void>(resolve => setImmediate(resolve))
  }

  /** Gives all ports back; open connections stay. */
  async stopAccepting(): Promise<void> {
    this.isStopped = true
    clearInterval(this.retry)
    for (const { server } of this.ports.values()) server.close()
    this.ports.clear()
    this.failed.clear()
    await new Promise<void>(resolve => setImmediate(resolve))
  }

  /** As `stopAccepting`, and ends connections that were not yet handed over. */
  async stop(): Promise<void> {
    await this.stopAccepting()
    for (const sweep of this.sweeps) clearInterval(sweep)
    for (const { arrivals } of this.entrances) {
      for (const arrival of arrivals) arrival.socket.destroy()
      arrivals.clear()
    }
  }

  private listen(port: number): Promise<void> {
    const known = this.ports.get(port)
    if (known === undefined) return Promise.resolve()
    const { instance, entrance, server } = known
    return new Promise(resolve => {
      const end = (): void => {
        server.off('error', onError).off('listening', onListening).off('close', end)
        resolve()
      }
      const onError = (error: NodeJS.ErrnoException): void => {
        if (this.ports.get(port) === known) this.note(port, instance, error)
        end()
      }
      const onListening = (): void => {
        // Closed, or given to another instance, while it was being opened.
        if (this.ports.get(port) === known) this.failed.delete(port)
        else server.close()
        end()
      }
      server.once('error', onError).once('listening', onListening).once('close', end)
      server.listen({ host: entrance.options.host, port, backlog: BACKLOG })
    })
  }

  private note(port: number, instance: InstanceName, error: NodeJS.ErrnoException): void {
    if (this.failed.has(port)) return
    this.failed.add(port)
    const fields = { event: 'instance_port.failed', port, instance, code: error.code }
    this.options.logger.warn(fields, 'a port of an instance cannot be opened here; it is tried again')
  }

  private tryAgain(): void {
    for (const port of this.failed) void this.listen(port)
  }
}
