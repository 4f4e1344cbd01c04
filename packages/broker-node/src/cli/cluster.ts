import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { BrokerError } from '@midge/protocol-core'
import { ensureBootstrap } from '../lifecycle/bootstrap.ts'
import type { Child } from './cluster/child.ts'
import { checkPortFree, findFreePorts } from './cluster/free-port.ts'
import { findHaproxy, startHaproxy } from './cluster/haproxy.ts'
import { LoadBalancer } from './cluster/load-balancer.ts'
import { startLocalRedis } from './cluster/local-redis.ts'
import { HealthMonitor, isNodeReady } from './cluster/node-health.ts'
import { type ClusterPlan, type NodePlan, nodeScriptPath, startNodeProcess } from './cluster/node-process.ts'
import { renderSummary } from './cluster/summary.ts'
import { ExitCode } from './exit-codes.ts'

/** Options of `midge cluster`. */
export interface ClusterOptions {
  nodes: number
  /** A running Redis; one is started when absent. */
  redis?: string
  /** MQTT port of the load balancer; 0 takes a free one. */
  port: number
  /** Address that the load balancer binds; all when absent. */
  host?: string
  /** Folder for data, logs and scripts; a temporary one, removed at the end, when absent. */
  data?: string
  logLevel?: string
}

const ANY_HOST = '0.0.0.0'
const USERNAME = 'midge'
const READY_TIMEOUT_MS = 60_000
const READY_RETRY_MS = 100
const NODE_GRACE_MS = 20_000
const GRACE_MS = 10_000

/**
 * Runs a cluster on this machine until SIGINT or SIGTERM: Redis, nodes and a TCP load balancer with PROXY protocol.
 *
 * @returns the exit code, after every process it started is gone
 * @throws BrokerError `MIDGE_PORT_IN_USE` for `--port`; `MIDGE_STORE_UNAVAILABLE` when Redis is missing or does not start
 */
export async function runCluster(options: ClusterOptions): Promise<number> {
  const cluster = new LocalCluster(options)
  const signalled = new Promise<void>(resolveSignal => {
    const onSignal = (): void => {
      resolveSignal()
      // A second signal is somebody who does not want to wait.
      process.once('SIGINT', () => cluster.kill())
      process.once('SIGTERM', () => cluster.kill())
    }
    process.once('SIGINT', onSignal)
    process.once('SIGTERM', onSignal)
  })
  try {
    await Promise.race([cluster.start(), signalled])
    await signalled
    say('ending the cluster')
    return ExitCode.ok
  } finally {
    await cluster.stop()
  }
}

class LocalCluster {
  private readonly options: ClusterOptions
  private readonly host: string
  private readonly dataDir: string
  private redis: Child | undefined
  private readonly nodes: Child[] = []
  private haproxy: Child | undefined
  private balancer: LoadBalancer | undefined
  private health: HealthMonitor | undefined
  private starting: Promise<void> | undefined
  private isEnding = false

  constructor(options: ClusterOptions) {
    this.options = options
    this.host = options.host ?? ANY_HOST
    this.dataDir = options.data === undefined ? mkdtempSync(join(tmpdir(), 'midge-cluster-')) : resolve(options.data)
  }

  start(): Promise<void> {
    this.starting = this.startAll()
    return this.starting
  }

  private async startAll(): Promise<void> {
    const { options } = this
    if (options.port !== 0) await checkPortFree(this.host, options.port, '--port')
    mkdirSync(this.dataDir, { recursive: true, mode: 0o700 })
    const plan = await this.makePlan()
    for (const node of plan.nodes) {
      if (this.isEnding) return
      const child = await startNodeProcess(plan, node)
      this.nodes.push(child)
      void child.exited.then(how => this.onNodeExit(plan, node, { child, how }))
    }
    await Promise.all(plan.nodes.map((node, index) => this.waitUntilReady(node, this.nodes[index])))
    if (this.isEnding) return
    const health = new HealthMonitor(plan.nodes, (node, isReady) => this.onHealthChange(node, isReady))
    this.health = health
    await health.start()
    const { port, balancer } = await this.startBalancer(plan.nodes, health)
    process.stdout.write(renderSummary({ plan, host: this.host, port, balancer, children: this.nodes }))
  }

