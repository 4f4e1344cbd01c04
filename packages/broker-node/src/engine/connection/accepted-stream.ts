import type { Duplex } from 'node:stream'
import type { ConnectionInfo } from '../../ports.ts'
import type { OutputForm } from './output-buffer.ts'

/** A stream with what is known of it, as a listener or a program hands it over. */
export interface AcceptedStream {
  stream: Duplex
  info: ConnectionInfo
  /** The stream is a socket whose bytes come to {@link Connection.reads} and not as `data`. */
  takesReads: boolean
}

const SOCKET: OutputForm = { isSocket: true, reusesChunks: true }
/** TLS, WebSocket, and sockets of a library: in the end the kernel has what was written. */
const STREAM: OutputForm = { isSocket: false, reusesChunks: true }
/** A stream inside this process, which has no address. */
const INSIDE: OutputForm = { isSocket: false, reusesChunks: false }

/** How its output is written. */
export function streamFormOf({ info, takesReads }: AcceptedStream): OutputForm {
  if (takesReads) return SOCKET
  return info.remoteAddress === '' ? INSIDE : STREAM
}
