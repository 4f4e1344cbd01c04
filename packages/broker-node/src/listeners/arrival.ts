import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { InstanceName } from '@midge/protocol-core'
import type { Counters } from '../counters.ts'
import type { ConnectionAcceptor, ConnectionInfo, Logger, ReadSink } from '../ports.ts'
import { classifyFirstBytes, describeWrongProtocol, expectedFirstBytes, type FirstBytes } from './first-bytes.ts'
import type { ListenerOptions } from './options.ts'
import { parseProxyHeader } from './proxy-protocol.ts'
import type { RepeatedLog } from './repeated-log.ts'
import { SharedReads } from './shared-reads.ts'

/** What all connections of one listener share on their way in. */
export interface Entrance {
  readonly options: ListenerOptions
  readonly acceptor: ConnectionAcceptor
  readonly counters: Counters
  readonly logger: Logger
  readonly repeatedLog: RepeatedLog
  /** Connections that were not handed over yet, the oldest first. */
  readonly arrivals: Set<Arrival>
  /** Puts TLS or WebSocket around a checked socket; absent for a plain listener. */
  readonly upgrade: ((arrival: Arrival, socket: Socket) => void) | undefined
}

let lastConnectionNumber = 0
const PORT_SUFFIX = /:\d*$/

/**
 * One connection between `accept()` and its first MQTT byte: PROXY header, a look at the first bytes, TLS and
 * WebSocket around it, all under one deadline. After {@link Arrival.handOver} nothing of it stays on the stream.
 */
export class Arrival implements ReadSink {
  /** Filled while the connection arrives; final when it is handed over. */
  readonly info: ConnectionInfo
  readonly socket: Socket
  private readonly entrance: Entrance
  private readonly startedMs: number
  /** Undefined when the socket is read as a stream. */
  private reads: SharedReads | undefined
  private awaitsProxyHeader: boolean
  /** Beginning of a PROXY header that came in pieces. */
  private held: Buffer | undefined

  /** @param boundInstance - instance that the port is of */
  constructor(socket: Socket, entrance: Entrance, boundInstance?: InstanceName) {
    this.socket = socket
    this.entrance = entrance
    this.awaitsProxyHeader = entrance.options.proxyProtocol
    this.info = {
      connectionId: (++lastConnectionNumber).toString(36),
      transport: entrance.options.kind,
      remoteAddress: plainAddress(socket.remoteAddress ?? ''),
      remotePort: socket.remotePort ?? 0,
      localAddress: plainAddress(socket.localAddress ?? ''),
      localPort: socket.localPort ?? 0,
      boundInstance,
      loginRequired: entrance.options.loginRequired === true,
      serverName: undefined,
      host: undefined,
      path: undefined,
      certCommonName: undefined,
    }
    this.startedMs = performance.now()
    entrance.arrivals.add(this)
    socket.on('error', ignoreError)
    // TLS and HTTP read the stream themselves.
    if (entrance.upgrade === undefined) {
      const reads = new SharedReads(this)
      if (SharedReads.begin(socket, reads)) {
        this.reads = reads
        return
      }
    }
    socket.on('data', this.onSocketBytes)
  }

  onRead(buffer: Buffer, length: number): void {
    this.onSocketBytes(buffer.subarray(0, length))
  }

  /**
   * Called several times within the time that an arrival has.
   * @returns false when neither this one nor any that began later is over
   */
  expireAt(nowMs: number): boolean {
    if (this.socket.destroyed) this.forget()
    else if (nowMs - this.startedMs < this.entrance.options.connectTimeoutMs) return false
    else this.expire()
    return true
  }

  /** Waits for the first decoded bytes of a stream around the socket, then hands it over. */
  awaitMqtt(stream: Duplex): void {
    // Errors and closes of an outer stream end the socket too, where they are noticed.
    stream.on('error', ignoreError)
    stream.once('data', (bytes: Buffer) => {
      const seen = classifyFirstBytes(bytes)
      if (seen !== 'mqtt') {
        this.refuse(seen)
        stream.destroy()
        return
      }
      stream.off('error', ignoreError)
      this.handOver(stream, bytes)
    })
  }

  /** `name` comes from a verified certificate; it is an identity, so only a listener that says so passes it on. */
  setCertCommonName(name: string | undefined): void {
    this.info.certCommonName = this.entrance.options.tellCertCommonName === true ? name : undefined
  }

