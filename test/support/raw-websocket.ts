import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { Duplex } from 'node:stream'

/** Operation codes of WebSocket frames. */
export const Op = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** What the server answered to the upgrade request. */
export interface Upgrade {
  readonly stream: WebSocketStream
  readonly subprotocol: string | undefined
}

/** A masked frame as a client sends it. */
export function frame(op: number, payload: Uint8Array, fin = true): Uint8Array {
  const mask = randomBytes(4)
  const n = payload.length
  const length = n < 126 ? [0x80 | n] : n < 65_536 ? [0xfe, n >> 8, n & 255] : [0xff, 0, 0, 0, 0, ...u32(n)]
  return Buffer.concat([
    Uint8Array.from([(fin ? 0x80 : 0) | op, ...length]),
    mask,
    payload.map((b, i) => b ^ (mask[i & 3] ?? 0)),
  ])
}

function u32(n: number): number[] {
  return [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]
}

/**
 * A WebSocket connection as a stream of bytes: each write becomes one binary frame, the data of binary frames comes
 * out in order. `sendFrame` puts any frame on the wire.
 */
export class WebSocketStream extends Duplex {
  /** Operation codes of the data frames that came; MQTT over WebSocket must be binary. */
  readonly opcodes: number[] = []
  /** Payloads of the pongs that came. */
  readonly pongs: string[] = []
  private readonly socket: Duplex
  private pending: Buffer

  constructor(socket: Duplex, head: Buffer) {
    super()
    this.socket = socket
    this.pending = head
    socket.on('data', (chunk: Buffer) => {
      this.pending = Buffer.concat([this.pending, chunk])
      this.parse()
    })
    socket.on('error', () => this.push(null))
    socket.on('end', () => this.push(null))
    socket.on('close', () => this.push(null))
    this.parse()
  }

  private parse(): void {
    for (;;) {
      const [first, second] = [this.pending[0], this.pending[1]]
      if (first === undefined || second === undefined) return
      if (second & 0x80) throw new Error('the server sent a masked frame')
      const short = second & 0x7f
      const at = short < 126 ? 2 : short === 126 ? 4 : 10
      if (this.pending.length < at) return
      const length = short < 126 ? short : this.pending.readUIntBE(short === 126 ? 2 : 4, short === 126 ? 2 : 6)
      if (this.pending.length < at + length) return
      const payload = this.pending.subarray(at, at + length)
      this.pending = this.pending.subarray(at + length)
      this.takeFrame(first & 15, payload)
    }
  }

  private takeFrame(op: number, payload: Buffer): void {
    if (op === Op.ping) this.sendFrame(Op.pong, payload)
    else if (op === Op.pong) this.pongs.push(payload.toString())
    else if (op === Op.close) this.push(null)
    else {
      this.opcodes.push(op)
      this.push(payload)
    }
  }

  /** Sends one frame; several with `fin` false make a fragmented message. */
  sendFrame(op: number, payload: Uint8Array, fin = true): void {
    this.socket.write(frame(op, payload, fin))
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.sendFrame(Op.binary, chunk)
    done()
  }

  override _final(done: () => void): void {
    this.sendFrame(Op.close, Uint8Array.from([0x03, 0xe8]))
    this.socket.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy()
    done(error)
  }
}

/** Opens a WebSocket; throws with the status code when the server does not upgrade. */
export async function openWebSocket(
  host: string,
  port: number,
  subprotocols: readonly string[] = ['mqtt'],
  path = '/mqtt',
): Promise<Upgrade> {
  const headers: Record<string, string> = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  }
  if (subprotocols.length > 0) headers['Sec-WebSocket-Protocol'] = subprotocols.join(', ')
  return new Promise((resolve, reject) => {
    const req = request({ host, port, path, headers })
    req.once('upgrade', (response, socket, head) => {
      const subprotocol = response.headers['sec-websocket-protocol']
      resolve({ stream: new WebSocketStream(socket, head), subprotocol })
    })
    req.once('response', response => {
      response.resume()
      reject(new Error(`not upgraded: status ${response.statusCode}`))
    })
    req.once('error', reject)
    req.end()
  })
}
