import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { freePort } from '../support/broker-under-test.ts'
import { connectClient, type TestClient } from '../support/clients.ts'
import { MidgeNode, watchNodes } from '../support/midge-node.ts'
import * as mqtt from '../support/mqtt-bytes.ts'
import { seededRandom } from '../support/random.ts'
import { RawClient } from '../support/raw-client.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { TestProcess } from '../support/test-process.ts'
import { makeCertificates } from '../support/tls.ts'
import { until } from '../support/until.ts'

const MIDGE = 'packages/broker-node/bin/midge.js'
const RANDOM_ATTACKS = 300

let node: MidgeNode
before(async () => {
  node = await MidgeNode.start({ withWebSocket: true })
})
after(() => node?.stop())
watchNodes(() => [node])

describe('malformed packets of one client', () => {
  const afterConnect: readonly (readonly [string, Uint8Array])[] = [
    ['a second CONNECT', mqtt.connect(5, { clientId: 'again' })],
    ['PUBLISH with QoS 3', mqtt.publish(5, { topic: 'x', flags: 6, packetId: 1 })],
    ['PUBLISH to a wildcard', mqtt.publish(5, { topic: 'a/#' })],
    ['PUBLISH with U+0000 in its topic', mqtt.publish(5, { topic: 'a\0b' })],
    ['PUBLISH with an unknown topic alias', mqtt.publish(5, { topic: '', properties: [[mqtt.P.topicAlias, 9]] })],
    ['SUBSCRIBE without filters', mqtt.subscribe(5, 1, [])],
    ['SUBSCRIBE with packet id 0', mqtt.subscribe(5, 0, [['a', 0]])],
    ['SUBSCRIBE with the wrong flags', mqtt.packet(0x80, [0, 1, 0], mqtt.str('a'), [0])],
    ['a packet of type 0', mqtt.packet(0x00)],
    ['a remaining length of five bytes', Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0xff, 0x7f)],
    ['a packet larger than allowed', Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f)],
    ['CONNACK from a client', mqtt.packet(0x20, [0, 0, 0])],
  ]
  let bystander: TestClient
  let count = 0

  /** Proves that another client is served, by a message there and back. */
  const bystanderIsServed = async (): Promise<void> => {
    count++
    await bystander.publish('bystander', `${count}`, 1)
    await bystander.untilReceived(count)
    assert.equal(bystander.received[count - 1]?.text, `${count}`)
  }

  before(async () => {
    bystander = await connectClient({ port: node.port, protocolVersion: 5 })
    await bystander.subscribe('bystander', 1)
  })

  for (const [what, bytes] of afterConnect) {
    it(`${what} ends that connection with a reason code and costs nobody else anything`, async () => {
      const bad = await RawClient.open('127.0.0.1', node.port, 5)
      await bad.connect({ clientId: 'bad' })
      bad.send(bytes)
      await bad.expectClose()
      await bystanderIsServed()
    })
  }

  it(`${RANDOM_ATTACKS} clients that send random bytes, before and after CONNECT, leave the node as it was`, async () => {
    const random = seededRandom('random bytes')
    const attackers: RawClient[] = []
    for (let i = 0; i < RANDOM_ATTACKS; i++) {
      const attacker = await RawClient.open('127.0.0.1', node.port, 5)
      attackers.push(attacker)
      if (random.whole(2) === 0) attacker.send(mqtt.connect(5, { clientId: `attacker-${i}` }))
      const bytes = Uint8Array.from({ length: 1 + random.whole(400) }, () => random.whole(256))
      attacker.send(bytes)
      if (i % 50 === 0) await bystanderIsServed()
    }
    for (const attacker of attackers) attacker.drop()
    await bystanderIsServed()
    await until('only the bystander to be left', async () => (await node.connections()) === 1)
    assert.equal(await node.readyz(), 200)
    assert.ok(node.isRunning)
    assert.equal(node.errors(), '', 'a client cannot make the node log an error')
    await bystander.end()
  })
})

