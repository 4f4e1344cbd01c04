import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './broker-under-test.ts'
import { type ClientOptions, connectClient, type TestClient } from './clients.ts'
import { PASSWORD, USER } from './midge-node.ts'
import { startMosquitto } from './mosquitto-process.ts'
import type { TestProcess } from './test-process.ts'
import { until } from './until.ts'

/** What a bridge may speak; `undefined` leaves it to Mosquitto. */
export type BridgeVersion = 'mqttv31' | 'mqttv311' | 'mqttv50' | undefined

/** Where a bridge goes. */
export interface BridgeOptions {
  readonly port: number
  readonly version?: BridgeVersion
  /** `<topic> <direction> <qos>`, as in mosquitto.conf; all topics, both ways, at QoS 2 when absent. */
  readonly topics?: readonly string[]
}

/** A Mosquitto of its own that bridges to a port; whatever is not said here is at Mosquitto's defaults. */
export class MosquittoBridge {
  readonly port: number
  /** Under `$SYS/broker/connection/`. */
  readonly name: string
  private readonly folder: string
  private readonly program: TestProcess

  private constructor(of: { port: number; name: string; folder: string }, program: TestProcess) {
    this.port = of.port
    this.name = of.name
    this.folder = of.folder
    this.program = program
  }

  /** Starts it and waits until it accepts connections; see {@link untilBridged} for the bridge. */
  static async start(options: BridgeOptions): Promise<MosquittoBridge> {
    const folder = await mkdtemp(join(tmpdir(), 'midge-e2e-bridge-'))
    const port = await freePort()
    const name = `bridge-${port}`
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'user root',
      // What its own clients wait for is not what is tested.
      'max_queued_messages 0',
      `connection ${name}`,
      `address 127.0.0.1:${options.port}`,
      `remote_clientid ${name}`,
      `remote_username ${USER}`,
      `remote_password ${PASSWORD}`,
      'restart_timeout 1',
      ...(options.topics ?? ['# both 2']).map(topic => `topic ${topic}`),
    ]
    if (options.version !== undefined) lines.push(`bridge_protocol_version ${options.version}`)
    await writeFile(join(folder, 'mosquitto.conf'), `${lines.join('\n')}\n`)
    return new MosquittoBridge({ port, name, folder }, await startMosquitto(join(folder, 'mosquitto.conf')))
  }

  /** Everything that Mosquitto has logged. */
  get log(): string {
    return this.program.stdout + this.program.stderr
  }

  /** How often the broker at the other end has accepted the bridge. */
  get connects(): number {
    return this.log.split('Received CONNACK on connection').length - 1
  }

  /** Waits until the bridge has its subscriptions, for the given time in its life. */
  async untilBridged(times: number = 1): Promise<void> {
    const count = (): number => this.log.split('Received SUBACK').length - 1
    await until(
      `SUBACK number ${times} at the bridge`,
      () => count() >= times,
      15_000,
      () => this.tail(),
    )
  }

  /** A client of this Mosquitto. */
  connect(options: Omit<ClientOptions, 'port'> = {}): Promise<TestClient> {
    return connectClient({ ...options, port: this.port, anonymous: true })
  }

  tail(): string {
    return this.program.tail()
  }

  async stop(): Promise<void> {
    await this.program.kill9()
    await rm(this.folder, { recursive: true, force: true })
  }
}
