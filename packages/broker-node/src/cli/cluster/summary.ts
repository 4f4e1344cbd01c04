import type { Child } from './child.ts'
import { type ClusterPlan, nodeScriptPath } from './node-process.ts'

/** What the cluster turned out to be. */
export interface ClusterSummary {
  plan: ClusterPlan
  host: string
  port: number
  balancer: string
  /** In the order of `plan.nodes`. */
  children: readonly Child[]
}

/** The page that a person reads after `midge cluster`. */
export function renderSummary(summary: ClusterSummary): string {
  const { plan, port, balancer, children } = summary
  const credentials = `-h 127.0.0.1 -p ${port} -u ${plan.username} -P ${plan.password}`
  const rows = plan.nodes.map((node, index) => [
    node.id,
    String(children[index]?.pid ?? ''),
    `127.0.0.1:${node.tcpPort} (PROXY)`,
    `http://127.0.0.1:${node.httpPort}`,
  ])
  const first = plan.nodes[0]
  const firstPid = children[0]?.pid ?? 0
  return [
    '',
    `MQTT      ${summary.host}:${port}  (${balancer} in front of ${plan.nodes.length} nodes)`,
    `user      ${plan.username}`,
    `password  ${plan.password}`,
    ...(plan.apiKey === undefined ? [] : [`API key   ${plan.apiKey}`]),
    `Redis     ${hidePassword(plan.redisUrl)}`,
    `files     ${plan.dataDir}`,
    '',
    ...renderTable([['node', 'pid', 'MQTT', 'HTTP'], ...rows]),
    '',
    'Try it:',
    `  mosquitto_sub ${credentials} -t 'test/#' -v`,
    `  mosquitto_pub ${credentials} -t test/hello -m hi`,
    'Kill a node, and start it again (then it belongs to your terminal, not to this one):',
    `  kill -9 ${firstPid}`,
    ...(first === undefined ? [] : [`  sh ${nodeScriptPath(plan, first)}`]),
    '',
    'Ctrl-C ends it all.',
    '',
  ].join('\n')
}

function renderTable(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)))
  return rows.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function hidePassword(redisUrl: string): string {
  return redisUrl.replace(/(\/\/[^:@/]*):[^@/]*@/, '$1:***@')
}
