import { connect, type Socket } from 'node:net'
import { connectPacket, subscribePacket } from './wire.ts'

// One buffer for all sockets: a read is handled before the next one begins.
const readBuffer = Buffer.allocUnsafeSlow(262_144)
const HANDSHAKE_TIMEOUT_MS = 30_000
const noBytes = (): void => undefined

/** Who connects and where. */
export interface ClientOptions {
  readonly port: number
  readonly clientId: string
  readonly cleanSession: boolean
  readonly user: string | undefined
  readonly password: string | undefined
}

/** A connection of the generator: bytes in and out, almost no protocol. */
export class BenchClient {
  readonly socket: Socket
  /** Called with every read; the buffer is only valid during the call. */
  onBytes: (bytes: Buffer, length: number) => void = noBytes
  /** Called once when the connection ends although nobody closed it. */
  onLost: (error: Error) => void = noBytes
  readonly clientId: string
  #isClosing = false

  constructor(port: number, clientId: string) {
    this.clientId = clientId
    const callback = (length: number): boolean => {
      this.onBytes(readBuffer, length)
      return true
    }
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true, onread: { buffer: readBuffer, callback } })
    let cause = 'closed by the broker'
    this.socket.on('error', error => {
      cause = error.message
    })
    this.socket.once('close', () => {
      if (!this.#isClosing) this.onLost(new Error(`${clientId}: ${cause}`))
    })
  }

  /** Ends the connection without a word. */
  close(): void {
    this.#isClosing = true
    this.socket.destroy()
  }

  /** Writes a packet and waits for an answer of a known length. */
  exchange(packet: Buffer, answerBytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const answer: number[] = []
      const end = (): void => {
        clearTimeout(timer)
        this.onBytes = noBytes
        this.onLost = noBytes
      }
      const fail = (error: Error): void => {
        end()
        this.close()
        reject(error)
      }
      const timer = setTimeout(() => fail(new Error(`${this.clientId}: no answer`)), HANDSHAKE_TIMEOUT_MS)
      this.onLost = fail
      this.onBytes = (bytes, length) => {
        for (let i = 0; i < length; i++) answer.push(bytes[i] ?? 0)
        if (answer.length < answerBytes) return
        end()
        resolve(Buffer.from(answer))
      }
      this.socket.write(packet)
    })
  }

  /** @throws when the broker refuses */
  async subscribe(topicFilter: string, qos: 0 | 1): Promise<void> {
    const suback = await this.exchange(subscribePacket(topicFilter, qos), 5)
    if (suback[0] !== 0x90 || suback[4] !== qos) throw new Error(`SUBACK ${suback.toString('hex')}`)
  }
}

/** Connects one client. @throws when the broker refuses */
export async function openClient(options: ClientOptions): Promise<BenchClient> {
  const { port, clientId, cleanSession, user, password } = options
  const client = new BenchClient(port, clientId)
  const connack = await client.exchange(connectPacket(clientId, cleanSession, user, password), 4)
  if (connack[0] === 0x20 && connack[3] === 0) return client
  client.close()
  throw new Error(`CONNACK ${connack.toString('hex')}`)
}

/** Runs `count` steps, at most `atOnce` of them at a time. */
export async function inParallel(count: number, atOnce: number, step: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await step(next++)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker))
}
