import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import type { ReadSink } from '../ports.ts'

/** What one read takes at most, as the runtime's own buffers do. */
const READ_BUFFER_BYTES = 65_536

/** All reads of all sockets go here: one is handled to its end before the next one begins. */
const readBuffer: Buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)

/** Where `net.Socket` keeps what its documented option `onread` was given; the names are not public. */
interface OnReadSlots {
  readonly buffer: symbol
  readonly callback: symbol
}

const slots = findSlots()

/**
 * Finds the slots by what a socket made with `onread` has in them. A server makes its sockets itself and cannot be told
 * of `onread`, so the option has to be set on sockets that exist.
 *
 * @returns `undefined` on a runtime that keeps them elsewhere; then sockets are read as streams
 */
function findSlots(): OnReadSlots | undefined {
  const callback = (): boolean => true
  const slotsOfSocket: [symbol, unknown][] = []
  const options: SocketConstructorOpts & { onread: OnReadOpts } = { onread: { buffer: readBuffer, callback } }
  const socket = new Socket(options)
  for (const name of Object.getOwnPropertySymbols(socket)) slotsOfSocket.push([name, Reflect.get(socket, name)])
  const buffer = slotsOfSocket.find(([, value]) => value === readBuffer)?.[0]
  const called = slotsOfSocket.find(([, value]) => value === callback)?.[0]
  return buffer === undefined || called === undefined ? undefined : { buffer, callback: called }
}

/** True when this runtime lets the sockets of a server share one read buffer. */
export const READS_ARE_SHARED: boolean = slots !== undefined

/** The reads of one socket; `sink` gets them and may be exchanged. */
export class SharedReads {
  sink: ReadSink

  constructor(sink: ReadSink) {
    this.sink = sink
  }

  /**
   * Makes a socket of a server read into the buffer that all share, without its stream's readable side. To be called
   * while nothing has been read yet; `pause`, `resume` and the events but `data` work as ever.
   *
   * @returns false when the socket has to be read as a stream
   */
  static begin(socket: Socket, reads: SharedReads): boolean {
    // The handle is what `onread` itself sets up; a socket that is gone has none.
    const { _handle: handle } = socket as Socket & { _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null }
    if (slots === undefined || typeof handle?.useUserBuffer !== 'function') return false
    handle.useUserBuffer(readBuffer)
    Reflect.set(socket, slots.buffer, readBuffer)
    Reflect.set(socket, slots.callback, (length: number) => {
      reads.sink.onRead(readBuffer, length)
      return true
    })
    return true
  }
}
