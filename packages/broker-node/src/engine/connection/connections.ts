import { ReasonCode } from '@midge/protocol-core'
import type { AcceptedStream } from './accepted-stream.ts'
import { Connection, type ConnectionParts } from './connection.ts'
import { LoginExpiries } from './login-expiries.ts'

const DRAIN_SLICE_CONNECTIONS = 200
/** Connections that are looked at, and closed, before others have their turn. */
const LOOK_SLICE_CONNECTIONS = 10_000
const CLOSE_SLICE_CONNECTIONS = 200
const DRAIN_SLICE_PAUSE_MS = 50

/** The connections of this node. */
export class Connections {
  private readonly parts: ConnectionParts
  private readonly all = new Set<Connection>()
  private readonly expiries = new LoginExpiries<Connection>()
  private isClosing = false
  private readonly onEnded = (connection: Connection): void => this.remove(connection)

  constructor(parts: ConnectionParts) {
    this.parts = parts
  }

  get size(): number {
    return this.all.size
  }

  [Symbol.iterator](): Iterator<Connection> {
    return this.all.values()
  }

  accept(peer: AcceptedStream): Connection {
    const { counters } = this.parts.services
    const connection = new Connection(this.parts, peer, this.onEnded)
    this.all.add(connection)
    counters.connectionsOpened++
    counters.connectionsCurrent++
    if (this.isClosing) connection.shut('shutting down', 'refused')
    return connection
  }

  /** Looks after silent and stuck clients; `isLate` when the time since the last look says nothing about them. */
  checkTimeouts(nowMs: number, isLate: boolean): void {
    for (const connection of this.expiries.due(nowMs)) {
      connection.close(ReasonCode.maximumConnectTime, 'the login has expired')
    }
    for (const connection of this.all) {
      if (isLate) connection.restartTimeouts(nowMs)
      else connection.checkTimeouts(nowMs)
    }
  }

  /**
   * Closes those that fit, a slice at a time; also those that are only just connecting, as far as CONNECT has said who
   * they are.
   * @returns how many there were
   */
  async closeWhere(
    fits: (connection: Connection) => boolean,
    why: { reasonCode: number; reason: string },
  ): Promise<number> {
    let seen = 0
    let closed = 0
    // Those that come meanwhile are looked at as well, and those that go are not.
    for (const connection of this.all) {
      if (!connection.isClosed && fits(connection)) {
        connection.close(why.reasonCode, why.reason)
        closed++
        if (closed % CLOSE_SLICE_CONNECTIONS === 0) await new Promise(resolve => setImmediate(resolve))
      }
      if (++seen % LOOK_SLICE_CONNECTIONS === 0) await new Promise(resolve => setImmediate(resolve))
    }
    return closed
  }

  /** The login of this connection holds until then. */
  endAt(connection: Connection, endsAtMs: number): void {
    if (!connection.isClosed) this.expiries.set(connection, endsAtMs)
  }

  /** Without a lease others may own these sessions by now: nothing more may be acknowledged here. */
  letGo(): void {
    for (const connection of [...this.all]) {
      connection.close(ReasonCode.serverBusy, 'node lost its lease', { isFenced: true })
    }
  }

  /**
   * Moves all clients off, a slice at a time, and accepts no more. v5 clients are told to use another server (0x9C with
   * a reference, else 0x8B).
   */
  async drain(serverReference: string | undefined): Promise<void> {
    this.isClosing = true
    while (this.all.size > 0) {
      let count = 0
      for (const connection of this.all) {
        if (count++ === DRAIN_SLICE_CONNECTIONS) break
        if (serverReference === undefined) connection.close(ReasonCode.serverShuttingDown, 'server shutting down')
        else connection.close(ReasonCode.useAnotherServer, 'server shutting down', { serverReference })
      }
      await new Promise(resolve => setTimeout(resolve, DRAIN_SLICE_PAUSE_MS))
    }
  }

  /** Ends all of them at once, and accepts no more. */
  stop(): void {
    this.isClosing = true
    for (const connection of [...this.all]) {
      connection.close(ReasonCode.serverShuttingDown, 'server shutting down')
      connection.stream.destroy()
    }
  }

  private remove(connection: Connection): void {
    const { counters } = this.parts.services
    this.all.delete(connection)
    this.expiries.delete(connection)
    counters.connectionsCurrent--
    counters.connectionsClosed++
  }
}
