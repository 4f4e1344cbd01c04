import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const START_TIMEOUT_MS = 10_000

/** A Redis server of a test's own. */
export interface TestRedis {
  readonly port: number
  /** `redis://127.0.0.1:<port>`. */
  readonly url: string
  readonly pid: number
  /** Stops answering without closing anything; {@link resume} ends it. */
  pause(): void
  resume(): void
  /** Dies at once; what was not saved is lost. */
  kill(): Promise<void>
  /** Starts again on the same port, after {@link kill}. */
  restart(): Promise<void>
  /** Ends the server and removes its files. */
  stop(): Promise<void>
}

/**
 * Starts `redis-server` on a free port, without persistence unless `args` say otherwise.
 *
 * @param args - further settings, for example `['--appendonly', 'yes']`
 * @throws an error of one line when the server is not installed: tests never skip for want of it
 */
export async function startRedis(args: string[] = []): Promise<TestRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'midge-redis-'))
  const port = await freePort()
  let child = await launch(port, directory, args)
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  const killAtExit = (): void => {
    child.kill('SIGKILL')
  }
  process.once('exit', killAtExit)
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return child.pid ?? 0
    },
    pause: () => {
      child.kill('SIGSTOP')
    },
    resume: () => {
      child.kill('SIGCONT')
    },
    kill,
    restart: async () => {
      await kill()
      child = await launch(port, directory, args)
    },
    stop: async () => {
      process.removeListener('exit', killAtExit)
      await kill()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function launch(port: number, directory: string, args: string[]): Promise<ChildProcess> {
  const fixed = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory]
  const child = spawn('redis-server', [...fixed, ...args], { stdio: 'ignore' })
  const failed = new Promise<never>((_, reject) => {
    child.once('error', error => {
      const isMissing = 'code' in error && error.code === 'ENOENT'
      reject(isMissing ? new Error('redis-server is not installed: apt-get install redis-server') : error)
    })
    child.once('exit', code => {
      reject(new Error(`redis-server ended with code ${code} while starting on port ${port}`))
    })
  })
  // Once the server runs nobody listens to this any more.
  failed.catch(() => {})
  await Promise.race([failed, untilAnswers(port)])
  return child
}

async function untilAnswers(port: number): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await answers(port))) {
    if (Date.now() > deadline) throw new Error(`redis-server did not answer on port ${port}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.once('data', data => {
      // One that asks for a password runs too.
      resolve(/^(?:\+PONG|-NOAUTH)/.test(data.toString('latin1')))
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
  })
}

/** @returns a port that nobody has; somebody may take it before it is used */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
