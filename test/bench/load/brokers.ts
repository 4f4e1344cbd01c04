import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, repositoryRoot } from '../../support/broker-under-test.ts'

const READY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 20_000
const OUTPUT_CHARS_MAX = 4000
const USER = 'bench'
const PASSWORD = 'bench-password'

/** The brokers that the bench knows, in the order of its tables. */
export const BROKER_NAMES = ['midge', 'mosquitto', 'flashmq', 'nats', 'aedes'] as const
/** Name of a broker that the bench knows. */
export type BrokerName = (typeof BROKER_NAMES)[number]

/** What a case needs behind its ports. */
export interface Setting {
  /** Two nodes where the broker can: publishers on the first, subscribers on the second. */
  readonly isCluster: boolean
  /** Sessions are stored in Redis where the broker can. */
  readonly isOnRedis: boolean
  readonly isAnonymous: boolean
  /** Where Midge's nodes leave CPU profiles when they end. */
  readonly profileFolder?: string
}

/** A broker that runs. */
export interface RunningBroker {
  readonly publishPort: number
  readonly subscribePort: number
  readonly user: string | undefined
  readonly password: string | undefined
  /** Processes of the broker itself. */
  readonly pids: readonly number[]
  stop(): Promise<void>
}

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Processes and folders of one broker; all end together. */
class Scope {
  readonly #signal: NodeJS.Signals
  readonly #children: ChildProcess[] = []
  readonly #folders: string[] = []

  /** @param signal - what ends its processes */
  constructor(signal: NodeJS.Signals) {
    this.#signal = signal
  }

  folder(): string {
    const path = mkdtempSync(join(tmpdir(), 'midge-bench-'))
    this.#folders.push(path)
    return path
  }

  /** Starts a process and waits until `isReady`. @returns its id */
  async start(command: string, args: readonly string[], isReady: () => Promise<boolean>, env = {}): Promise<number> {
    const stdio = ['ignore', 'pipe', 'pipe'] as const
    const child = spawn(command, args, {
      cwd: repositoryRoot,
      env: { ...bareEnvironment(), ...env },
      stdio: [...stdio],
    })
    this.#children.push(child)
    running.add(child)
    let output = ''
    let end: string | undefined
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-OUTPUT_CHARS_MAX)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    child.once('error', error => {
      end = error.message
    })
    child.once('exit', (code, signal) => {
      end = `code ${code}, signal ${signal}`
      running.delete(child)
    })
    const deadline = Date.now() + READY_TIMEOUT_MS
    while (!(await isReady())) {
      if (end !== undefined) throw new Error(`${command} ended (${end}):\n${output}`)
      if (Date.now() > deadline) throw new Error(`${command} is not ready after ${READY_TIMEOUT_MS} ms:\n${output}`)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    if (child.pid === undefined) throw new Error(`${command} has no process id`)
    return child.pid
  }

  async redis(): Promise<number> {
    const port = await freePort()
    const quiet = ['--save', '', '--appendonly', 'no', '--bind', '127.0.0.1', '--dir', this.folder()]
    await this.start('redis-server', ['--port', String(port), ...quiet], () => accepts(port))
    return port
  }

  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (!running.has(child)) continue
      const gone = new Promise(resolve => child.once('exit', resolve))
      child.kill(this.#signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
      await gone
      clearTimeout(timer)
    }
    for (const path of this.#folders) rmSync(path, { recursive: true, force: true })
  }
}

