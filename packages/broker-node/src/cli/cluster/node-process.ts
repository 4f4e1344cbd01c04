import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child } from './child.ts'

/** One node of the local cluster. */
export interface NodePlan {
  id: string
  /** MQTT with a PROXY header, for the load balancer only. */
  tcpPort: number
  httpPort: number
}

/** What all nodes of the cluster have in common. */
export interface ClusterPlan {
  dataDir: string
  redisUrl: string
  username: string
  password: string
  apiKey: string | undefined
  logLevel: string
  nodes: readonly NodePlan[]
}

/** Names of the environment that a node starts with; everything that the cluster does not use is off. */
export function nodeEnvironment(plan: ClusterPlan, node: NodePlan): Record<string, string> {
  return {
    MIDGE_NODE_ID: node.id,
    MIDGE_REDIS_URL: plan.redisUrl,
    MIDGE_DATA_DIR: join(plan.dataDir, node.id),
    MIDGE_LISTENERS_TCP_HOST: '127.0.0.1',
    MIDGE_LISTENERS_TCP_PORT: String(node.tcpPort),
    MIDGE_LISTENERS_TCP_PROXY_PROTOCOL: 'true',
    MIDGE_LISTENERS_TLS_PORT: '0',
    MIDGE_LISTENERS_WS_PORT: '0',
    MIDGE_LISTENERS_WSS_PORT: '0',
    MIDGE_HTTP_HOST: '127.0.0.1',
    MIDGE_HTTP_PORT: String(node.httpPort),
    MIDGE_BOOTSTRAP_USER: plan.username,
    MIDGE_BOOTSTRAP_PASSWORD: plan.password,
    ...(plan.apiKey === undefined ? {} : { MIDGE_BOOTSTRAP_API_KEY: plan.apiKey }),
    MIDGE_LOG_LEVEL: plan.logLevel,
    MIDGE_LOG_FORMAT: 'json',
  }
}

/** The script that starts one node; a person uses the same one to start it again after a kill. */
export function nodeScriptPath(plan: ClusterPlan, node: NodePlan): string {
  return join(plan.dataDir, `${node.id}.sh`)
}

/** A shell script with the node's settings; other settings still come from the environment that it is started in. */
export function renderNodeScript(plan: ClusterPlan, node: NodePlan): string {
  const settings = Object.entries(nodeEnvironment(plan, node)).map(([name, value]) => `export ${name}=${quote(value)}`)
  const midge = fileURLToPath(new URL('../../../bin/midge.js', import.meta.url))
  return ['#!/bin/sh', ...settings, `exec ${quote(process.execPath)} ${quote(midge)} start`, ''].join('\n')
}

/** Starts one node; its log goes to a file beside its script. */
export async function startNodeProcess(plan: ClusterPlan, node: NodePlan): Promise<Child> {
  mkdirSync(join(plan.dataDir, node.id), { recursive: true })
  const script = nodeScriptPath(plan, node)
  // It holds the password, and the command line of a process does not: that one everybody on the machine can read.
  writeFileSync(script, renderNodeScript(plan, node), { mode: 0o700 })
  const logFile = join(plan.dataDir, `${node.id}.log`)
  return Child.start({ name: node.id, command: '/bin/sh', args: [script], logFile })
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
