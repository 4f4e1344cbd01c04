import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { freePort, repositoryRoot } from '../support/broker-under-test.ts'
import { type ClientOptions, connectClient, type MosquittoOptions, mosquittoPub } from '../support/clients.ts'
import { killLeftovers, TestProcess } from '../support/test-process.ts'
import { makeCertificates, type TestCertificates } from '../support/tls.ts'
import { until } from '../support/until.ts'

/** A node on one of the files in `deploy/examples`, with other ports. */
interface ExampleNode {
  /** Port that stands for the one in the file. */
  port(ofFile: number): number
  stop(): Promise<void>
}

/** @param replaced - texts of the file and what a test has in their place */
async function startExample(
  file: string,
  { replaced = {}, env = {} }: { replaced?: Readonly<Record<string, string>>; env?: Readonly<Record<string, string>> },
): Promise<ExampleNode> {
  const folder = await mkdtemp(join(tmpdir(), 'midge-example-'))
  let text = await readFile(join(repositoryRoot, 'deploy/examples', file), 'utf8')
  const ports = new Map<number, number>()
  for (const [, port] of text.matchAll(/port: (\d+)/g)) ports.set(Number(port), await freePort())
  text = text.replaceAll(/port: (\d+)/g, (_, port) => `port: ${ports.get(Number(port))}`)
  for (const [from, to] of Object.entries(replaced)) text = text.replaceAll(from, to)
  const path = join(folder, file)
  await writeFile(path, text)
  const httpPort = await freePort()
  const command = ['packages/broker-node/bin/midge.js', 'start', '--config', path]
  const node = new TestProcess('node', process.execPath, command, {
    env: { MIDGE_DATA_DIR: join(folder, 'data'), MIDGE_HTTP_PORT: String(httpPort), ...env },
  })
  const isReady = async (): Promise<boolean> => {
    if (!node.isRunning) throw new Error(`the node ended\n${node.tail()}`)
    return (await fetch(`http://127.0.0.1:${httpPort}/readyz`).catch(() => undefined))?.status === 200
  }
  await until('the node to be ready', isReady, 30_000, () => node.tail())
  return {
    port: ofFile => ports.get(ofFile) ?? 0,
    stop: async () => {
      node.kill('SIGTERM')
      await node.exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}

let node: ExampleNode | undefined
afterEach(async () => {
  await node?.stop()
  node = undefined
})
after(killLeftovers)

describe('deploy/examples/test-mosquitto-org.yaml', () => {
  let certificates: TestCertificates
  before(async () => {
    certificates = await makeCertificates()
  })
  after(() => certificates?.remove())

  it('has each listener let in whom that of test.mosquitto.org lets in, and nobody else', async () => {
    const { caFile, serverCertFile, serverKeyFile, clientCertFile, clientKeyFile, expiredCertFile } = certificates
    const { port, stop } = await startExample('test-mosquitto-org.yaml', {
      replaced: {
        'server.pem': serverCertFile,
        'server.key': serverKeyFile,
        'public.pem': serverCertFile,
        'public.key': serverKeyFile,
        'expired.pem': expiredCertFile,
        'ca.pem': caFile,
      },
    })
    node = { port, stop }
    const user = { user: 'rw', password: 'readwrite' }
    const nobody = { anonymous: true }
    const certificate = { certFile: clientCertFile, keyFile: clientKeyFile }
    const publish = (ofFile: number, more: Partial<MosquittoOptions>): Promise<void> =>
      mosquittoPub({ host: 'localhost', port: port(ofFile), version: '311', ...more }, [
        '-t',
        't',
        '-m',
        'x',
        '-q',
        '1',
      ])
    await publish(1883, nobody)
    await publish(1883, user)
    await publish(1884, user)
    await assert.rejects(publish(1884, nobody), /not authori[sz]ed/i)
    await assert.rejects(publish(1884, { user: 'rw', password: 'wrong' }), /not authori[sz]ed|bad user/i)
    await publish(8883, { ...nobody, caFile })
    await publish(8884, { ...nobody, caFile, ...certificate })
    await assert.rejects(publish(8884, { ...nobody, caFile }))
    await publish(8885, { ...user, caFile })
    await assert.rejects(publish(8885, { ...nobody, caFile }), /not authori[sz]ed/i)
    await publish(8886, { ...nobody, caFile })
    await assert.rejects(publish(8887, { ...nobody, caFile }))

    const connect = async (scheme: 'ws' | 'wss', ofFile: number, more: Partial<ClientOptions>): Promise<void> => {
      const client = await connectClient({ scheme, port: port(ofFile), rejectUnauthorized: false, ...more })
      await client.end()
    }
    const login = { username: 'rw', password: 'readwrite' }
    await connect('ws', 8080, nobody)
    await connect('wss', 8081, nobody)
    await connect('ws', 8090, login)
    await connect('wss', 8091, login)
    await assert.rejects(connect('ws', 8090, nobody), /not authori[sz]ed/i)
    await assert.rejects(connect('wss', 8091, nobody), /not authori[sz]ed/i)
  })
})

it('deploy/examples/embedded.yaml serves homeassistant by MQTT and WebSocket, and nobody else', async () => {
  node = await startExample('embedded.yaml', { env: { MIDGE_BOOTSTRAP_PASSWORD: 'a long password' } })
  const login = { username: 'homeassistant', password: 'a long password' }
  const home = await connectClient({ port: node.port(1883), ...login })
  await home.subscribe('homeassistant/#', 1)
  const device = await connectClient({ scheme: 'ws', port: node.port(8080), ...login })
  await device.publish('homeassistant/status', 'online', 1)
  await home.untilReceived(1)
  assert.equal(home.received[0]?.text, 'online')
  await assert.rejects(connectClient({ port: node.port(1883), anonymous: true }), /not authori[sz]ed/i)
  await device.end()
  await home.end()
})
