import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { freePort } from '../support/broker-under-test.ts'
import {
  connectClient,
  type MosquittoOptions,
  MosquittoSub,
  mosquittoPub,
  type TestClient,
} from '../support/clients.ts'
import { killLeftovers, TestProcess } from '../support/test-process.ts'
import { until } from '../support/until.ts'

const levels = [0, 1, 2] as const
const CLIENTS = 6

/** What the command prints for a person, as far as a person would use it. */
interface Printed {
  readonly port: number
  readonly user: string
  readonly password: string
  readonly redis: string
  readonly nodes: readonly { readonly id: string; readonly pid: number; readonly http: string }[]
}

function parse(text: string): Printed | undefined {
  const word = (name: string): string | undefined => new RegExp(`^${name}\\s+(\\S+)`, 'm').exec(text)?.[1]
  const rows = [...text.matchAll(/^(node-\d+)\s+(\d+)\s+\S+.*?(http:\/\/\S+)$/gm)]
  const [address, user, password, redis] = ['MQTT', 'user', 'password', 'Redis'].map(word)
  if (!address || !user || !password || !redis || !text.includes('Ctrl-C ends it all')) return undefined
  const nodes = rows.map(([, id = '', pid, http = '']) => ({ id, pid: Number(pid), http }))
  return { port: Number(address.split(':').at(-1)), user, password, redis, nodes }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Processes whose parent is `pid`. */
async function childrenOf(pid: number): Promise<number[]> {
  const ps = new TestProcess('ps', 'ps', ['-o', 'pid=', '--ppid', String(pid)])
  await ps.end()
  return ps.stdout
    .split('\n')
    .map(Number)
    .filter(child => child > 0 && child !== ps.pid)
}

let command: TestProcess
let printed: Printed
let port: number

before(async () => {
  port = await freePort()
  const args = ['packages/broker-node/bin/midge.js', 'cluster', '--nodes', '3', '--port', String(port)]
  command = new TestProcess('midge cluster', process.execPath, args)
  const look = (): Printed | undefined => {
    if (!command.isRunning) throw new Error(`midge cluster ended: ${command.tail()}`)
    return parse(command.stdout)
  }
  printed = await until('the page of `midge cluster`', look, 40_000, () => command.tail())
})
after(killLeftovers)

describe('midge cluster, as a person uses it', () => {
  const reach = (): { port: number; user: string; password: string } => ({
    port: printed.port,
    user: printed.user,
    password: printed.password,
  })

  it('prints a port, a user, three nodes that are ready, and where Redis is', async () => {
    assert.equal(printed.port, port)
    assert.deepEqual(
      printed.nodes.map(node => node.id),
      ['node-1', 'node-2', 'node-3'],
    )
    for (const node of printed.nodes) {
      assert.ok(isAlive(node.pid), `${node.id} has the pid that is printed`)
      assert.equal((await fetch(`${node.http}/readyz`)).status, 200)
    }
    assert.match(printed.redis, /^redis:\/\/127\.0\.0\.1:\d+$/)
  })

  for (const protocolVersion of [4, 5] as const) {
    it(`MQTT.js ${protocolVersion}: ${CLIENTS} clients behind the load balancer, spread over the nodes, hear each other`, async () => {
      const { user: username, password } = reach()
      const clients: TestClient[] = []
      for (let i = 0; i < CLIENTS; i++) clients.push(await connectClient({ port, username, password, protocolVersion }))
      for (const client of clients) await client.subscribe(`lb/${protocolVersion}/#`, 2)
      const spread = await Promise.all(
        printed.nodes.map(async node => {
          const status = (await (await fetch(`${node.http}/status`)).json()) as { counts: { connections: number } }
          return status.counts.connections
        }),
      )
      assert.ok(
        spread.every(count => count > 0),
        `every node has clients: ${spread}`,
      )
      for (const [index, client] of clients.entries()) {
        for (const qos of levels) await client.publish(`lb/${protocolVersion}/${index}`, `${index} at ${qos}`, qos)
      }
      const wanted = clients.flatMap((_, index) => levels.map(qos => `${index} at ${qos}`)).sort()
      for (const client of clients) {
        await client.untilReceived(wanted.length)
        assert.deepEqual(client.texts().sort(), wanted)
      }
      for (const client of clients) await client.end()
    })
  }

  for (const version of ['311', '5'] as const) {
    it(`mosquitto_sub and mosquitto_pub -V ${version}: QoS 0, 1, 2, retained and will through the load balancer`, async () => {
      const options: MosquittoOptions = { version, ...reach() }
      const base = `lb/mosquitto/${version}`
      const sub = new MosquittoSub(options, ['-t', `${base}/#`, '-q', '2'])
      await sub.untilSubscribed()
      for (const qos of levels) await mosquittoPub(options, ['-t', `${base}/${qos}`, '-q', `${qos}`, '-m', `at ${qos}`])
      await mosquittoPub(options, ['-t', `${base}/kept`, '-q', '1', '-r', '-m', 'kept'])
      assert.deepEqual((await sub.untilReceived(4)).map(message => message.text).sort(), [
        'at 0',
        'at 1',
        'at 2',
        'kept',
      ])
      const late = new MosquittoSub(options, ['-t', `${base}/kept`, '-q', '1', '-C', '1'])
      await late.end()
      assert.deepEqual(late.received, [{ topic: `${base}/kept`, qos: 1, retain: true, text: 'kept' }])
      const will = ['--will-topic', `${base}/will`, '--will-payload', 'gone', '--will-qos', '1']
      const doomed = new MosquittoSub(options, ['-t', `${base}/nothing`, ...will])
      await doomed.untilSubscribed()
      await doomed.program.kill9()
      assert.equal((await sub.untilReceived(5))[4]?.text, 'gone')
      await sub.stop()
    })
  }

  it('SIGINT ends it with code 0 and leaves no process behind', async () => {
    const children = await childrenOf(command.pid)
    // Three nodes, Redis, and HAProxy where it is installed.
    assert.ok(children.length >= 4, `children: ${children}`)
    for (const node of printed.nodes) assert.ok(children.includes(node.pid), `${node.id} is a child`)
    const grandchildren = (await Promise.all(children.map(childrenOf))).flat()
    command.kill('SIGINT')
    const end = await command.end(30_000)
    assert.deepEqual(end, { code: 0, signal: null }, command.tail())
    assert.deepEqual([...children, ...grandchildren].filter(isAlive), [])
  })
})
