import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { parseProxyHeader } from '../../listeners/proxy-protocol.ts'
import { type Bench, CONNECT_PACKET, startBench, until } from '../../listeners/testing/probe.ts'
import { findFreePorts } from './free-port.ts'
import { findHaproxy, startHaproxy } from './haproxy.ts'
import { encodeProxyHeader, LoadBalancer } from './load-balancer.ts'
import { HealthMonitor } from './node-health.ts'
import type { NodePlan } from './node-process.ts'

interface FakeNode {
  plan: NodePlan
  bench: Bench
  setReady(isReady: boolean): void
}

/** A real listener with `proxyProtocol` and a readiness page: what a load balancer sees of a node. */
async function startFakeNode(t: TestContext, id: string): Promise<FakeNode> {
  let isReady = true
  const bench = await startBench({ proxyProtocol: true })
  const http = createServer((request, response) => {
    response.statusCode = isReady && request.url === '/readyz' ? 200 : 503
    response.end()
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.after(async () => {
    http.closeAllConnections()
    http.close()
    await bench.close()
  })
  return {
    plan: { id, tcpPort: bench.port, httpPort: (http.address() as AddressInfo).port },
    bench,
    setReady: value => {
      isReady = value
    },
  }
}

async function startBalancer(
  t: TestContext,
  nodes: FakeNode[],
): Promise<{ port: number; health: HealthMonitor; changes: string[] }> {
  const plans = nodes.map(node => node.plan)
  const changes: string[] = []
  const health = new HealthMonitor(plans, (node, isReady) => changes.push(`${node.id} ${isReady ? 'up' : 'down'}`))
  await health.start()
  const balancer = new LoadBalancer(plans, health)
  const port = await balancer.listen('127.0.0.1', 0)
  t.after(async () => {
    health.stop()
    await balancer.close()
  })
  return { port, health, changes }
}

function dial(port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  return socket
}

test('encodeProxyHeader() is read back for IPv4, IPv6 and a mix of both', () => {
  for (const [source, destination, shown] of [
    ['192.0.2.10', '10.0.0.1', '192.0.2.10'],
    ['2001:db8::1', '::1', '2001:db8::1'],
    ['fe80::1%eth0', '::', 'fe80::1'],
    ['192.0.2.10', '::1', '::ffff:c000:20a'],
  ] as const) {
    const header = encodeProxyHeader({
      sourceAddress: source,
      sourcePort: 5555,
      destinationAddress: destination,
      destinationPort: 1883,
    })
    assert.deepEqual(parseProxyHeader(header), {
      length: header.length,
      source: { address: shown, port: 5555 },
      certCommonName: undefined,
    })
  }
})

test('clients go to the nodes in turn, and the nodes see the real client', async t => {
  const nodes = [await startFakeNode(t, 'a'), await startFakeNode(t, 'b')]
  const { port } = await startBalancer(t, nodes)
  for (let round = 0; round < 2; round++) {
    for (const { bench } of nodes) {
      const client = dial(port)
      client.write(CONNECT_PACKET)
      const accepted = await bench.acceptor.next()
      assert.deepEqual(await accepted.received(CONNECT_PACKET.length), CONNECT_PACKET)
      assert.equal(accepted.info.remoteAddress, '127.0.0.1')
      assert.equal(accepted.info.remotePort, client.localPort)
      accepted.stream.write('pong')
      assert.equal(String((await once(client, 'data'))[0]), 'pong')
      client.destroy()
      await until(() => accepted.stream.destroyed, 'the node to see the end')
    }
  }
})

test('a large transfer arrives whole, and the end of the node ends the client', async t => {
  const node = await startFakeNode(t, 'a')
  const { port } = await startBalancer(t, [node])
  const client = dial(port)
  const chunks: Buffer[] = []
  client.on('data', chunk => chunks.push(chunk))
  client.write(CONNECT_PACKET)
  const { stream } = await node.bench.acceptor.next()
  const bytes = randomBytes(8_000_000)
  stream.end(bytes)
  await once(client, 'close')
  assert.ok(Buffer.concat(chunks).equals(bytes))
})

test('a node that refuses connections is left out at once; an unready one after its health check', async t => {
  const dead = await startFakeNode(t, 'dead')
  const draining = await startFakeNode(t, 'draining')
  const alive = await startFakeNode(t, 'alive')
  const { port, health, changes } = await startBalancer(t, [dead, draining, alive])
  await dead.bench.close()
  draining.setReady(false)
  await until(() => changes.includes('draining down'), 'the health check')
  for (let round = 0; round < 4; round++) {
    dial(port).write(CONNECT_PACKET)
    await alive.bench.acceptor.next()
  }
  assert.equal(draining.bench.acceptor.accepted.length, 0)
  draining.setReady(true)
  await until(() => health.isReady('draining'), 'the node to come back')
})

test('without a ready node a client is closed', async t => {
  const node = await startFakeNode(t, 'a')
  node.setReady(false)
  const { port } = await startBalancer(t, [node])
  const client = dial(port)
  client.resume()
  await once(client, 'close')
  assert.equal(node.bench.acceptor.accepted.length, 0)
})

const haproxy = findHaproxy()

test('HAProxy takes the generated configuration and tells the nodes the client', {
  skip: haproxy === undefined ? 'HAProxy is not installed; the built-in load balancer is used then' : false,
}, async t => {
  assert.ok(haproxy)
  const nodes = [await startFakeNode(t, 'node-1'), await startFakeNode(t, 'node-2')]
  const folder = mkdtempSync(join(tmpdir(), 'midge-haproxy-'))
  const [port = 0] = await findFreePorts(1)
  const child = await startHaproxy(haproxy, folder, { host: '127.0.0.1', port, nodes: nodes.map(node => node.plan) })
  assert.ok(child)
  t.after(async () => {
    await child.stop(5000)
    rmSync(folder, { recursive: true })
  })
  const clients = Array.from({ length: 4 }, () => dial(port))
  for (const client of clients) client.write(CONNECT_PACKET)
  await until(() => nodes.every(({ bench }) => bench.acceptor.accepted.length > 0), 'both nodes to have clients')
  const ports = clients.map(client => client.localPort)
  for (const { bench } of nodes) {
    for (const { info } of bench.acceptor.accepted) {
      assert.equal(info.remoteAddress, '127.0.0.1')
      assert.ok(ports.includes(info.remotePort))
    }
  }
  for (const client of clients) client.destroy()
})
