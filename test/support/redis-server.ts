import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './broker-under-test.ts'
import { TestProcess } from './test-process.ts'
import { until } from './until.ts'

/** A Redis of a test's own. */
export interface RedisServer {
  readonly port: number
  readonly url: string
  readonly pid: number
  stop(): Promise<void>
}

/** Starts `redis-server` without persistence; on `port`, or on a free one. */
export async function startRedisServer(port?: number): Promise<RedisServer> {
  const chosen = port ?? (await freePort())
  const folder = await mkdtemp(join(tmpdir(), 'midge-e2e-redis-'))
  const args = ['--port', String(chosen), '--bind', '127.0.0.1', '--save', '', '--dir', folder]
  const server = new TestProcess('redis-server', 'redis-server', args)
  await until(
    'Redis to answer',
    () => server.isRunning && answers(chosen),
    10_000,
    () => server.tail(),
  )
  const stop = async (): Promise<void> => {
    await server.kill9()
    await rm(folder, { recursive: true, force: true })
  }
  return { port: chosen, url: `redis://127.0.0.1:${chosen}`, pid: server.pid, stop }
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.once('data', data => {
      resolve(data.toString('latin1').startsWith('+PONG'))
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
  })
}
