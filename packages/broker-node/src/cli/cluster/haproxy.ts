import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Child } from './child.ts'
import type { NodePlan } from './node-process.ts'

const START_TIMEOUT_MS = 5000
const RETRY_MS = 50

/** @returns the command, or `undefined` when HAProxy is not installed */
export function findHaproxy(): string | undefined {
  // Debian keeps it where only root's search path looks.
  return ['haproxy', '/usr/sbin/haproxy'].find(command => spawnSync(command, ['-v']).status === 0)
}

/** A configuration for one MQTT port over the nodes, with their readiness as the health check. */
export function renderHaproxyConfig(host: string, port: number, nodes: readonly NodePlan[]): string {
  const servers = nodes.map(
    node => `  server ${node.id} 127.0.0.1:${node.tcpPort} send-proxy-v2 check port ${node.httpPort}`,
  )
  return `defaults
  mode tcp
  timeout connect 5s
  # Longer than the longest keep-alive of MQTT (65,535 s) and its half: idle clients are the node's business.
  timeout client 30h
  timeout server 30h
  timeout client-fin 30s
  timeout server-fin 30s
  # A node that has just died refuses the connection: the client goes to another one.
  retries 3
  option redispatch 1

frontend mqtt
  bind ${host}:${port}
  default_backend nodes

backend nodes
  balance leastconn
  option httpchk GET /readyz
  http-check expect status 200
  default-server inter 1s fall 2 rise 1
${servers.join('\n')}
`
}

/** Starts HAProxy in the foreground; resolves when it listens, with `undefined` when it ends before that. */
export async function startHaproxy(
  command: string,
  dataDir: string,
  balance: { host: string; port: number; nodes: readonly NodePlan[] },
): Promise<Child | undefined> {
  const configFile = join(dataDir, 'haproxy.cfg')
  writeFileSync(configFile, renderHaproxyConfig(balance.host, balance.port, balance.nodes))
  const logFile = join(dataDir, 'haproxy.log')
  const child = await Child.start({ name: 'haproxy', command, args: ['-db', '-f', configFile], logFile })
  const deadlineMs = Date.now() + START_TIMEOUT_MS
  while (!(await isListening(balance.port))) {
    if (!child.isRunning || Date.now() > deadlineMs) {
      child.kill()
      return undefined
    }
    await new Promise(resolve => setTimeout(resolve, RETRY_MS))
  }
  return child
}

function isListening(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