describe('a Redis that is not there', () => {
  it('the node stays, says so, answers /readyz with 503, and becomes ready when Redis appears', async () => {
    const port = await freePort()
    const waiting = await MidgeNode.launch({ name: 'waiting', env: { MIDGE_REDIS_URL: `redis://127.0.0.1:${port}` } })
    let redis: RedisServer | undefined
    try {
      await until(
        '/readyz to say 503',
        async () => (await waiting.readyz()) === 503,
        15_000,
        () => waiting.tail(),
      )
      const said = (): boolean => waiting.output.includes(`${port}`)
      await until('a line that names where Redis should be', said, 15_000, () => waiting.tail())
      assert.ok(waiting.isRunning)
      redis = await startRedisServer(port)
      await waiting.untilReady()
      const client = await connectClient({ port: waiting.port })
      await client.subscribe('x', 1)
      await client.publish('x', 'it works', 1)
      await client.untilReceived(1)
      await client.end()
    } finally {
      await waiting.stop()
      await redis?.stop()
    }
  })
})

describe('a wrong start', () => {
  const run = async (
    args: readonly string[],
    env: Record<string, string>,
  ): Promise<{ code: number | null; said: string }> => {
    const program = new TestProcess('midge', process.execPath, [MIDGE, ...args], { env })
    const { code } = await program.end()
    return { code, said: program.stderr }
  }

  it('an unknown configuration key ends it with code 2 and names the nearest known one', async () => {
    const byEnvironment = await run(['start'], { MIDGE_LISTENERS_TCP_PROT: '1883' })
    assert.equal(byEnvironment.code, 2, byEnvironment.said)
    assert.match(byEnvironment.said, /MIDGE_LISTENERS_TCP_PROT/)
    assert.match(byEnvironment.said, /MIDGE_LISTENERS_TCP_PORT|listeners\.tcp\.port/)
    const bySet = await run(['start', '--set', 'limits.recieveMax=10'], {})
    assert.equal(bySet.code, 2, bySet.said)
    assert.match(bySet.said, /recieveMax/)
    assert.match(bySet.said, /receiveMax/)
  })

  it('a value out of bounds ends it with code 2 and names the key', async () => {
    const { code, said } = await run(['start'], { MIDGE_LISTENERS_TCP_PORT: '70000' })
    assert.equal(code, 2, said)
    assert.match(said, /listeners\.tcp\.port/i)
  })

  it('a port in use, of whichever listener, ends it with code 1 and one line that says what to set', async () => {
    const certificates = await makeCertificates()
    const blocker = createServer()
    blocker.listen(0, '127.0.0.1')
    await once(blocker, 'listening')
    const address = blocker.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    try {
      const cases = [
        ['listeners.tcp.port', 'MIDGE_LISTENERS_TCP_PORT'],
        ['listeners.tls.port', 'MIDGE_LISTENERS_TLS_PORT'],
        ['listeners.ws.port', 'MIDGE_LISTENERS_WS_PORT'],
        ['listeners.wss.port', 'MIDGE_LISTENERS_WSS_PORT'],
        ['http.port', 'MIDGE_HTTP_PORT'],
      ] as const
      const env = {
        MIDGE_LISTENERS_TLS_CERT_FILE: certificates.serverCertFile,
        MIDGE_LISTENERS_TLS_KEY_FILE: certificates.serverKeyFile,
        MIDGE_LISTENERS_TLS_HOST: '127.0.0.1',
        MIDGE_LISTENERS_WS_HOST: '127.0.0.1',
        MIDGE_LISTENERS_WSS_HOST: '127.0.0.1',
      }
      for (const [key, name] of cases) {
        const late = await MidgeNode.launch({ env: { ...env, [name]: String(port) } })
        try {
          const { code } = await late.end()
          assert.equal(code, 1, late.tail())
          const said = late.output.split('\n').filter(line => line.startsWith('midge: '))
          const wanted = `midge: MIDGE_PORT_IN_USE: 127.0.0.1:${port} is in use: set \`${key}\` (${name}) to a free port`
          assert.ok(said.length === 1 && said[0]?.startsWith(wanted), late.tail())
        } finally {
          await late.stop()
        }
      }
    } finally {
      blocker.close()
      await certificates.remove()
    }
  })
})
