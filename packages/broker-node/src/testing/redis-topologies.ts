import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { RedisSettings } from '../redis/settings.ts'
import { freePort, startRedis, type TestRedis } from './redis-server.ts'

const run = promisify(execFile)
const FORM_TIMEOUT_MS = 15_000

/** Several servers that belong together. */
export interface TestTopology {
  settings: RedisSettings
  servers: TestRedis[]
  stop(): Promise<void>
}

/** Waits until `claim` holds. */
export async function poll(what: string, claim: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + FORM_TIMEOUT_MS
  while (!(await claim())) {
    if (Date.now() > deadlineMs) throw new Error(`not in time: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** @returns what `redis-cli` prints for a command to a port */
export async function redisCli(port: number, ...command: string[]): Promise<string> {
  return (await run('redis-cli', ['-p', String(port), ...command])).stdout
}

/** True for a replica that follows its master. */
export async function isLinked(port: number): Promise<boolean> {
  return (await redisCli(port, 'INFO', 'replication')).includes('master_link_status:up')
}

/** A Redis Cluster of three masters, each with as many replicas as asked for. */
export async function startRedisCluster(replicas = 0): Promise<TestTopology> {
  const servers: TestRedis[] = []
  for (let i = 0; i < 3 * (1 + replicas); i++) {
    const busPort = String(await freePort())
    servers.push(
      await startRedis(['--cluster-enabled', 'yes', '--cluster-port', busPort, '--cluster-node-timeout', '1000']),
    )
  }
  const addresses = servers.map(({ port }) => `127.0.0.1:${port}`)
  const options = ['--cluster-replicas', String(replicas), '--cluster-yes']
  await run('redis-cli', ['--cluster', 'create', ...addresses, ...options])
  for (const { port } of servers) {
    await poll('the cluster agrees', async () => {
      const info = await redisCli(port, 'CLUSTER', 'INFO')
      return info.includes('cluster_state:ok') && info.includes('cluster_slots_ok:16384')
    })
  }
  for (const { port } of servers.slice(3)) await poll('the replica has its copy', () => isLinked(port))
  for (const { port } of servers) {
    await poll('everybody knows the replicas', async () => {
      const nodes = await redisCli(port, 'CLUSTER', 'NODES')
      return nodes.split('slave').length - 1 === 3 * replicas
    })
  }
  return {
    settings: { url: `redis://${addresses[0]}`, addresses: addresses.slice(1), cluster: true },
    servers,
    stop: async () => {
      await Promise.all(servers.map(server => server.stop()))
    },
  }
}

/** A master, a replica, and three Sentinels that watch them under the name `main`. */
export async function startSentinels(): Promise<TestTopology> {
  const master = await startRedis(['--repl-diskless-sync-delay', '0'])
  const replica = await startRedis(['--replicaof', '127.0.0.1', String(master.port)])
  const folder = await mkdtemp(join(tmpdir(), 'midge-sentinel-'))
  const sentinels = await Promise.all([1, 2, 3].map(n => startSentinel(join(folder, `${n}.conf`), master.port)))
  const [first = { port: 0 }, ...others] = sentinels
  await poll('the Sentinels know the replica and each other', async () => {
    const about = await Promise.all(sentinels.map(({ port }) => redisCli(port, 'SENTINEL', 'MASTER', 'main')))
    return about.every(text => /num-slaves\n1\n/.test(text) && /num-other-sentinels\n2\n/.test(text))
  })
  await poll('the replica has its copy', () => isLinked(replica.port))
  return {
    settings: {
      url: `redis://127.0.0.1:${first.port}`,
      addresses: others.map(({ port }) => `127.0.0.1:${port}`),
      sentinel: { masterName: 'main' },
    },
    servers: [master, replica],
    stop: async () => {
      await Promise.all([...sentinels, master, replica].map(server => server.stop()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function startSentinel(path: string, masterPort: number): Promise<{ port: number; stop(): Promise<void> }> {
  const port = await freePort()
  await writeFile(
    path,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `sentinel monitor main 127.0.0.1 ${masterPort} 2`,
      'sentinel down-after-milliseconds main 500',
      'sentinel failover-timeout main 3000',
      '',
    ].join('\n'),
  )
  const child = spawn('redis-server', [path, '--sentinel'], { stdio: 'ignore' })
  await poll('the Sentinel answers', () =>
    redisCli(port, 'PING').then(
      text => text.startsWith('PONG'),
      () => false,
    ),
  )
  return {
    port,
    stop: async () => {
      if (child.exitCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

/** A server that speaks TLS and nothing else to users with a password; `admin` is its plain port. */
export async function startTlsRedis(acl: string): Promise<TestTopology & { caFile: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'midge-redis-tls-'))
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const subject = ['-subj', '/CN=redis.test', '-addext', 'subjectAltName=DNS:redis.test']
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-keyout', key, '-out', cert, ...subject],
  ])
  const tlsPort = await freePort()
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert]
  const server = await startRedis(['--tls-port', String(tlsPort), ...files, '--user', ...acl.split(' ')])
  return {
    settings: {
      url: `rediss://127.0.0.1:${tlsPort}`,
      tls: { caFile: cert, certFile: cert, keyFile: key, servername: 'redis.test' },
    },
    caFile: cert,
    servers: [server],
    stop: async () => {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
