import { type ClientOptions, connectClient, type TestClient } from './clients.ts'
import { MidgeNode } from './midge-node.ts'
import type { ConnectFields, Version } from './mqtt-bytes.ts'
import { RawClient } from './raw-client.ts'
import { type RedisServer, startRedisServer } from './redis-server.ts'
import { until } from './until.ts'

/** A Redis and several nodes on it, without load balancer: tests choose the node of each client. */
export class MidgeCluster {
  readonly redis: RedisServer
  readonly nodes: readonly MidgeNode[]

  private constructor(redis: RedisServer, nodes: readonly MidgeNode[]) {
    this.redis = redis
    this.nodes = nodes
  }

  /** Starts Redis and `count` nodes, and waits until every node is ready and sees all the others. */
  static async start(count: number, env: Readonly<Record<string, string>> = {}): Promise<MidgeCluster> {
    const redis = await startRedisServer()
    const names = Array.from({ length: count }, (_, index) => `node-${'abcdefgh'[index]}`)
    const nodes: MidgeNode[] = []
    for (const name of names) {
      nodes.push(await MidgeNode.launch({ name, env: { MIDGE_REDIS_URL: redis.url, ...env } }))
    }
    const cluster = new MidgeCluster(redis, nodes)
    try {
      await Promise.all(nodes.map(node => node.untilReady()))
      await cluster.untilComplete()
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  /** The node at a place, counted from 0. */
  node(index: number): MidgeNode {
    const node = this.nodes[index]
    if (node === undefined) throw new Error(`there is no node ${index}`)
    return node
  }

  /** Resolves when every running node counts every running node as live. */
  async untilComplete(): Promise<void> {
    const alive = this.nodes.filter(node => node.isRunning)
    for (const node of alive) {
      await until(`${node.name} to see ${alive.length} nodes`, async () => {
        const { cluster } = (await node.status()) as { cluster: { nodes: string[] } }
        return alive.every(other => cluster.nodes.includes(other.name))
      })
    }
  }

  /** Starts a dead node again and waits until the cluster is whole. */
  async restart(index: number): Promise<void> {
    await this.node(index).restart()
    await this.untilComplete()
  }

  /** An MQTT.js client on one node. */
  connect(index: number, options: Omit<ClientOptions, 'port'> = {}): Promise<TestClient> {
    return connectClient({ ...options, port: this.node(index).port })
  }

  /** A raw connection to one node, after a successful CONNECT. */
  async raw(index: number, version: Version, fields: ConnectFields = {}): Promise<RawClient> {
    const client = await RawClient.open('127.0.0.1', this.node(index).port, version)
    await client.connect(fields)
    return client
  }

  /** Drops a connection without DISCONNECT and waits until its node has seen it. */
  async drop(index: number, client: RawClient): Promise<void> {
    const node = this.node(index)
    const before = await node.connections()
    client.drop()
    await until(`${node.name} to see the end of a connection`, async () => (await node.connections()) < before)
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(node => node.stop()))
    await this.redis.stop()
  }
}
