import mqtt, {
  type IClientOptions,
  type IConnackPacket,
  type IPublishPacket,
  type ISubscriptionGrant,
  type MqttClient,
} from 'mqtt'
import { PASSWORD, USER } from './midge-node.ts'
import { type ProcessEnd, TestProcess } from './test-process.ts'
import { until, within } from './until.ts'

/** MQTT.js does not heed the Receive Maximum of the broker, which is 100. */
const PUBLISH_WINDOW = 50

/** One message as a client received it. */
export interface Received {
  readonly topic: string
  readonly text: string
  readonly payload: Buffer
  readonly qos: number
  readonly retain: boolean
  readonly dup: boolean
  readonly packet: IPublishPacket
}

/** Where and how to connect; everything of MQTT.js may be given too. */
export interface ClientOptions extends IClientOptions {
  readonly port: number
  /** `mqtt`, `mqtts`, `ws` or `wss`; `mqtt` when absent. */
  readonly scheme?: 'mqtt' | 'mqtts' | 'ws' | 'wss'
  /** Without user and password. */
  readonly anonymous?: boolean
}

/** MQTT.js with promises; it never reconnects by itself. */
export class TestClient {
  readonly client: MqttClient
  readonly connack: IConnackPacket
  readonly received: Received[]
  /** Reason code of a DISCONNECT of the broker (MQTT 5). */
  disconnectReason: number | undefined
  isClosed = false

  constructor(client: MqttClient, connack: IConnackPacket, received: Received[]) {
    this.client = client
    this.connack = connack
    this.received = received
    client.on('disconnect', packet => {
      this.disconnectReason = packet.reasonCode
    })
    client.on('close', () => {
      this.isClosed = true
    })
  }

  get clientId(): string {
    return this.client.options.clientId ?? ''
  }

  /** Resolves with what SUBACK granted. */
  async subscribe(topicFilter: string | string[], qos: 0 | 1 | 2 = 0): Promise<ISubscriptionGrant[]> {
    return within(`SUBACK for ${topicFilter}`, this.client.subscribeAsync(topicFilter, { qos }))
  }

  /** Resolves when the broker has acknowledged as the QoS asks. */
  async publish(topicName: string, payload: string | Buffer, qos: 0 | 1 | 2 = 0, retain = false): Promise<void> {
    await within(`the acknowledgement of ${topicName}`, this.client.publishAsync(topicName, payload, { qos, retain }))
  }

  /** Publishes these texts to one topic in order, at most `PUBLISH_WINDOW` of them unacknowledged at a time. */
  async publishAll(topicName: string, texts: readonly string[], qos: 0 | 1 | 2): Promise<void> {
    for (let at = 0; at < texts.length; at += PUBLISH_WINDOW) {
      await Promise.all(texts.slice(at, at + PUBLISH_WINDOW).map(text => this.publish(topicName, text, qos)))
    }
  }

  /** Waits until at least `count` messages are here; gives all of them. */
  async untilReceived(count: number, withinMs: number = 10_000): Promise<readonly Received[]> {
    const seen = (): string => `(${this.received.length} of ${count} messages are here)`
    await until(`${count} messages`, () => this.received.length >= count, withinMs, seen)
    return this.received
  }

  /** Texts of everything that has come, in order. */
  texts(): string[] {
    return this.received.map(message => message.text)
  }

  /** Waits until the connection has ended. */
  async untilClosed(withinMs: number = 10_000): Promise<void> {
    await until(`the end of the connection of ${this.clientId}`, () => this.isClosed, withinMs)
  }

  /** DISCONNECT. */
  async end(): Promise<void> {
    if (!this.isClosed) await within('DISCONNECT', this.client.endAsync())
  }

  /** Drops the connection without DISCONNECT. */
  async drop(): Promise<void> {
    if (this.isClosed) return
    const closed = new Promise<void>(resolve => {
      this.client.once('close', () => resolve())
    })
    this.client.stream.destroy()
    await within('the close of a dropped connection', closed)
    this.client.end(true)
  }
}

/**
 * Connects MQTT.js and waits for CONNACK; without other credentials as the first user of the test nodes.
 *
 * @throws what the broker answered, when it refused
 */
