import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { MidgeNode, PASSWORD, USER, watchNodes } from '../support/midge-node.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { P, Type } from '../support/mqtt-bytes.ts'
import { RawClient } from '../support/raw-client.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { until } from '../support/until.ts'

const nodes: MidgeNode[] = []
watchNodes(() => nodes)
after(async () => {
  for (const node of nodes) await node.stop()
})

async function startNode(env: Record<string, string>, name: string): Promise<MidgeNode> {
  const node = await MidgeNode.start({ name, env: { MIDGE_AUTH_ANONYMOUS: 'false', ...env } })
  nodes.push(node)
  return node
}

/** The salt that SCRAM shows for a name, as anybody can ask for it before any login. */
async function saltOf(node: MidgeNode, username: string): Promise<string> {
  const client = await RawClient.open('127.0.0.1', node.port, 5)
  const first = mqtt.bytes(`n,,n=${username},r=fyko+d2lbbFgONRv9qkxdawL`)
  const properties: mqtt.Property[] = [
    [P.authMethod, 'SCRAM-SHA-256'],
    [P.authData, first],
  ]
  client.send(mqtt.connect(5, { clientId: 'salt', properties }))
  const challenge = await client.expect(Type.AUTH)
  client.drop()
  const data = challenge.properties.find(([id]) => id === P.authData)?.[1]
  assert.ok(data instanceof Uint8Array)
  const [, salt] = /^r=[^,]+,s=([^,]+),i=10000$/.exec(Buffer.from(data).toString()) ?? []
  assert.ok(salt)
  return salt
}

describe('salts of SCRAM', () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedisServer()
  })
  after(() => redis.stop())

  it('are the same on every node and after a restart, for users and for names that nobody has', async () => {
    const env = { MIDGE_REDIS_URL: redis.url }
    const [a, b] = [await startNode(env, 'salt-a'), await startNode(env, 'salt-b')]
    const seen = async (node: MidgeNode): Promise<string[]> => [await saltOf(node, USER), await saltOf(node, 'nobody')]
    const salts = await seen(a)
    assert.deepEqual(await seen(a), salts)
    assert.deepEqual(await seen(b), salts)
    await b.drain()
    await b.restart()
    assert.deepEqual(await seen(b), salts)
    assert.notEqual(salts[0], salts[1])
  })

  it('come from chance and not from a password: the same users elsewhere have other ones', async () => {
    const [cluster] = nodes
    const alone = await startNode({}, 'salt-alone')
    assert.ok(cluster)
    for (const name of [USER, 'nobody']) assert.notEqual(await saltOf(alone, name), await saltOf(cluster, name))
  })
})

const ADDRESSES = 50
const LOGINS_PER_SECOND = 500
const BEAT_MS = 20

/** Wrong logins from many addresses, half of them gone as soon as they have asked. */
class Flood {
  sent = 0
  private readonly timer: NodeJS.Timeout
  private readonly port: number

  constructor(port: number) {
    this.port = port
    const startedAtMs = performance.now()
    this.timer = setInterval(() => {
      const due = ((performance.now() - startedAtMs) * LOGINS_PER_SECOND) / 1000
      while (this.sent < due) this.knock(this.sent++)
    }, BEAT_MS)
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private knock(n: number): void {
    const socket = connect({ host: '127.0.0.1', port: this.port, localAddress: `127.0.1.${1 + (n % ADDRESSES)}` })
    const username = n % 4 < 2 ? USER : `guess${n}`
    socket.on('error', () => {})
    socket.on('connect', () => {
      const packet = mqtt.connect(n % 3 === 0 ? 5 : 4, { clientId: `f${n}`, username, password: `wrong ${n}` })
      socket.write(packet, () => {
        if (n % 2 === 0) socket.destroy()
      })
    })
    socket.resume()
    socket.setTimeout(10_000, () => socket.destroy())
  }
}

describe(`${LOGINS_PER_SECOND} wrong logins a second from ${ADDRESSES} addresses`, () => {
  it('do not keep a user out, are answered in time, and are forgotten when they end', async t => {
    const node = await startNode({}, 'flooded')
    const flood = new Flood(node.port)
    try {
      const waiting = (): Promise<number> => node.metric('midge_password_hashes_waiting')
      await until('a failure of each address', async () => {
        return (await node.metric('midge_authentication_failures_total')) >= ADDRESSES
      })
      const asked = performance.now()
      const socket = connect({ host: '127.0.0.1', port: node.port, localAddress: '127.0.2.1' })
      const client = new RawClient(socket, 5)
      client.send(mqtt.connect(5, { clientId: 'user', username: USER, password: PASSWORD }))
      const connack = await client.expect(Type.CONNACK, 10_000)
      const tookMs = performance.now() - asked
      t.diagnostic(`the user was in after ${Math.round(tookMs)} ms`)
      assert.equal(connack.reason, 0)
      assert.ok(tookMs < 2000, `it took ${Math.round(tookMs)} ms`)
      await until('somebody to be told that the server is busy', () => node.metric('midge_authentications_busy_total'))
      await until('back-offs', () => node.metric('midge_authentication_back_offs_total'))
      flood.stop()
      await until('an empty queue', async () => (await waiting()) === 0, 7000)
      client.drop()
    } finally {
      flood.stop()
    }
  })
})
