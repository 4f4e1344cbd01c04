import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { createWebSocketStream, WebSocket } from 'ws'
import { loadConfig } from '../../config/load-config.ts'
import { type ConnectOptions, RawClient } from '../../engine/testing/raw-client.ts'
import { MemoryLogger } from '../../engine/testing/test-services.ts'
import { freePort, startRedis, type TestRedis } from '../../testing/redis-server.ts'
import type { ComposedNode } from '../node.ts'
import { startNode } from '../start-node.ts'

/** A way to an instance. */
export type DoorKind = 'name' | 'tls' | 'ws' | 'wss' | 'port'

/** Whole nodes of one process on one Redis, with every listener. */
export class TenantCluster {
  readonly redis: TestRedis
  readonly nodes: ComposedNode[] = []
  private readonly folder: string
  private readonly clients: RawClient[] = []

  private constructor(redis: TestRedis, folder: string) {
    this.redis = redis
    this.folder = folder
  }

  static async start(count: number): Promise<TenantCluster> {
    const folder = await mkdtemp(join(tmpdir(), 'midge-tenants-'))
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:a.example,DNS:a-b.example']
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')]
    await promisify(execFile)('openssl', ['req', '-x509', ...key, ...subject, ...files])
    const cluster = new TenantCluster(await startRedis(), folder)
    while (cluster.nodes.length < count) await cluster.addNode()
    return cluster
  }

  get node(): ComposedNode {
    return this.at(0)
  }

  at(index: number): ComposedNode {
    const node = this.nodes[index]
    if (node === undefined) throw new Error(`there is no node ${index}`)
    return node
  }

  /** A client that has not sent anything yet. */
  async dial(index: number, door: DoorKind, instance: string, version: 3 | 4 | 5 = 5): Promise<RawClient> {
    const { tcpPort = 0, tlsPort = 0, wsPort = 0, wssPort = 0 } = this.at(index).details()
    const host = `${instance}.example`
    const ca = await readFile(join(this.folder, 'cert.pem'))
    const client = await (async (): Promise<RawClient> => {
      if (door === 'name') return RawClient.dial(tcpPort, version)
      if (door === 'port') {
        const port = this.at(index).tenancy.instances.find(instance)?.portBase ?? 0
        return new RawClient(connect(port, portHost(index)), version)
      }
      if (door === 'tls') {
        const socket = connectTls({ socket: connect(tlsPort, '127.0.0.1'), servername: host, ca })
        return new RawClient(socket, version)
      }
      const url = door === 'ws' ? `ws://127.0.0.1:${wsPort}/mqtt` : `wss://127.0.0.1:${wssPort}/mqtt`
      // Only one of the two facts names the instance: the host of the request, or the name of TLS.
      const names = door === 'ws' ? { headers: { host } } : { servername: host, ca }
      return new RawClient(createWebSocketStream(new WebSocket(url, 'mqtt', names)), version)
    })()
    this.clients.push(client)
    return client
  }

  /** A connected client of an instance. */
  async enter(index: number, door: DoorKind, instance: string, options: ConnectOptions): Promise<RawClient> {
    const client = await this.dial(index, door, instance, options.version ?? 5)
    const code = await client.open(withInstance(door, instance, options))
    if (code !== 0) throw new Error(`refused with ${code}`)
    return client
  }

  /** @returns the code of CONNACK */
  async knock(index: number, door: DoorKind, instance: string, options: ConnectOptions): Promise<number> {
    const client = await this.dial(index, door, instance, options.version ?? 5)
    return client.open(withInstance(door, instance, options))
  }

  dropClients(): void {
    for (const client of this.clients.splice(0)) client.stream.destroy()
  }

  async stop(): Promise<void> {
    this.dropClients()
    await Promise.all(this.nodes.map(node => node.stop()))
    await this.redis.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  async addNode(): Promise<ComposedNode> {
    const nodeId = `node-${this.nodes.length}`
    const [tcp, tls, ws, wss] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
    const files = { certFile: join(this.folder, 'cert.pem'), keyFile: join(this.folder, 'key.pem') }
    const host = '127.0.0.1'
    const { config } = loadConfig({
      env: {},
      values: {
        nodeId,
        dataDir: 'memory',
        redis: { url: this.redis.url },
        bootstrap: { user: 'midge', password: 'first', apiKey: 'a key of sixteen' },
        http: { port: 0 },
        outbound: { allow: ['127.0.0.1'] },
        instances: { portHost: portHost(this.nodes.length) },
        listeners: {
          tcp: { host, port: tcp },
          tls: { host, port: tls, ...files },
          ws: { host, port: ws },
          wss: { host, port: wss },
        },
      },
    })
    const node = await startNode(config, new MemoryLogger())
    this.nodes.push(node)
    return node
  }
}

/** The ports of an instance are the same on all nodes, so each of them has an address of its own. */
function portHost(index: number): string {
  return `127.0.0.${10 + index}`
}

function withInstance(door: DoorKind, instance: string, options: ConnectOptions): ConnectOptions {
  const isNamed = door === 'name' && options.username !== undefined
  return isNamed ? { ...options, username: `${instance}:${options.username}` } : options
}
