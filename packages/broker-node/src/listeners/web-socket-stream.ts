import { Duplex } from 'node:stream'
import type { RawData, WebSocket } from 'ws'

const CLOSE_NORMAL = 1000
/** "Received data of a type it cannot accept", RFC 6455 section 7.4.1. */
const CLOSE_UNSUPPORTED_DATA = 1003
const BUFFERED_BYTES_MAX = 65_536

/**
 * A WebSocket as the byte stream that MQTT is: frames may split and merge packets anywhere [MQTT-6.0.0-2], and one
 * write becomes one binary frame. No promise and no closure per frame.
 *
 * Both directions push back: the socket is not read while nobody reads the stream, and a write completes when its frame
 * has been given to the kernel. `destroy()` drops the TCP connection without waiting for the peer.
 */
export class WebSocketStream extends Duplex {
  private readonly webSocket: WebSocket
  private readonly onTextFrame: () => void

  /** @param onTextFrame - called once, before the connection is closed for it */
  constructor(webSocket: WebSocket, onTextFrame: () => void) {
    super({
      allowHalfOpen: false,
      readableHighWaterMark: BUFFERED_BYTES_MAX,
      writableHighWaterMark: BUFFERED_BYTES_MAX,
    })
    this.webSocket = webSocket
    this.onTextFrame = onTextFrame
    webSocket.binaryType = 'nodebuffer'
    webSocket.on('message', this.onMessage)
    webSocket.on('close', () => this.push(null))
    webSocket.on('error', error => this.destroy(error))
  }

  override _read(): void {
    if (this.webSocket.isPaused) this.webSocket.resume()
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    // `send` would throw for one state and call back for the others; a closed peer is an ordinary error here.
    if (this.webSocket.readyState === this.webSocket.OPEN) this.webSocket.send(chunk, BINARY_FRAME, callback)
    else callback(new Error('The WebSocket is closed'))
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.webSocket.close(CLOSE_NORMAL)
    callback()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.webSocket.terminate()
    callback(error)
  }

  private readonly onMessage = (data: RawData, isBinary: boolean): void => {
    if (this.destroyed) return
    // [MQTT-6.0.0-1] anything but a binary frame closes the connection.
    if (!isBinary || !Buffer.isBuffer(data)) {
      this.onTextFrame()
      this.webSocket.off('message', this.onMessage)
      this.webSocket.close(CLOSE_UNSUPPORTED_DATA)
      return
    }
    if (data.length > 0 && !this.push(data)) this.webSocket.pause()
  }
}

const BINARY_FRAME = { binary: true, compress: false, fin: true } as const