export async function connectClient(options: ClientOptions): Promise<TestClient> {
  const { scheme = 'mqtt', port, anonymous = false, ...rest } = options
  const path = scheme === 'ws' || scheme === 'wss' ? '/mqtt' : ''
  const client = mqtt.connect(`${scheme}://127.0.0.1:${port}${path}`, {
    ...(anonymous ? {} : { username: USER, password: PASSWORD }),
    protocolVersion: 4,
    reconnectPeriod: 0,
    connectTimeout: 10_000,
    ...rest,
  })
  const received: Received[] = []
  // Before CONNACK, because a resumed session is sent its messages right after it.
  client.on('message', (topic, payload, packet) => {
    const { qos, retain, dup } = packet
    received.push({ topic, text: payload.toString(), payload, qos, retain, dup, packet })
  })
  const connected = new Promise<TestClient>((resolve, reject) => {
    client.once('connect', connack => resolve(new TestClient(client, connack, received)))
    client.once('error', reject)
    client.once('close', () => reject(new Error('the broker closed the connection before CONNACK')))
  })
  try {
    const one = await within('CONNACK', connected, 15_000)
    client.on('error', () => {})
    return one
  } catch (error) {
    client.end(true)
    throw error
  }
}

/** How `mosquitto_pub` and `mosquitto_sub` reach a broker. */
export interface MosquittoOptions {
  readonly port: number
  /** `-V`. */
  readonly version: '311' | '5'
  readonly host?: string
  readonly user?: string
  readonly password?: string
  /** Without user and password. */
  readonly anonymous?: boolean
  readonly caFile?: string
  readonly certFile?: string
  readonly keyFile?: string
}

function commonArguments(options: MosquittoOptions): string[] {
  const args = ['-h', options.host ?? '127.0.0.1', '-p', String(options.port), '-V', options.version]
  if (options.anonymous !== true) args.push('-u', options.user ?? USER, '-P', options.password ?? PASSWORD)
  if (options.caFile !== undefined) args.push('--cafile', options.caFile)
  if (options.certFile !== undefined) args.push('--cert', options.certFile)
  if (options.keyFile !== undefined) args.push('--key', options.keyFile)
  return args
}

/** Runs `mosquitto_pub` to its end. @throws with what it said when it failed */
export async function mosquittoPub(options: MosquittoOptions, args: readonly string[]): Promise<void> {
  const program = new TestProcess('mosquitto_pub', 'mosquitto_pub', [...commonArguments(options), ...args])
  const end = await program.end()
  if (end.code !== 0) throw new Error(`mosquitto_pub ended with ${end.code}: ${program.tail()}`)
}

/** One line of `mosquitto_sub`. */
export interface MosquittoMessage {
  readonly topic: string
  readonly qos: number
  readonly retain: boolean
  readonly text: string
}

/** A running `mosquitto_sub`. */
export class MosquittoSub {
  readonly program: TestProcess

  constructor(options: MosquittoOptions, args: readonly string[]) {
    const format = ['-F', 'message|%q|%r|%t|%p', '-d']
    // Line buffering, or nothing is seen until it ends.
    const line = ['-oL', 'mosquitto_sub', ...commonArguments(options), ...format, ...args]
    this.program = new TestProcess('mosquitto_sub', 'stdbuf', line)
  }

  /** Resolves when SUBACK has come. */
  async untilSubscribed(): Promise<void> {
    const seen = (): boolean => {
      if (!this.program.isRunning) throw new Error(`mosquitto_sub ended: ${this.program.tail()}`)
      return /^Subscribed \(mid/m.test(this.program.stdout + this.program.stderr)
    }
    await until('SUBACK at mosquitto_sub', seen, 10_000, () => this.program.tail())
  }

  get received(): MosquittoMessage[] {
    const lines = this.program.stdout.split('\n').filter(line => line.startsWith('message|'))
    return lines.map(line => {
      const [qos = '', retain = '', topic = '', ...text] = line.split('|').slice(1)
      return { topic, qos: Number(qos), retain: retain === '1', text: text.join('|') }
    })
  }

  async untilReceived(count: number): Promise<MosquittoMessage[]> {
    const enough = (): boolean => this.received.length >= count
    await until(`${count} messages at mosquitto_sub`, enough, 10_000, () => this.program.tail())
    return this.received
  }

  /** Waits for an end by itself (`-C`). */
  async end(): Promise<ProcessEnd> {
    return this.program.end()
  }

  /** SIGTERM, on which it sends DISCONNECT. */
  async stop(): Promise<void> {
    this.program.kill('SIGTERM')
    await this.program.end()
  }
}