  /** What the client asked for in TLS. */
  setServerName(name: string | undefined): void {
    this.info.serverName = name?.toLowerCase()
  }

  /** What the client asked for in its WebSocket request. */
  setTarget(host: string | undefined, path: string): void {
    this.info.host = host?.replace(PORT_SUFFIX, '').toLowerCase()
    this.info.path = path
  }

  /** Counts and logs bytes of the wrong protocol and closes the connection. */
  refuse(seen: FirstBytes): void {
    const { options, counters, repeatedLog } = this.entrance
    const kind = seen === 'mqtt' ? 'plain_mqtt' : seen
    counters.sawWrongProtocol(kind)
    repeatedLog.info(
      kind,
      { event: 'listener.wrong_protocol', seen: kind, remoteAddress: this.info.remoteAddress },
      describeWrongProtocol(seen, options, this.info.localPort),
    )
    this.socket.destroy()
  }

  /** Closes the connection for a reason that the catalogue of first bytes does not have. */
  refuseFor(kind: string, text: string): void {
    this.entrance.counters.sawWrongProtocol(kind)
    this.entrance.repeatedLog.info(
      kind,
      { event: 'listener.refused', seen: kind, remoteAddress: this.info.remoteAddress },
      `${text} on port ${this.info.localPort}`,
    )
    this.socket.destroy()
  }

  private expire(): void {
    this.forget()
    this.entrance.counters.connectTimeouts++
    this.entrance.logger.debug(
      {
        event: 'listener.connect_timeout',
        connectionId: this.info.connectionId,
        remoteAddress: this.info.remoteAddress,
      },
      'No MQTT byte in time',
    )
    this.socket.destroy()
  }

  private readonly onSocketBytes = (chunk: Buffer): void => {
    const bytes = this.awaitsProxyHeader ? this.takeProxyHeader(chunk) : chunk
    if (bytes === undefined || bytes.length === 0) return
    const seen = classifyFirstBytes(bytes)
    if (seen !== expectedFirstBytes(this.info.transport)) {
      this.refuse(seen)
      return
    }
    const { upgrade } = this.entrance
    if (upgrade === undefined) {
      this.socket.off('error', ignoreError)
      this.handOver(this.socket, bytes)
      return
    }
    this.socket.off('data', this.onSocketBytes)
    this.socket.pause()
    this.socket.unshift(bytes)
    upgrade(this, this.socket)
  }

  /** @returns the bytes behind the header; `undefined` while it is incomplete or when it was refused */
  private takeProxyHeader(chunk: Buffer): Buffer | undefined {
    const bytes = this.held === undefined ? chunk : Buffer.concat([this.held, chunk])
    const header = parseProxyHeader(bytes)
    if (header === undefined) {
      // Copied, since the next read comes into the same buffer.
      this.held = Buffer.from(bytes)
      return undefined
    }
    if (header === 'malformed') {
      this.refuseFor('proxy_malformed', 'Connection without a valid PROXY protocol header')
      return undefined
    }
    this.held = undefined
    this.awaitsProxyHeader = false
    if (header.source !== undefined) {
      this.info.remoteAddress = plainAddress(header.source.address)
      this.info.remotePort = header.source.port
    }
    this.setCertCommonName(header.certCommonName)
    return bytes.subarray(header.length)
  }

  private handOver(stream: Duplex, bytes: Buffer): void {
    this.forget()
    const { acceptor, logger } = this.entrance
    try {
      if (this.reads === undefined) this.handOverStream(stream, bytes)
      else {
        this.reads.sink = acceptor.acceptReads(stream, this.info)
        this.reads.sink.onRead(bytes, bytes.length)
      }
    } catch (error) {
      logger.error({ event: 'listener.accept_failed', err: error }, 'The engine refused a connection')
      stream.on('error', ignoreError)
      stream.destroy()
    }
  }

  private handOverStream(stream: Duplex, bytes: Buffer): void {
    this.socket.off('data', this.onSocketBytes)
    stream.pause()
    stream.unshift(bytes)
    this.entrance.acceptor.accept(stream, this.info)
    // An explicit pause is not undone by adding a listener; without a listener the bytes would be lost.
    if (stream.listenerCount('data') > 0) stream.resume()
  }

  private forget(): void {
    this.entrance.arrivals.delete(this)
  }
}

function ignoreError(): void {}

/** IPv4 clients of a dual-stack socket are shown as IPv4. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}
