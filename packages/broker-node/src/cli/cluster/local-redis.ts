import { mkdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { BrokerError } from '@midge/protocol-core'
import { Child } from './child.ts'

const START_TIMEOUT_MS = 15_000
const RETRY_MS = 50
const INSTALL_HINT =
  'redis-server is not installed: `sudo apt-get install redis-server` or `brew install redis`, ' +
  'or name a running Redis with --redis redis://host:6379'

/** Starts a Redis for this cluster alone, which keeps its data under `dataDir`; resolves when it answers. */
export async function startLocalRedis(dataDir: string, port: number): Promise<Child> {
  const folder = join(dataDir, 'redis')
  mkdirSync(folder, { recursive: true })
  const child = await launch(folder, port)
  const deadlineMs = Date.now() + START_TIMEOUT_MS
  while (!(await answersPing(port))) {
    if (!child.isRunning || Date.now() > deadlineMs) {
      child.kill()
      throw new BrokerError('MIDGE_STORE_UNAVAILABLE', `redis-server did not start: ${child.logTail()}`)
    }
    await new Promise(resolve => setTimeout(resolve, RETRY_MS))
  }
  return child
}

async function launch(folder: string, port: number): Promise<Child> {
  const settings: Record<string, string> = {
    port: String(port),
    bind: '127.0.0.1',
    dir: folder,
    daemonize: 'no',
    save: '',
    appendonly: 'yes',
    appendfsync: 'everysec',
    // With any other policy Redis would throw away sessions when memory is short.
    'maxmemory-policy': 'noeviction',
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  try {
    return await Child.start({ name: 'redis', command: 'redis-server', args, logFile: join(folder, 'redis.log') })
  } catch (error) {
    throw new BrokerError('MIDGE_STORE_UNAVAILABLE', INSTALL_HINT, { cause: error })
  }
}

/** One inline command is less than a client library, and this folder must not know one. */
function answersPing(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ port, host: '127.0.0.1' })
    const finish = (isPong: boolean): void => {
      socket.destroy()
      resolve(isPong)
    }
    socket.setTimeout(1000, () => finish(false))
    socket.once('error', () => finish(false))
    socket.once('end', () => finish(false))
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', reply => finish(reply.toString('latin1').startsWith('+PONG')))
  })
}
