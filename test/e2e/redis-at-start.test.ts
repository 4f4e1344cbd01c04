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

/** Sends one command on a connection of its own. @returns the first line of the answer */
async function askRedis({ port }: RedisServer, command: string): Promise<string> {
  const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return answer.toString('latin1').split('\r\n')[0] ?? ''
}

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

describe('Redis stops answering while a node starts', () => {
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

describe('Redis refuses the login', () => {
  it('at the start: the node ends with 2 and one line that says what to check, without the password', async () => {
    redis = await startRedisServer()
    assert.equal(await askRedis(redis, 'CONFIG SET requirepass right-one'), '+OK')
    for (const [login, answer] of [
      ['', 'NOAUTH'],
      [':wrong-one@', 'WRONGPASS'],
    ] as const) {
      const url = redis.url.replace('redis://', `redis://${login}`)
      node = await MidgeNode.launch({ env: { MIDGE_REDIS_URL: url } })
      assert.equal((await node.end()).code, 2, node.tail())
      const said = node.output.split('\n').filter(line => line.startsWith('midge: '))
      const wanted = `midge: MIDGE_CONFIG_INVALID: Redis at 127\\.0\\.0\\.1:${redis.port} refuses the login \\(${answer} .*MIDGE_REDIS_URL`
      assert.match(said.join('\n'), new RegExp(`^${wanted}[^\n]*$`))
      assert.doesNotMatch(node.output, /wrong-one/)
      await node.stop()
    }
  })

  it('later: that is an outage, and the node goes on when the password is right again', async () => {
    redis = await startRedisServer()
    node = await MidgeNode.start({ env: { MIDGE_REDIS_URL: redis.url } })
    assert.equal(await askRedis(redis, 'CONFIG SET requirepass new-one'), '+OK')
    assert.equal(await askRedis(redis, 'AUTH new-one\r\nCLIENT KILL TYPE pubsub\r\nCLIENT KILL TYPE normal'), '+OK')
    await until('/readyz to be 503', async () => (await node?.readyz()) === 503)
    assert.match(await askRedis(redis, "AUTH new-one\r\nCONFIG SET requirepass ''"), /^\+OK/)
    await node.untilReady()
  })
})