/** A node must see only the settings that the bench gives it. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith('MIDGE_'))
  return Object.fromEntries(entries)
}

async function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function startMosquitto(scope: Scope): Promise<RunningBroker> {
  const port = await freePort()
  const config = join(scope.folder(), 'mosquitto.conf')
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'persistence false',
    'max_inflight_messages 0',
    'max_queued_messages 0',
    'max_queued_bytes 0',
    'log_type error',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const pid = await scope.start('mosquitto', ['-c', config], () => accepts(port))
  return single(scope, port, pid)
}

/** One thread, as the other brokers of one process have. */
async function startFlashMq(scope: Scope): Promise<RunningBroker> {
  const port = await freePort()
  const folder = scope.folder()
  const config = join(folder, 'flashmq.conf')
  const lines = [
    `log_file ${join(folder, 'flashmq.log')}`,
    'quiet true',
    'allow_anonymous true',
    'thread_count 1',
    // More than any case opens; the default asks for more than a user may have.
    'rlimit_nofile 16384',
    'max_qos_msg_pending_per_client 65535',
    'max_qos_bytes_pending_per_client 268435456',
    'listen {',
    '  protocol mqtt',
    '  inet_protocol ip4',
    '  inet4_bind_address 127.0.0.1',
    `  port ${port}`,
    '}',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const pid = await scope.start('flashmq', ['--config-file', config], () => accepts(port))
  return single(scope, port, pid)
}

async function startNats(scope: Scope): Promise<RunningBroker> {
  const [port, mqttPort] = [await freePort(), await freePort()]
  const folder = scope.folder()
  const config = join(folder, 'nats.conf')
  const lines = [
    'server_name: bench',
    `listen: "127.0.0.1:${port}"`,
    `jetstream { store_dir: "${folder}" }`,
    `mqtt { listen: "127.0.0.1:${mqttPort}", max_ack_pending: 10000 }`,
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  const pid = await scope.start('nats-server', ['-c', config], () => accepts(mqttPort))
  return single(scope, mqttPort, pid)
}

function single(scope: Scope, port: number, pid: number): RunningBroker {
  const [user, password] = [undefined, undefined]
  return { publishPort: port, subscribePort: port, user, password, pids: [pid], stop: () => scope.stop() }
}

async function startAedes(scope: Scope, setting: Setting): Promise<RunningBroker> {
  const script = fileURLToPath(new URL('stock-aedes/main.js', import.meta.url))
  const redis = setting.isCluster || setting.isOnRedis ? [String(await scope.redis())] : []
  const startNode = async (): Promise<{ port: number; pid: number }> => {
    const port = await freePort()
    return { port, pid: await scope.start(process.execPath, [script, String(port), ...redis], () => accepts(port)) }
  }
  const first = await startNode()
  if (!setting.isCluster) return single(scope, first.port, first.pid)
  const second = await startNode()
  return { ...single(scope, first.port, first.pid), subscribePort: second.port, pids: [first.pid, second.pid] }
}

async function startMidge(scope: Scope, setting: Setting): Promise<RunningBroker> {
  const redisPort = setting.isCluster || setting.isOnRedis ? await scope.redis() : undefined
  const startNode = async (name: string): Promise<{ port: number; pid: number }> => {
    const [port, httpPort] = [await freePort(), await freePort()]
    const env = {
      MIDGE_NODE_ID: name,
      MIDGE_DATA_DIR: 'memory',
      MIDGE_LISTENERS_TCP_HOST: '127.0.0.1',
      MIDGE_LISTENERS_TCP_PORT: String(port),
      MIDGE_LISTENERS_WS_PORT: '0',
      MIDGE_HTTP_HOST: '127.0.0.1',
      MIDGE_HTTP_PORT: String(httpPort),
      MIDGE_LOG_LEVEL: 'warn',
      MIDGE_BOOTSTRAP_USER: USER,
      MIDGE_BOOTSTRAP_PASSWORD: PASSWORD,
      MIDGE_AUTH_ANONYMOUS: String(setting.isAnonymous),
      ...(redisPort === undefined ? {} : { MIDGE_REDIS_URL: `redis://127.0.0.1:${redisPort}` }),
    }
    const isReady = async (): Promise<boolean> => {
      const answer = await fetch(`http://127.0.0.1:${httpPort}/readyz`).catch(() => undefined)
      await answer?.arrayBuffer()
      return answer?.status === 200
    }
    const { profileFolder } = setting
    const flags = profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`]
    const args = [...flags, 'packages/broker-node/bin/midge.js', 'start']
    return { port, pid: await scope.start(process.execPath, args, isReady, env) }
  }
  const first = await startNode('bench-1')
  const identity = setting.isAnonymous ? {} : { user: USER, password: PASSWORD }
  const one = { ...single(scope, first.port, first.pid), ...identity }
  if (!setting.isCluster) return one
  const second = await startNode('bench-2')
  return { ...one, subscribePort: second.port, pids: [first.pid, second.pid] }
}

/** Starts a broker on free ports. @throws with its last output when it does not get ready */
export async function startBroker(name: BrokerName, setting: Setting): Promise<RunningBroker> {
  // A process that is killed writes no profile.
  const scope = new Scope(setting.profileFolder === undefined ? 'SIGKILL' : 'SIGTERM')
  try {
    if (name === 'midge') return await startMidge(scope, setting)
    if (name === 'aedes') return await startAedes(scope, setting)
    if (name === 'flashmq') return await startFlashMq(scope)
    return await (name === 'nats' ? startNats(scope) : startMosquitto(scope))
  } catch (error) {
    await scope.stop()
    throw error
  }
}

/** Some programs say their version with an exit code of 1 or more. */
function firstLine(command: string, args: readonly string[]): string {
  return spawnSync(command, args, { encoding: 'utf8' }).stdout.split('\n')[0] ?? ''
}

function isOnPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some(folder => folder !== '' && existsSync(join(folder, program)))
}

function packageVersion(folder: string): string {
  return (JSON.parse(readFileSync(join(repositoryRoot, folder, 'package.json'), 'utf8')) as { version: string }).version
}

/** @returns the version of a broker, or `undefined` when it is not installed */
export function brokerVersion(name: BrokerName): string | undefined {
  if (name === 'midge') return packageVersion('packages/broker-node')
  if (name === 'aedes') return packageVersion('node_modules/aedes')
  if (name === 'nats')
    return isOnPath('nats-server') ? firstLine('nats-server', ['--version']).replace(/^.*v/, '') : undefined
  if (name === 'flashmq')
    return isOnPath('flashmq') ? firstLine('flashmq', ['--version']).replace(/^[^\d]*/, '') : undefined
  return isOnPath('mosquitto') ? firstLine('mosquitto', ['-h']).replace(/^.*version /, '') : undefined
}