  /** Ends everything in the order that lets clients be told: nodes, load balancer, Redis. */
  async stop(): Promise<void> {
    this.isEnding = true
    // What is just being started must not be left behind; its failure has been told by `start`.
    await this.starting?.catch(() => {})
    this.health?.stop()
    await Promise.all(this.nodes.map(node => node.stop(NODE_GRACE_MS)))
    await this.balancer?.close()
    await this.haproxy?.stop(GRACE_MS)
    await this.redis?.stop(GRACE_MS)
    if (this.options.data === undefined) rmSync(this.dataDir, { recursive: true, force: true })
  }

  kill(): void {
    for (const child of [...this.nodes, this.haproxy, this.redis]) child?.kill()
  }

  private async makePlan(): Promise<ClusterPlan> {
    const { options } = this
    const [redisPort = 0, ...ports] = await findFreePorts(1 + 2 * options.nodes)
    if (options.redis === undefined) {
      say('starting Redis')
      this.redis = await startLocalRedis(this.dataDir, redisPort)
      void this.redis.exited.then(how => {
        if (!this.isEnding) say(`Redis ended (${how}); nodes wait for it, Ctrl-C ends the cluster`)
      })
    }
    say(`starting ${options.nodes} nodes`)
    const bootstrap = ensureBootstrap(options.data === undefined ? undefined : this.dataDir, {
      user: USERNAME,
      password: undefined,
    })
    return {
      dataDir: this.dataDir,
      redisUrl: options.redis ?? `redis://127.0.0.1:${redisPort}`,
      username: bootstrap.username,
      password: bootstrap.password,
      apiKey: bootstrap.apiKey,
      logLevel: options.logLevel ?? 'info',
      nodes: Array.from({ length: options.nodes }, (_, index) => ({
        id: `node-${index + 1}`,
        tcpPort: ports[2 * index] ?? 0,
        httpPort: ports[2 * index + 1] ?? 0,
      })),
    }
  }

  private async waitUntilReady(node: NodePlan, child: Child | undefined): Promise<void> {
    const deadlineMs = Date.now() + READY_TIMEOUT_MS
    while (!this.isEnding && !(await isNodeReady(node))) {
      if (child?.isRunning !== true || Date.now() > deadlineMs) {
        const tail = child?.logTail() ?? ''
        throw new BrokerError('MIDGE_STORE_UNAVAILABLE', `${node.id} did not become ready; the end of its log: ${tail}`)
      }
      await new Promise(resolveWait => setTimeout(resolveWait, READY_RETRY_MS))
    }
  }

  private async startBalancer(
    nodes: readonly NodePlan[],
    health: HealthMonitor,
  ): Promise<{ port: number; balancer: string }> {
    const command = findHaproxy()
    if (command !== undefined) {
      const port = this.options.port === 0 ? ((await findFreePorts(1))[0] ?? 0) : this.options.port
      this.haproxy = await startHaproxy(command, this.dataDir, { host: this.host, port, nodes })
      if (this.haproxy !== undefined) return { port, balancer: 'HAProxy' }
      say(`HAProxy did not start (see ${join(this.dataDir, 'haproxy.log')}); using the built-in load balancer`)
    }
    this.balancer = new LoadBalancer(nodes, health)
    return { port: await this.balancer.listen(this.host, this.options.port), balancer: 'built-in load balancer' }
  }

  private onNodeExit(plan: ClusterPlan, node: NodePlan, end: { child: Child; how: string }): void {
    if (this.isEnding) return
    say(`${node.id} (pid ${end.child.pid}) ended: ${end.how}; start it again with: sh ${nodeScriptPath(plan, node)}`)
  }

  private onHealthChange(node: NodePlan, isReady: boolean): void {
    // The first answers are the summary's business.
    if (this.balancer === undefined && this.haproxy === undefined) return
    if (!this.isEnding) say(`${node.id} is ${isReady ? 'ready again' : 'not ready'}`)
  }
}

function say(text: string): void {
  process.stdout.write(`midge cluster: ${text}\n`)
}
