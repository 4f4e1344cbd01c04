import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Root of the repository, found from this file whether it runs from source or from dist. */
export const repositoryRoot: string = findRoot(dirname(fileURLToPath(import.meta.url)))

function findRoot(from: string): string {
  return existsSync(join(from, 'package-lock.json')) ? from : findRoot(dirname(from))
}

/** A broker that tests talk to. */
export interface BrokerUnderTest {
  readonly target: 'midge' | 'mosquitto' | 'remote'
  readonly host: string
  readonly port: number
  /** 0 when there is no WebSocket listener. */
  readonly wsPort: number
  /** A user that may connect. */
  readonly user: string
  readonly password: string
  /** Throws when the broker's process is gone. */
  assertRunning(): void
  stop(): Promise<void>
}

/** What a test file asks of its broker. */
export interface BrokerOptions {
  /** Further settings of a Midge node; other targets refuse them. */
  readonly env?: Readonly<Record<string, string>>
}

/** A port on which nothing listens. */
export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

async function poll(what: string, ok: () => Promise<boolean>, output: () => string): Promise<void> {
  const deadline = Date.now() + 30_000
  while (Date.now() < deadline) {
    if (await ok()) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  throw new Error(`${what} did not become ready within 30 s:\n${output().slice(-4000)}`)
}

async function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connectTcp({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

class Child {
  readonly process: ChildProcess
  output = ''
  exited: string | undefined
  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.process = spawn(command, args, { cwd: repositoryRoot, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const keep = (chunk: Buffer): void => {
      this.output = (this.output + chunk.toString()).slice(-20_000)
    }
    this.process.stdout?.on('data', keep)
    this.process.stderr?.on('data', keep)
    this.process.on('exit', (code, signal) => {
      this.exited = `code ${code}, signal ${signal}`
    })
    this.process.on('error', error => {
      this.exited = error.message
    })
  }
  assertRunning(): void {
    if (this.exited) throw new Error(`the broker's process is gone (${this.exited}):\n${this.output.slice(-4000)}`)
  }
  async stop(): Promise<void> {
    if (this.exited) return
    const gone = new Promise<void>(resolve => this.process.once('exit', () => resolve()))
    this.process.kill('SIGKILL')
    await gone
  }
}

async function startMidge(options: BrokerOptions): Promise<BrokerUnderTest> {
  const [port, wsPort, httpPort] = [await freePort(), await freePort(), await freePort()]
  const user = 'conformance'
  const password = 'correct horse battery staple'
  // A node refuses settings that it does not know, and these tests' own variables look like settings.
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MIDGE_')))
  const env = {
    ...inherited,
    MIDGE_LISTENERS_TCP_HOST: '127.0.0.1',
    MIDGE_LISTENERS_TCP_PORT: String(port),
    MIDGE_LISTENERS_WS_PORT: String(wsPort),
    MIDGE_HTTP_HOST: '127.0.0.1',
    MIDGE_HTTP_PORT: String(httpPort),
    MIDGE_DATA_DIR: ':memory:',
    MIDGE_AUTH_ANONYMOUS: 'true',
    // One user fails on purpose many times from one address.
    MIDGE_AUTH_FAILURES_MAX: '1000000',
    MIDGE_BOOTSTRAP_USER: user,
    MIDGE_BOOTSTRAP_PASSWORD: password,
    ...options.env,
  }
  const child = new Child(process.execPath, ['packages/broker-node/bin/midge.js', 'start'], env)
  const ready = async (): Promise<boolean> => {
    child.assertRunning()
    const answer = await fetch(`http://127.0.0.1:${httpPort}/readyz`).catch(() => undefined)
    await answer?.arrayBuffer()
    return answer?.status === 200
  }
  try {
    await poll('the Midge node', ready, () => child.output)
  } catch (error) {
    await child.stop()
    throw error
  }
  const assertRunning = (): void => child.assertRunning()
  return { target: 'midge', host: '127.0.0.1', port, wsPort, user, password, assertRunning, stop: () => child.stop() }
}

async function startMosquitto(options: BrokerOptions): Promise<BrokerUnderTest> {
  const [port, wsPort] = [await freePort(), await freePort()]
  const user = 'conformance'
  const password = 'correct horse battery staple'
  const dir = mkdtempSync(join(tmpdir(), 'mosquitto-'))
  const passwords = join(dir, 'passwords')
  writeFileSync(passwords, '', { mode: 0o644 })
  execFileSync('mosquitto_passwd', ['-b', passwords, user, password], { stdio: 'ignore' })
  const config = [
    `listener ${port} 127.0.0.1`,
    `listener ${wsPort} 127.0.0.1`,
    'protocol websockets',
    `allow_anonymous ${options.env?.['MIDGE_AUTH_ANONYMOUS'] ?? 'true'}`,
    `password_file ${passwords}`,
    'persistence false',
    'user root',
    'max_packet_size 4194304',
    'max_inflight_messages 100',
    'max_queued_messages 0',
  ]
  writeFileSync(join(dir, 'mosquitto.conf'), `${config.join('\n')}\n`)
  const child = new Child('mosquitto', ['-c', join(dir, 'mosquitto.conf')], process.env)
  const ready = async (): Promise<boolean> => {
    child.assertRunning()
    return (await accepts(port)) && (await accepts(wsPort))
  }
  await poll('Mosquitto', ready, () => child.output)
  const stop = async (): Promise<void> => {
    await child.stop()
    rmSync(dir, { recursive: true, force: true })
  }
  const assertRunning = (): void => child.assertRunning()
  return { target: 'mosquitto', host: '127.0.0.1', port, wsPort, user, password, assertRunning, stop }
}

/**
 * Starts the broker that the environment names, or connects to one that runs.
 *
 * `MIDGE_TEST_TARGET` is absent (start a Midge node), `mosquitto` (start Mosquitto) or `tcp:host:port` (anything
 * that listens there, such as the load balancer of a cluster; `MIDGE_TEST_WS_PORT`, `MIDGE_TEST_USER` and
 * `MIDGE_TEST_PASSWORD` say the rest).
 */
export async function startBroker(options: BrokerOptions = {}): Promise<BrokerUnderTest> {
  const target = process.env['MIDGE_TEST_TARGET'] ?? 'midge'
  if (target === 'midge') return startMidge(options)
  if (target === 'mosquitto') return startMosquitto(options)
  const match = /^tcp:(.+):(\d+)$/.exec(target)
  if (!match?.[1]) throw new Error(`MIDGE_TEST_TARGET is not understood: ${target}`)
  return {
    target: 'remote',
    host: match[1],
    port: Number(match[2]),
    wsPort: Number(process.env['MIDGE_TEST_WS_PORT'] ?? 0),
    user: process.env['MIDGE_TEST_USER'] ?? 'conformance',
    password: process.env['MIDGE_TEST_PASSWORD'] ?? 'correct horse battery staple',
    assertRunning: () => undefined,
    stop: async () => undefined,
  }
}
