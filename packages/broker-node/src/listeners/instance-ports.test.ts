import assert from 'node:assert/strict'
import { connect, createServer } from 'node:net'
import { after, before, type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { Counters } from '../counters.ts'
import { freePort } from '../testing/redis-server.ts'
import { InstancePorts } from './instance-ports.ts'
import type { ListenerKind, ListenerOptions } from './options.ts'
import { CONNECT_PACKET, makeCertificateFolder, ProbeAcceptor, ProbeLogger, until } from './testing/probe.ts'

let files: Awaited<ReturnType<typeof makeCertificateFolder>>
before(async () => {
  files = await makeCertificateFolder('device-1')
})
after(() => files.remove())

function open(t: TestContext, kinds: ListenerKind[] = ['tcp', 'tls', 'wss']) {
  const acceptor = new ProbeAcceptor()
  const logger = new ProbeLogger()
  const ports = new InstancePorts({
    kinds: kinds.map(kind => ({
      ...OPTIONS,
      kind,
      tls: { certFile: files.path('server.pem'), keyFile: files.path('server.key') },
    })),
    acceptor,
    logger,
    counters: new Counters(),
    retryMs: 20,
  })
  t.after(() => ports.stop())
  return { ports, acceptor, logger }
}

const OPTIONS: Omit<ListenerOptions, 'kind'> = {
  host: '127.0.0.1',
  port: 0,
  setting: 'instances.portBaseMin',
  connectionsMax: 1000,
  connectTimeoutMs: 10_000,
  proxyProtocol: false,
}

/** A base whose two further ports can be ports. */
async function freeBase(): Promise<number> {
  for (;;) {
    const port = await freePort()
    if (port < 45_000) return port
  }
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const answer = await new Promise<boolean>(resolve => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  })
  socket.destroy()
  return answer
}

test('a client of each port is a client of the instance, and the block closes without touching it', async t => {
  const { ports, acceptor } = open(t)
  const base = await freeBase()
  await ports.open('home', base)
  assert.equal(ports.openCount, 3)
  const plain = connect(base, '127.0.0.1')
  plain.write(CONNECT_PACKET)
  const first = await acceptor.next()
  assert.deepEqual([first.info.transport, first.info.boundInstance], ['tcp', 'home'])
  const secure = connectTls({ port: base + 10_000, host: '127.0.0.1', rejectUnauthorized: false })
  secure.write(CONNECT_PACKET)
  const second = await acceptor.next()
  assert.deepEqual([second.info.transport, second.info.boundInstance], ['tls', 'home'])
  assert.equal(await isOpen(base + 20_000), true)
  await ports.close(base)
  for (const offset of [0, 10_000, 20_000]) assert.equal(await isOpen(base + offset), false)
  plain.write('more')
  await first.received(CONNECT_PACKET.length + 4)
  plain.destroy()
  secure.destroy()
})

test('a port that somebody else has is said once, tried again, and opened when it is free', async t => {
  const { ports, logger } = open(t, ['tcp'])
  const base = await freeBase()
  const other = createServer().listen(base, '127.0.0.1')
  await new Promise(resolve => other.once('listening', resolve))
  await ports.open('home', base)
  assert.deepEqual(ports.failedPorts, [base])
  await new Promise<void>(resolve => other.close(() => resolve()))
  await until(() => ports.failedPorts.length === 0, 'the port to be opened')
  assert.equal(await isOpen(base), true)
  assert.equal(logger.lines.filter(({ level }) => level === 'warn').length, 1)
})

test('a block that goes to another instance serves that one', async t => {
  const { ports, acceptor } = open(t, ['tcp'])
  const base = await freeBase()
  await Promise.all([ports.open('one', base), ports.close(base), ports.open('two', base)])
  await until(() => ports.failedPorts.length === 0, 'the port to be opened')
  const client = connect(base, '127.0.0.1')
  client.write(CONNECT_PACKET)
  assert.equal((await acceptor.next()).info.boundInstance, 'two')
  client.destroy()
})

test('a client at the wrong port of a block is told the right one of that block', async t => {
  const { ports, logger } = open(t)
  const base = await freeBase()
  await ports.open('home', base)
  const secure = connectTls({ port: base, host: '127.0.0.1', rejectUnauthorized: false })
  secure.on('error', () => undefined)
  const plain = connect(base + 20_000, '127.0.0.1')
  plain.on('error', () => undefined)
  plain.write(CONNECT_PACKET)
  const told = (): string[] => logger.lines.map(({ text }) => text)
  await until(() => told().length === 2, 'two refusals')
  assert.deepEqual(told().toSorted(), [
    `Plain MQTT client on the secure WebSocket port ${base + 20_000}; use the plain port ${base}`,
    `TLS client on the plain port ${base}; use the TLS port ${base + 10_000}`,
  ])
})
