import type { StatusReport } from '../http/status-report.ts'
import { ExitCode } from './exit-codes.ts'

const TIMEOUT_MS = 5000

function describe(report: StatusReport): string {
  const { counts } = report
  const listeners = report.listeners.map(({ transport, host, port }) => `${transport} ${host}:${port}`)
  return [
    `node        ${report.nodeId} (Midge ${report.version}), up ${report.uptimeSeconds} s`,
    `ready       ${report.ready ? 'yes' : `no: ${report.reasons.join('; ')}`}`,
    `store       ${report.store}, durability ${report.durability.setting}`,
    `            ${report.durability.sentence}`,
    `cluster     ${report.cluster.nodes.join(', ')}`,
    `listeners   ${listeners.join(', ')}`,
    `clients     ${counts.connections} connections, ${counts.sessions} sessions, ${counts.subscriptions} subscriptions`,
    `messages    ${counts.messagesReceived} in, ${counts.messagesSent} out, ${counts.messagesDropped} dropped`,
  ].join('\n')
}

/** Asks a running node how it is; exit code 0 when it is ready. */
export async function runStatus(options: { url: string; json?: boolean | undefined }): Promise<number> {
  const url = new URL('/status', options.url)
  let report: StatusReport
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    if (!response.ok) throw new Error(`it answered ${response.status}`)
    // Our own node answers; a foreign server fails in `describe` or shows as what it is.
    report = (await response.json()) as StatusReport
    process.stdout.write(`${options.json === true ? JSON.stringify(report, undefined, 2) : describe(report)}\n`)
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    const text = cause instanceof Error ? cause.message || cause.name : String(cause)
    process.stderr.write(
      `midge: no status from ${url.href} (${text}): is the node running, and is --url its address?\n`,
    )
    return ExitCode.failure
  }
  return report.ready ? ExitCode.ok : ExitCode.failure
}
