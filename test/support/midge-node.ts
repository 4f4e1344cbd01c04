import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach } from 'node:test'
import { freePort } from './broker-under-test.ts'
import { killLeftovers, type ProcessEnd, TestProcess } from './test-process.ts'
import { until } from './until.ts'

/** First user of every node that tests start. */
export const USER = 'e2e'
export const PASSWORD = 'a password with spaces'

/** Which listeners a node has besides TCP, and whatever settings a test wants. */
export interface NodeOptions {
  readonly name?: string
  readonly env?: Readonly<Record<string, string>>
  readonly withTls?: boolean
  readonly withWebSocket?: boolean
  /** Keep the store in a fresh temporary folder and not in memory. */
  readonly onDisk?: boolean
}

/** Ports of one node; 0 where there is no listener. */
export interface NodePorts {
  readonly tcp: number
  readonly tls: number
  readonly ws: number
  readonly wss: number
  readonly http: number
}

/** One broker node in a process of its own, on free ports; it can die and come back on the same data and ports. */
export class MidgeNode {
  readonly name: string
  readonly host = '127.0.0.1'
  readonly ports: NodePorts
  private readonly env: Readonly<Record<string, string>>
  private readonly folder: string
  private current: TestProcess
  private readonly earlier: TestProcess[] = []

  private constructor(name: string, ports: NodePorts, env: Readonly<Record<string, string>>, folder: string) {
    this.name = name
    this.ports = ports
    this.env = env
    this.folder = folder
    this.current = this.spawn()
  }

  /** Starts a node without waiting for anything. */
  static async launch(options: NodeOptions = {}): Promise<MidgeNode> {
    const folder = await mkdtemp(join(tmpdir(), 'midge-e2e-'))
    const port = async (wanted: boolean | undefined): Promise<number> => (wanted ? freePort() : 0)
    const secure = options.withTls === true
    const ports = {
      tcp: await freePort(),
      tls: await port(secure),
      ws: await port(options.withWebSocket),
      wss: await port(secure && options.withWebSocket),
      http: await freePort(),
    }
    const name = options.name ?? 'node'
    const env = {
      MIDGE_NODE_ID: name,
      MIDGE_DATA_DIR: options.onDisk ? join(folder, 'data') : 'memory',
      MIDGE_LISTENERS_TCP_HOST: '127.0.0.1',
      MIDGE_LISTENERS_TCP_PORT: String(ports.tcp),
      MIDGE_LISTENERS_TLS_PORT: String(ports.tls),
      MIDGE_LISTENERS_WS_PORT: String(ports.ws),
      MIDGE_LISTENERS_WSS_PORT: String(ports.wss),
      MIDGE_HTTP_PORT: String(ports.http),
      MIDGE_BOOTSTRAP_USER: USER,
      MIDGE_BOOTSTRAP_PASSWORD: PASSWORD,
      MIDGE_AUTH_ANONYMOUS: 'true',
      MIDGE_LOG_LEVEL: 'info',
      ...options.env,
    }
    return new MidgeNode(name, ports, env, folder)
  }

  /** Starts a node and waits until it is ready. */
  static async start(options: NodeOptions = {}): Promise<MidgeNode> {
    const node = await MidgeNode.launch(options)
    await node.untilReady()
    return node
  }

  private spawn(): TestProcess {
    return new TestProcess(this.name, process.execPath, ['packages/broker-node/bin/midge.js', 'start'], {
      env: this.env,
    })
  }

  get port(): number {
    return this.ports.tcp
  }

  get pid(): number {
    return this.current.pid
  }

  get isRunning(): boolean {
    return this.current.isRunning
  }

  /** Status code of `/readyz`; 0 when nothing answers. */
  async readyz(): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${this.ports.http}/readyz`).catch(() => undefined)
    await answer?.arrayBuffer()
    return answer?.status ?? 0
  }

  /** @throws with the node's log when it does not become ready, and at once when its process ends */
  async untilReady(withinMs: number = 30_000): Promise<void> {
    const look = async (): Promise<boolean> => {
      if (!this.isRunning) throw new Error(`${this.name} ended while it was to become ready\n${this.current.tail()}`)
      return (await this.readyz()) === 200
    }
    await until(`${this.name} to be ready`, look, withinMs, () => this.current.tail())
  }

  /** One number of `/metrics`, summed over its labels. @throws when there is no such metric */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.ports.http}/metrics`)).text()
    const lines = text.split('\n').filter(line => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    if (lines.length === 0) throw new Error(`${this.name} has no metric ${name}`)
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }

  /** `/status` as it is. */
  async status(): Promise<Record<string, unknown>> {
    const answer = await fetch(`http://127.0.0.1:${this.ports.http}/status`)
    return (await answer.json()) as Record<string, unknown>
  }

  /** Connections that it holds now. */
  async connections(): Promise<number> {
    const { counts } = (await this.status()) as { counts: { connections: number } }
    return counts.connections
  }

  /** `kill -9`; resolves when the process is gone. */
  async kill9(): Promise<void> {
    await this.current.kill9()
  }

  /** Starts it again after its death: same ports, same node id, same data. */
  async restart(): Promise<void> {
    if (this.isRunning) throw new Error(`${this.name} still runs`)
    this.earlier.push(this.current)
    this.current = this.spawn()
    await this.untilReady()
  }

  /** SIGTERM; resolves when it has drained and ended. */
  async drain(withinMs: number = 20_000): Promise<ProcessEnd> {
    this.current.kill('SIGTERM')
    return this.current.end(withinMs)
  }

  /** Waits for an end that is expected to come by itself. */
  async end(withinMs: number = 15_000): Promise<ProcessEnd> {
    return this.current.end(withinMs)
  }

  /** Everything it has written, of this life. */
  get output(): string {
    return this.current.stdout + this.current.stderr
  }

  /** Log lines of level `error`, of every life. */
  errors(): string {
    const lines = [...this.earlier, this.current].flatMap(life => life.stdout.split('\n'))
    return lines
      .filter(line => line.includes('"level":"error"'))
      .map(line => `${line}\n`)
      .join('')
  }

  /** End of the log of every life, for an error text. */
  tail(): string {
    return [...this.earlier, this.current].map(life => life.tail(2500)).join('\n')
  }

  /** Ends it at once and removes its files. */
  async stop(): Promise<void> {
    if (this.isRunning) await this.current.kill9()
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** Prints the logs of these nodes after every test that failed, and leaves no process behind at the end of the file. */
export function watchNodes(nodes: () => readonly (MidgeNode | undefined)[]): void {
  afterEach(context => {
    // `passed` is not in the type of the hook's context, which is the test's own.
    if ((context as { passed?: boolean }).passed !== false) return
    for (const node of nodes()) if (node !== undefined) process.stderr.write(`${node.tail()}\n`)
  })
  after(async () => {
    // A hook that failed is no test, so what went wrong in one would not be seen otherwise.
    for (const node of nodes()) if (node !== undefined) process.stderr.write(node.errors())
    await killLeftovers()
  })
}
