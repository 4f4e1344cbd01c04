import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { after, afterEach, describe, it } from 'node:test'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'

/** Decides, from the bytes that a node has sent on one connection so far, whether Redis stops here. */
type StopPoint = (sent: string) => boolean

/** Between a node and a real Redis: stops its process (SIGSTOP) at one point, before Redis can read what came. */
class StoppingProxy {
  isStopped = false
  private readonly redis: RedisServer
  private readonly server: Server
  private readonly sockets = new Set<Socket>()

  constructor(redis: RedisServer, stopPoint: StopPoint) {
    this.redis = redis
    this.server = createServer(node => {
      const behind = connect(redis.port, '127.0.0.1')
      let sent = ''
      for (const [one, other] of [
        [node, behind],
        [behind, node],
      ] as const) {
        this.sockets.add(one)
        one.on('error', () => undefined)
        one.on('close', () => other.destroy())
      }
      behind.pipe(node)
      node.on('data', chunk => {
        sent += chunk.toString('latin1')
        if (!this.isStopped && stopPoint(sent)) {
          this.isStopped = true
          process.kill(redis.pid, 'SIGSTOP')
        }
        behind.write(chunk)
      })
    })
  }

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    return `redis://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  goOn(): void {
    process.kill(this.redis.pid, 'SIGCONT')
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy()
    this.server.close()
  }
}

/** The first INFO of a connection is the client's own, by which it sees that Redis has loaded its data. */
const settingsAreRead: StopPoint = sent => sent.split(/\binfo\r\n/i).length > 2
const earlierProcessIsReaped: StopPoint = sent => sent.includes(':own:')

describe('Redis stops answering while a node starts', () => {
  let redis: RedisServer | undefined
  let proxy: StoppingProxy | undefined
  let node: MidgeNode | undefined
  watchNodes(() => [node])

  const end = async (): Promise<void> => {
    await node?.stop()
    proxy?.close()
    await redis?.stop()
    redis = proxy = node = undefined
  }
  afterEach(end)
  after(end)

  for (const [where, stopPoint] of [
    ['when its settings are read', settingsAreRead],
    ['when what an earlier process left is ended', earlierProcessIsReaped],
  ] as const) {
    it(`${where}: the node says so, waits, and starts when Redis answers`, async () => {
      redis = await startRedisServer()
      proxy = new StoppingProxy(redis, stopPoint)
      node = await MidgeNode.launch({ env: { MIDGE_REDIS_URL: await proxy.listen() } })
      const { output } = await until(
        'the log to say that the start waits',
        () => (node?.output.includes('"event":"store.waiting"') ? node : undefined),
        15_000,
        () => `${proxy?.isStopped ? 'Redis was stopped' : 'Redis was never stopped'}\n${node?.tail()}`,
      )
      assert.doesNotMatch(output, /node\.ready/)
      assert.equal(await node.readyz(), 503)
      proxy.goOn()
      await node.untilReady()
      assert.equal(node.output.match(/"event":"store\.waiting"/g)?.length, 1, 'one line per 10 s')
    })
  }
})
